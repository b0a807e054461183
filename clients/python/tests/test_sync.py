"""The face for code that waits."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any, Callable, List
from unittest import mock

from support import BINARY

from turnlane import ConnectionLostError, NotRunningError, RunGroup, _sync, errors, lease
from turnlane.sync import Turnlane


def interrupt() -> None:
    """Ctrl-C."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


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

            def later() -> None:
                t.stats()
                interrupt()

            waiting = threading.Thread(target=later)
            with self.assertRaises(KeyboardInterrupt):
                waiting.start()
                run.result()
            waiting.join()
            self.assertIn(t.get_run(run.run_id).state, ("starting", "active"))

    def inbox(self, t: Turnlane) -> None:
        """A completion in the inbox of `parent`."""
        t.open_session("parent", agent="script")
        t.open_session("child", agent="script", parent="parent")
        t.prompt("child", "say x", run_id="r").result()

    def test_a_lease_whose_body_never_began_is_given_back_wherever_ctrl_c_found_it(self) -> None:
        enter, wait = lease.Lease.__aenter__, _sync.Portal.wait

        async def when_it_is_taken(one: lease.Lease) -> lease.Batch:
            await enter(one)
            interrupt()
            await asyncio.Event().wait()
            raise AssertionError

        def when_it_is_there(portal: _sync.Portal, work: Any, give_up: bool = True) -> Any:
            wait(portal, work, give_up)
            raise KeyboardInterrupt

        with self.client() as t:
            loop: Any = t._portal._loop
            hand_over, handed_over = loop.call_soon_threadsafe, []

            def when_it_is_handed_over(work: Any) -> None:
                hand_over(work)
                handed_over.append(work)
                if len(handed_over) == 1:
                    raise KeyboardInterrupt

            moments: List[Any] = [
                mock.patch.object(lease.Lease, "__aenter__", when_it_is_taken),
                mock.patch.object(_sync.Portal, "wait", when_it_is_there),
                mock.patch.object(loop, "call_soon_threadsafe", when_it_is_handed_over),
            ]
            self.inbox(t)
            for moment in moments:
                leased = t.drain("parent")
                with self.assertRaises(KeyboardInterrupt), moment, leased:
                    self.fail("the body began")
                with self.assertRaises(ZeroDivisionError), t.drain("parent", wait_ms=20_000) as batch:
                    self.assertEqual([done.run_id for done in batch], ["r"])
                    raise ZeroDivisionError

    def test_a_lease_that_nobody_holds_any_more_is_given_back(self) -> None:
        with self.client() as t:
            self.inbox(t)
            t.drain("parent").__enter__()
            gc.collect()
            with t.drain("parent", wait_ms=20_000) as batch:
                self.assertEqual([(done.run_id, done.attempt) for done in batch], [("r", 2)])

    def test_a_lease_whose_body_is_over_is_settled_although_nobody_waits_for_that(self) -> None:
        settle = lease.Batch.ack

        async def interrupted(one: lease.Batch) -> Any:
            interrupt()
            await asyncio.sleep(0.01)
            return await settle(one)

        with self.client() as t:
            self.inbox(t)
            with self.assertRaises(KeyboardInterrupt), mock.patch.object(lease.Batch, "ack", interrupted), t.drain("parent"):
                pass
            while t.peek("parent").leased:
                pass
            self.assertEqual(t.peek("parent").pending, 0)

    def test_a_client_that_gave_up_can_be_started_again(self) -> None:
        with self.client(restart=False) as t:
            pid = t.pid
            with self.assertLogs("turnlane", "WARNING"), self.assertRaises(ConnectionLostError):
                os.kill(pid, signal.SIGKILL)
                while True:
                    t.stats()
            t.start()
            self.assertEqual(t.stats().clients, 1)
            self.assertNotEqual(t.pid, pid)

    def test_threads_that_start_it_at_once_start_one(self) -> None:
        t = self.client()
        pids: List[int] = []
        threads = [threading.Thread(target=lambda: pids.append(t.start().pid)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(pids), len(set(pids)), t.stats().clients), (4, 1, 1))
        t.close()

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
