"""The client against the real program."""

from __future__ import annotations

import asyncio
import os
import signal
import unittest
from pathlib import Path
from typing import Any, Coroutine, Dict, List, Optional, Tuple
from unittest import mock

from support import BINARY, ClientCase

from turnlane import (
    BinaryNotFoundError,
    NotRunningError,
    Question,
    Run,
    RunFailedError,
    RunGroup,
    StartError,
    Turnlane,
    WakePolicy,
    errors,
    events,
    find_binary,
)
from turnlane.lease import Handler


def program() -> str:
    return find_binary(BINARY)


class Finding(ClientCase):
    def fake(self, folder: str) -> Path:
        path = self.folder / folder / "turnlane"
        path.parent.mkdir()
        path.write_text("#!/bin/sh\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    def test_the_option_comes_before_the_variable_and_that_before_the_path(self) -> None:
        option, variable, path = (str(self.fake(name)) for name in ("option", "variable", "path"))
        env = {"TURNLANE_BIN": variable, "PATH": str(Path(path).parent)}
        self.assertEqual(find_binary(option, env), option)
        self.assertEqual(find_binary(None, env), variable)
        self.assertEqual(find_binary(None, {"PATH": env["PATH"]}), path)

    def test_what_is_named_and_is_not_there_is_an_error_that_says_by_whom(self) -> None:
        path = {"PATH": str(self.fake("path").parent)}
        plain = self.folder / "plain"
        plain.write_text("", encoding="utf-8")
        with self.assertRaisesRegex(BinaryNotFoundError, "the option `binary` names /no/such, which is not there: give `binary=`"):
            find_binary("/no/such", path)
        with self.assertRaisesRegex(BinaryNotFoundError, "TURNLANE_BIN names .*plain, which can't be executed"):
            find_binary(None, {**path, "TURNLANE_BIN": str(plain)})
        with self.assertRaisesRegex(BinaryNotFoundError, "no program `turnlane` on the PATH.*set TURNLANE_BIN"):
            find_binary(None, {"PATH": str(self.folder)})

    async def test_a_client_looks_in_its_own_environment(self) -> None:
        with self.assertRaises(BinaryNotFoundError):
            await self.client(binary=None, env={"PATH": "/nowhere"}).start()
        async with self.client(binary=None, env={**os.environ, "TURNLANE_BIN": program()}) as t:
            self.assertEqual(t.hello.protocol_version, 1)

    async def test_a_sidecar_that_refuses_its_configuration_is_told_with_its_words(self) -> None:
        self.config.write_text("colour = 'red'\n", encoding="utf-8")
        with self.assertRaisesRegex(StartError, "colour"):
            await self.client().start()

    async def test_a_client_that_is_not_started_or_is_closed_says_so(self) -> None:
        t = self.client()
        with self.assertRaisesRegex(NotRunningError, "was not started"):
            await t.stats()
        await t.start()
        await t.close()
        with self.assertRaisesRegex(NotRunningError, "is closed"):
            await t.stats()
        await t.close()


class Runs(ClientCase):
    async def test_the_example_of_the_first_page(self) -> None:
        said = ""
        async with self.client(default_agent="sh") as t:
            run = await t.prompt("demo", "echo one; echo two; exit 3")
            async for chunk in run:
                said += chunk.text
            done = await run
        self.assertEqual(said, "one\ntwo\n")
        self.assertEqual((done.outcome, done.exit_code, done.ok, done.exit_status), ("failed", 3, False, 3))
        with self.assertRaisesRegex(RunFailedError, "is failed: the command exited with code 3"):
            done.raise_for_outcome()

    async def test_a_cancelled_task_cancels_its_wait_and_not_its_run(self) -> None:
        async with self.client(default_agent="script") as t:
            run = await t.prompt("s", "say begun\nhold door", run_id="r")
            await run.reached("active")
            tasks: List[asyncio.Future[object]] = [
                asyncio.ensure_future(run.result()),
                asyncio.ensure_future(t.wait("r")),
                asyncio.ensure_future(t.wait_session("s")),
                asyncio.ensure_future(t.take("s", wait_ms=60_000)),
            ]
            while (await t.stats()).waiting < 3:
                pass
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self.assertTrue(all(task.cancelled() for task in tasks))
            while (await t.stats()).waiting > 0:
                pass
            self.assertEqual((await t.get_run("r")).state, "active")
            await t.prompt("s", "release door", if_busy="steer")
            self.assertEqual((await run).outcome, "completed")

    async def test_a_timeout_around_a_wait_leaves_the_run_alone(self) -> None:
        async with self.client(default_agent="script") as t:
            run = await t.prompt("s", "hold door")
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(run.result(), 0.01)
            await run.cancel()
            self.assertEqual((await run).reason, "client")

    async def test_several_may_wait_for_one_run(self) -> None:
        async with self.client(default_agent="script") as t:
            run = await t.prompt("s", "sleep 20\nsay done")

            async def end() -> str:
                return (await run).text

            self.assertEqual(await asyncio.gather(end(), end(), run.read()), ["done\n", "done\n", "done\n"])

    async def test_a_run_can_be_attached_to_from_its_beginning(self) -> None:
        async with self.client(default_agent="script") as t, self.client() as other:
            run = await t.prompt("s", "say one\nhold door\nsay two", run_id="r")
            await run.__anext__()
            attached = await other.attach("r")
            await t.prompt("s", "release door", if_busy="steer")
            self.assertEqual(await attached.read(), "one\ntwo\n")
            self.assertEqual((await attached).outcome, "completed")
            late = await other.attach("r")
            self.assertEqual((await late).text, "one\ntwo\n")
            with self.assertRaises(errors.RunNotFoundError):
                await other.attach("nothing")

    async def test_a_run_that_talks_without_end_can_be_attached_to(self) -> None:
        async with self.client(default_agent="sh") as t, self.client() as other:
            run = await t.prompt("s", "yes", run_id="y")
            await run.__anext__()
            attached = await other.attach("y")
            self.assertTrue((await t.prompt("s", "yes", run_id="y")).duplicate)
            await attached.cancel()
            self.assertEqual((await attached).outcome, "cancelled")

    async def test_a_run_ends_for_its_client_also_where_its_session_is_not_heard_of(self) -> None:
        async with self.client(default_agent="script") as t:
            run = await t.prompt("s", "hold door")
            await t.subscribe([])
            await t.cancel("s")
            self.assertEqual((await run).outcome, "cancelled")
            with self.assertRaises(errors.SessionNotFoundError):
                await t.subscribe(["nobody"])
            self.assertFalse(t._core.hears("nobody"))

    async def test_a_run_that_nobody_holds_leaves_nothing_behind(self) -> None:
        async with self.client(default_agent="script") as t:
            await t.prompt("s", "say x")
            await (await t.prompt("s", "say y"))
            duplicate = await t.prompt("s", "say z", run_id="r")
            await duplicate
            await (await t.prompt("s", "say z", run_id="r"))
            self.assertEqual((dict(t._runs), list(t._core._pending)), ({}, []))

    async def test_a_refused_choice_does_not_drop_what_was_prompted_meanwhile(self) -> None:
        async with self.client(default_agent="script") as t:
            refused, run = await asyncio.gather(t.subscribe(["nobody"]), t.prompt("s", "hold door"), return_exceptions=True)
            self.assertIsInstance(refused, errors.SessionNotFoundError)
            assert isinstance(run, Run)
            await t.cancel("s")
            self.assertEqual((await asyncio.wait_for(run.result(), 60)).reason, "client")

    async def test_a_choice_that_overtakes_a_prompt_leaves_its_run_an_end(self) -> None:
        async with self.client(default_agent="script") as t:
            await t.open_session("s", agent="script")
            run, _ = await asyncio.gather(t.prompt("s", "hold door"), t.subscribe([]))
            self.assertFalse(t._core.hears("s"))
            await t.cancel("s")
            self.assertEqual((await asyncio.wait_for(run.result(), 60)).reason, "client")

    async def test_an_answer_that_is_no_option_is_told_and_the_question_stays_open(self) -> None:
        async def broken(_: Question) -> Optional[str]:
            raise errors.UnsupportedError("of my own")

        handlers: List[Tuple[Handler, str]] = [
            (lambda question: "Yes", "'Yes' answers no question of the run r0, .*\\['yes', 'no'\\]"),
            (lambda question: True, "True answers no question of the run r1"),  # type: ignore[list-item, return-value]
            (broken, "the question 'May I\\?' of the run r2 stays open"),
        ]
        async with self.client(default_agent="script") as t:
            for number, (handler, words) in enumerate(handlers):
                with self.subTest(words), self.assertLogs("turnlane", "ERROR") as logs:
                    run = await t.prompt("s", "ask May I?", run_id=f"r{number}", on_permission=handler)
                    await run.reached("parked")
                    while not logs.output:
                        await t.stats()
                    self.assertRegex("".join(logs.output), words)
                    question = (await run.record()).permission
                    assert question is not None
                    await t.respond(run.run_id, question.request_id, "no")
                    self.assertEqual((await run).text, "no\n")

    async def test_questions_are_answered_by_the_runs_handler_or_the_clients(self) -> None:
        asked: List[Tuple[str, str]] = []

        async def yes(question: Question) -> Optional[str]:
            asked.append((question.run_id, question.text))
            return question.options[0].option_id

        async with self.client(default_agent="script", on_permission=lambda question: "no") as t:
            first = await t.prompt("s", "ask May I?", run_id="a", on_permission=yes)
            second = await t.prompt("s", "ask And I?", run_id="b")
            self.assertEqual(((await first).text, (await second).text), ("yes\n", "no\n"))
        self.assertEqual(asked, [("a", "May I?")])

    async def test_a_question_is_also_asked_of_whoever_comes_late(self) -> None:
        async with self.client(default_agent="script") as t, self.client() as other:
            asked = t.events()
            run = await t.prompt("s", "ask May I?", run_id="r")
            await asked.until("run/changed", state="parked")
            await other.attach("r", on_permission=lambda question: "yes")
            self.assertEqual((await run).text, "yes\n")

    async def test_what_can_not_be_said_is_an_error_at_once(self) -> None:
        async with self.client(default_agent="script", args=["--max-frame", "1000000"]) as t:
            with self.assertRaises(ValueError):
                await t.prompt("s", "say \ud800")
            with self.assertRaises(TypeError):
                await t.call("prompt", {"prompt": {1, 2}})
            with self.assertRaisesRegex(errors.FrameTooLargeError, "longer than the 1000000 bytes"):
                await t.prompt("s", "x" * 1_000_000)
            self.assertEqual((await (await t.prompt("s", "say fine"))).text, "fine\n")
            self.assertEqual(list(t._core._pending), [])

    async def test_what_is_as_deep_as_it_may_be_is_said_and_what_is_deeper_is_not(self) -> None:
        def nested(levels: int) -> List[Any]:
            return [nested(levels - 1)] if levels > 1 else []

        async with self.client() as t:
            limit = t.hello.limits["jsonDepth"]
            refusals: List[str] = []
            for levels in (limit - 2, limit - 1):
                with self.assertRaises(errors.TurnlaneError) as caught:
                    await t.call("session/open", {"sessionId": "s", "agent": nested(levels)})
                refusals.append(caught.exception.message)
            self.assertNotIn("nested", refusals[0])
            self.assertIn(f"nested deeper than the {limit} levels", refusals[1])
            await t.stats()

    async def test_as_many_values_as_there_may_be_are_said_and_one_more_is_not(self) -> None:
        async with self.client() as t:
            limit = t.hello.limits["jsonValues"]
            # What stands in strings is none, wherever these end.
            marks = ['[,{"[,{\\', '[,{\\"[,{', '\\\\"}],'] * 100

            def asked(values: int) -> Coroutine[Any, Any, Any]:
                # The message, its parameters and the list open with a bracket each, and four commas stand before the list.
                return t.call("session/open", {"sessionId": "s", "agent": [*marks, *[0] * (values - 6 - len(marks))]})

            with self.assertRaises(errors.InvalidParamsError):
                await asked(limit)
            with self.assertRaisesRegex(errors.RpcError, f"holds {limit + 1} values, more than the {limit} ") as caught:
                await asked(limit + 1)
            self.assertEqual(caught.exception.code, -32700)
            await t.stats()
            # Turnlane counts the same. Its answer does not say to what it is one, and here it can be only one.
            t._core._pending.limits = {}
            words = f"it holds {limit + 1} values, at most {limit} "
            with self.assertLogs("turnlane", "ERROR"), self.assertRaisesRegex(errors.RpcError, words):
                await asked(limit + 1)
            await t.stats()

    async def test_lists_are_read_page_after_page(self) -> None:
        self.config.write_text("[limits]\nlist = 2\n", encoding="utf-8")
        async with self.client() as t:
            for number in range(5):
                await t.open_session(f"s{number}", agent="script")
                await (await t.prompt(f"s{number}", "say x", run_id=f"r{number}"))
            self.assertTrue((await t.list_sessions()).more)
            self.assertEqual([one.session_id async for one in t.sessions()], [f"s{number}" for number in range(5)])
            self.assertEqual([one.run_id async for one in t.runs()], [f"r{number}" for number in reversed(range(5))])
            self.assertEqual([one async for one in t.dead_letters()], [])


class Leases(ClientCase):
    async def family(self, t: Turnlane, results: int) -> List[str]:
        await t.open_session("parent", agent="script")
        await t.open_session("child", agent="script", parent="parent")
        ids = [(await t.prompt("child", f"say {number}", run_id=f"r{number}")).run_id for number in range(results)]
        await t.wait(*ids)
        return ids

    async def test_a_body_that_is_done_acknowledges_and_one_that_raises_releases(self) -> None:
        async with self.client() as t:
            ids = await self.family(t, 2)
            with self.assertRaisesRegex(ValueError, "mine"):
                async with t.drain("parent") as batch:
                    self.assertEqual([done.run_id for done in batch], ids)
                    self.assertEqual((len(batch), batch[0].text, batch[-1:][0].text, batch.remaining), (2, "0\n", "1\n", 0))
                    raise ValueError("mine")
            async with t.drain("parent") as batch:
                self.assertEqual([done.attempt for done in batch], [2, 2])
            async with t.drain("parent") as batch:
                self.assertFalse(batch)
                self.assertEqual((batch.delivery_id, batch.leased), (None, 0))

    async def test_a_cancelled_body_releases(self) -> None:
        async with self.client() as t:
            await self.family(t, 1)
            inside = asyncio.Event()

            async def body() -> None:
                async with t.drain("parent"):
                    inside.set()
                    await asyncio.Event().wait()

            task = asyncio.ensure_future(body())
            await inside.wait()
            task.cancel()
            await asyncio.wait([task])
            self.assertTrue(task.cancelled())
            self.assertEqual((await t.peek("parent")).pending, 1)

    async def test_what_was_settled_one_by_one_is_not_given_back(self) -> None:
        async with self.client() as t:
            await self.family(t, 3)
            with self.assertRaises(ZeroDivisionError):
                async with t.drain("parent") as batch:
                    self.assertEqual((await batch.ack("r0")).settled, ["r0"])
                    self.assertEqual((await batch.release("r2")).released, ["r2"])
                    self.assertEqual(batch.open_run_ids, ["r1"])
                    raise ZeroDivisionError
            peeked = await t.peek("parent")
            self.assertEqual([done.run_id for done in peeked.completions], ["r1", "r2"])
            self.assertEqual((peeked.pending, peeked.leased), (2, 0))

    async def test_a_lease_that_was_lost_says_so_and_others_get_its_completions(self) -> None:
        async with self.client() as t, self.client() as other:
            await self.family(t, 1)
            async with t.drain("parent", lease_ms=600) as batch:
                with self.assertLogs("turnlane", "WARNING") as logs:
                    os.kill(t.pid, signal.SIGKILL)
                    async with other.drain("parent", wait_ms=60_000) as taken:
                        self.assertEqual(taken[0].attempt, 2)
                        await batch.until_lost()
                        self.assertTrue(batch.lost)
                self.assertIn("is over before its body is done", "".join(logs.output))

    async def test_what_others_hold_by_the_end_of_a_body_is_told(self) -> None:
        async with self.client() as t, self.client() as other:
            await self.family(t, 1)
            with self.assertLogs("turnlane", "WARNING") as logs:
                async with t.drain("parent") as batch:
                    assert batch.delivery_id is not None
                    await t.release(batch.delivery_id)
                    taken = await other.take("parent")
            self.assertIn("others have by now: r0", "".join(logs.output))
            assert taken.delivery_id is not None
            await other.ack(taken.delivery_id)

    async def test_a_group_is_waited_for(self) -> None:
        async with self.client() as t:
            await t.open_session("parent", agent="script")
            for child in ("a", "b"):
                await t.open_session(child, agent="script", parent="parent")
                await t.prompt(child, f"say {child}", run_id=child)
            async with t.drain("parent", until=RunGroup(["a", "b"])) as batch:
                self.assertEqual(sorted(done.text for done in batch), ["a\n", "b\n"])


class Streams(ClientCase):
    async def test_a_stream_that_is_read_late_has_every_completion_once_and_in_order(self) -> None:
        with mock.patch.object(events, "HELD_EVENTS", 3), mock.patch.object(events, "HELD_STATES", 5):
            async with self.client(default_agent="script") as t:
                stream = t.events(output=True)
                runs = [await t.prompt("s", "say x", run_id=f"r{number}") for number in range(40)]
                await runs[-1]
                # All output, states up to their limit, three durable events, and the latest of the session and of what has not ended.
                self.assertLess(len(stream._queue), 40 + 5 + 3 + 4)
                ended: List[str] = []
                async for event in stream:
                    if event.method == "run/completed":
                        ended.append(event.completion.run_id)
                        if event.completion.run_id == "r39":
                            break
                more = await t.prompt("s", "say y", run_id="more")
                await more
                self.assertEqual((await stream.until("run/completed")).raw["runId"], "more")
        self.assertEqual(ended, [f"r{number}" for number in range(40)])

    async def test_several_readers_of_a_stream_share_what_is_read_again(self) -> None:
        with mock.patch.object(events, "HELD_EVENTS", 3):
            async with self.client(default_agent="script") as t:
                stream = t.events()
                for number in range(20):
                    await (await t.prompt("s", "say x", run_id=f"r{number}"))
                seen: List[str] = []
                last = asyncio.Event()

                async def read() -> None:
                    async for event in stream:
                        if event.method == "run/completed":
                            seen.append(event.completion.run_id)
                            if event.completion.run_id == "end":
                                last.set()

                readers = [asyncio.ensure_future(read()) for _ in range(3)]
                while len(set(seen)) < 20:
                    await t.stats()
                await t.prompt("s", "say y", run_id="end")
                await last.wait()
            await asyncio.gather(*readers)
        self.assertEqual(seen, [*(f"r{number}" for number in range(20)), "end"])

    async def test_a_stream_that_ends_before_its_reader_has_caught_up_says_so(self) -> None:
        with mock.patch.object(events, "HELD_EVENTS", 3):
            async with self.client(default_agent="script") as t:
                stream = t.events()
                for number in range(5):
                    await (await t.prompt("s", "say x", run_id=f"r{number}"))
            seen: List[str] = []
            with self.assertRaisesRegex(NotRunningError, "this reader was behind") as caught:
                while True:
                    seen.append((await stream.until("run/completed")).completion.run_id)
            self.assertEqual(seen, ["r0", "r1", "r2"])
            async with t:
                rest = await t.replay(caught.exception.data["cursor"])
                self.assertEqual([event.completion.run_id for event in rest.events], ["r3", "r4"])

    async def test_a_stream_ends_with_its_client_or_when_it_is_closed(self) -> None:
        async with self.client() as t:
            closed, left = t.events(), t.events()
            closed.close()
            self.assertEqual([event async for event in closed], [])
        self.assertEqual([event async for event in left], [])
        self.assertEqual([event async for event in t.events()], [])
        with self.assertRaises(EOFError):
            await left.until("run/completed")

    async def test_events_are_typed(self) -> None:
        async with self.client(default_agent="script") as t:
            stream = t.events(output=True)
            await (await t.prompt("s", "say x"))
            output = await stream.until("run/output")
            self.assertEqual(output.params.text, "x\n")
            with self.assertRaises(TypeError):
                _ = output.completion
            self.assertTrue((await stream.until("run/completed")).durable)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class OtherLoop(ClientCase):
    async def test_a_client_is_used_where_it_was_started(self) -> None:
        async with self.client() as t:
            with self.assertRaisesRegex(NotRunningError, "another event loop"):
                await asyncio.get_running_loop().run_in_executor(None, lambda: asyncio.run(t.stats()))
            await t.stats()


class Leaving(ClientCase):
    async def test_a_second_start_is_the_same_sidecar(self) -> None:
        t = await self.client().start()
        pid = t.pid
        async with t:
            self.assertEqual((t.pid, (await t.stats()).clients), (pid, 1))
        self.assertFalse(lives(pid))

    async def test_a_client_that_was_closed_can_be_started_and_closed_again(self) -> None:
        t = self.client(default_agent="script")
        await t.close()
        for number in range(2):
            async with t:
                pid = t.pid
                self.assertEqual((await (await t.prompt("s", f"say {number}"))).text, f"{number}\n")
            self.assertFalse(lives(pid))
            with self.assertRaises(NotRunningError):
                await t.stats()

    async def test_a_close_that_was_cancelled_goes_on_and_the_next_one_waits_for_it(self) -> None:
        t = await self.client(default_agent="script").start()
        run = await t.prompt("s", "hold door")
        pid = t.pid
        closing = asyncio.ensure_future(t.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        self.assertTrue(closing.cancelled())
        with self.assertRaises(NotRunningError):
            await t.stats()
        await asyncio.gather(t.close(), t.close())
        self.assertFalse(lives(pid))
        self.assertEqual((await run).reason, "shutdown")

    async def test_a_child_that_holds_the_sidecars_input_does_not_keep_it_from_leaving(self) -> None:
        t = await self.client(default_agent="script").start()
        run = await t.prompt("s", "hold door")
        assert t._core._link is not None
        self.addCleanup(os.close, os.dup(t._core._link._pipes[0].fileno()))  # as a forked child has it
        await t.close()
        self.assertEqual((await run).reason, "shutdown")


class Storm(ClientCase):
    async def test_through_kills_every_run_completes_once_and_in_order(self) -> None:
        async with self.client() as t:
            stream = t.events()
            for session in ("a", "b"):
                await t.open_session(session, agent="script", wake=WakePolicy(on_completion="hold"))
            runs: List[Run] = []

            async def work() -> None:
                for number in range(30):
                    run = await t.prompt("ab"[number % 2], "say x\nsleep 2\nsay y", run_id=f"r{number}")
                    runs.append(run)

            async def kill() -> None:
                for end in (3, 11, 19):
                    while len(runs) <= end:
                        await asyncio.sleep(0)
                    await runs[end]
                    os.kill(t.pid, signal.SIGKILL)

            with self.assertLogs("turnlane", "WARNING"):
                await asyncio.gather(work(), kill())
                ends = [await one for one in runs]
            self.assertTrue({done.outcome for done in ends} <= {"completed", "interrupted"})
            told: Dict[str, List[str]] = {"a": [], "b": []}
            while sum(map(len, told.values())) < 30:
                event = await stream.until("run/completed")
                told[event.completion.session_id].append(event.completion.run_id)
            self.assertEqual(told, {"a": [f"r{n}" for n in range(0, 30, 2)], "b": [f"r{n}" for n in range(1, 30, 2)]})
            self.assertEqual((await t.list_runs(state="ended")).more, False)
            self.assertEqual(len((await t.list_runs()).runs), 30)

    async def test_a_run_that_outlives_its_clients_sidecar_is_read_on(self) -> None:
        async with self.client(default_agent="script") as owner, self.client() as t:
            await owner.open_session("s", agent="script")
            run = await t.prompt("s", "say one\nhold door\nsay two")
            first = await run.__anext__()
            stream = t.events()
            with self.assertLogs("turnlane", "WARNING"):
                os.kill(t.pid, signal.SIGKILL)
                await stream.until("client/restarted")
            await owner.prompt("s", "release door", if_busy="steer")
            self.assertEqual(first.text + await run.read(), "one\ntwo\n")


if __name__ == "__main__":
    unittest.main()
