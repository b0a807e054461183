"""The face for code that waits."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any, Callable, List

from support import BINARY

from turnlane import NotRunningError, RunGroup, errors
from turnlane.sync import Turnlane


class Waiting(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "turnlane.toml").write_text("", encoding="utf-8")

    def client(self, **options: Any) -> Turnlane:
        return Turnlane.spawn(binary=BINARY, store=self.folder / "store", config=self.folder / "turnlane.toml", **options)

    def test_a_run_is_read_and_waited_for(self) -> None:
        with self.client(default_agent="sh") as t:
            run = t.prompt("s", "echo one; echo two; exit 3", run_id="r")
            self.assertEqual("".join(chunk.text for chunk in run), "one\ntwo\n")
            self.assertEqual((run.result().exit_code, run.result(timeout=0).exit_code, run.missed, run.complete), (3, 3, 0, True))
            self.assertEqual((run.run_id, run.session_id, run.duplicate, run.state), ("r", "s", False, "ended"))
            self.assertEqual(run.record().outcome, "failed")
            self.assertEqual([one.run_id for one in t.runs()], ["r"])
            self.assertEqual(t.hello.role, "owner")
            self.assertGreater(t.pid, 0)
            with self.assertRaises(errors.SessionNotFoundError):
                t.get_session("nobody")

    def test_a_wait_may_have_a_limit(self) -> None:
        with self.client(default_agent="script") as t:
            run = t.prompt("s", "say x\nhold door")
            self.assertEqual(run.reached("active"), "active")
            with self.assertRaises(TimeoutError):
                run.result(timeout=0.01)
            run.cancel()
            self.assertEqual((run.result().reason, run.read()), ("client", "x\n"))

    def test_a_lease_acknowledges_or_releases(self) -> None:
        with self.client() as t:
            t.open_session("parent", agent="script")
            t.open_session("child", agent="script", parent="parent")
            t.prompt("child", "say x", run_id="r")
            with self.assertRaises(ZeroDivisionError), t.drain("parent", until=RunGroup(["r"])) as batch:
                self.assertEqual((len(batch), batch[0].text, batch.taken.remaining, batch.lost), (1, "x\n", 0, False))
                raise ZeroDivisionError
            with t.drain("parent") as batch:
                self.assertEqual([done.attempt for done in batch], [2])
                self.assertEqual(batch.ack("r").settled, ["r"])
                self.assertEqual(batch.release().released, [])
            self.assertEqual(t.peek("parent").pending, 0)

    def test_events_and_questions(self) -> None:
        with self.client(default_agent="script", on_permission=lambda question: "yes") as t:
            stream = t.events()
            t.prompt("s", "ask May I?", run_id="r")
            self.assertEqual(stream.until("run/completed").completion.text, "yes\n")
            stream.close()
            self.assertEqual(list(stream), [])

    def test_several_threads_may_use_one_client(self) -> None:
        texts: List[str] = []
        with self.client(default_agent="script") as t:

            def work(number: int) -> None:
                texts.append(t.prompt(f"s{number}", f"say {number}").result().text)

            threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(sorted(texts), [f"{number}\n" for number in range(8)])

    def test_a_sidecar_that_was_killed_is_started_again(self) -> None:
        with self.client(default_agent="script") as t:
            run = t.prompt("s", "hold door")
            with self.assertLogs("turnlane", "WARNING"):
                os.kill(t.pid, signal.SIGKILL)
                self.assertEqual(run.result().outcome, "interrupted")

    def test_ctrl_c_gives_up_the_wait_and_not_the_run(self) -> None:
        with self.client(default_agent="script") as t:
            run = t.prompt("s", "hold door")
            me = threading.main_thread().ident
            assert me is not None

            def interrupt() -> None:
                t.stats()
                signal.pthread_kill(me, signal.SIGINT)

            waiting = threading.Thread(target=interrupt)
            with self.assertRaises(KeyboardInterrupt):
                waiting.start()
                run.result()
            waiting.join()
            self.assertIn(t.get_run(run.run_id).state, ("starting", "active"))

    def test_threads_that_wait_hear_of_a_close(self) -> None:
        with self.client(), self.client(default_agent="script") as t:
            run = t.prompt("s", "hold door")
            ends: List[str] = []

            def work(wait: Callable[[], Any]) -> None:
                try:
                    wait()
                except NotRunningError as error:
                    ends.append(str(error))

            waits: List[Callable[[], Any]] = [lambda: run.result(timeout=600), run.result, run.read, lambda: t.wait(run.run_id)]
            threads = [threading.Thread(target=work, args=(wait,), daemon=True) for wait in waits * 5]
            for thread in threads:
                thread.start()
            while t.stats().waiting < 5:
                pass
            t.close()
            for thread in threads:
                thread.join(60)
            self.assertEqual([thread.is_alive() for thread in threads], [False] * 20)
            self.assertEqual(len(ends), 20)

    def test_a_second_start_changes_nothing(self) -> None:
        with self.client().start() as t:
            pid = t.pid
            t.start()
            self.assertEqual((t.pid, t.stats().clients), (pid, 1))
            t.close()
            t.close()
        with self.assertRaises(ProcessLookupError):
            os.kill(pid, 0)

    def test_a_client_that_is_not_started_says_so(self) -> None:
        t = self.client()
        with self.assertRaises(NotRunningError):
            t.stats()
        with t:
            t.stats()
        with self.assertRaises(NotRunningError):
            t.stats()
        with self.assertRaises(errors.BinaryNotFoundError), Turnlane.spawn(binary="/no/such"):
            pass


if __name__ == "__main__":
    unittest.main()
