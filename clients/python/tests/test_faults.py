"""What the client does when its sidecar dies, lies, or answers late."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import unittest
from typing import Any, Callable, ClassVar, Coroutine, Dict, List, Tuple, cast
from unittest import mock

import fake
from support import FakeCase, accepted, completed, refused

from turnlane import (
    AgentDescription,
    ConnectionLostError,
    StoppedError,
    Turnlane,
    TurnlaneError,
    _core,
    errors,
)
from turnlane import events as events_module

DRAINED = {"deliveryId": "d1", "completions": [], "remaining": 0, "leased": 0, "more": False}


class Repeating(FakeCase):
    async def test_a_prompt_without_an_answer_is_said_again_with_the_same_run_id(self) -> None:
        lives: List[Dict[str, Any]] = [{"prompt": [["die"]]}, {"prompt": [[accepted("r"), completed("r", 1)]]}]
        async with self.play(*lives) as t:
            done = await (await t.prompt("s", "say x", run_id="r"))
            self.assertEqual(done.outcome, "completed")
        first, second = self.received("prompt")
        self.assertEqual([first["life"], second["life"]], [0, 1])
        self.assertEqual(first["params"], second["params"])

    async def test_a_run_id_is_made_where_none_is_given(self) -> None:
        lives: List[Dict[str, Any]] = [
            {"prompt": [["die"]], "wake": [["die"]]},
            {"prompt": [[accepted("r")]], "wake": [[{"result": {"status": "queued"}}]]},
        ]
        async with self.play(*lives) as t:
            await t.prompt("s", "say x")
            await t.wake("s", "because")
        ids = {message["params"]["runId"] for message in self.received("prompt")}
        self.assertEqual(len(ids), 1)
        self.assertTrue(all(message["params"]["runId"] for message in self.received("wake")))

    async def test_requests_are_said_again_in_their_order(self) -> None:
        last: Dict[str, Any] = {"cancel": [[{"result": {"runs": []}}]], "prompt": [[accepted("a")], [accepted("b", 2)]]}
        async with self.play({"prompt": [["silence"], ["die"]]}, last) as t:
            await asyncio.gather(t.prompt("s", "x", run_id="a"), t.cancel("s"), t.prompt("s", "y", run_id="b"))
        again = self.received("prompt", "cancel", life=1)
        self.assertEqual([message["method"] for message in again], ["prompt", "cancel", "prompt"])
        self.assertEqual([message["params"].get("runId") for message in again], ["a", None, "b"])

    async def test_what_could_be_done_twice_is_an_error_that_says_so(self) -> None:
        doubtful: List[Tuple[str, Callable[[Turnlane], Coroutine[Any, Any, Any]]]] = [
            ("run/input", lambda t: t.run_input("r", "rm -r x\n")),
            ("drain", lambda t: t.take("s", ack="auto")),
            ("deadLetter/retry", lambda t: t.retry_dead_letters("r")),
            ("session/close", lambda t: t.close_session("s", purge=True)),
        ]
        for method, work in doubtful:
            with self.subTest(method):
                (self.folder / "lives").unlink(missing_ok=True)
                async with self.play({method: [["die"]]}, {"agent/list": [[{"result": {"agents": [], "more": False}}]]}) as t:
                    with self.assertRaisesRegex(ConnectionLostError, "killed by signal 9.*is not known"):
                        await work(t)
                    await t.list_agents()
                self.assertEqual(self.received(method, life=1), [])

    async def test_a_cancel_is_not_said_again_after_a_later_prompt_was_accepted(self) -> None:
        first: Dict[str, Any] = {"cancel": [["silence"]], "prompt": [[accepted("r"), "die"]]}
        async with self.play(first, {"run/get": [["silence"]]}) as t:
            cancelling = asyncio.ensure_future(t.cancel("s"))
            await asyncio.sleep(0)
            await t.prompt("s", "x", run_id="r")
            with self.assertRaises(ConnectionLostError):
                await cancelling
        self.assertEqual(self.received("cancel", life=1), [])

    async def test_a_lost_owner_is_hidden_where_ids_make_it_safe(self) -> None:
        life = {"prompt": [[refused("ownerLost", runId="r")], [accepted("r")]], "run/input": [[refused("ownerLost")]]}
        with mock.patch.object(_core, "OWNER_LOST_PAUSE_S", 0.001):
            async with self.play(life) as t:
                run = await t.prompt("s", "x", run_id="r")
                self.assertFalse(run.duplicate)
                with self.assertRaises(errors.OwnerLostError):
                    await t.run_input("r", "x")
        self.assertEqual(len(self.received("prompt")), 2)

    async def test_an_owner_that_stays_lost_is_told_in_the_end(self) -> None:
        with mock.patch.object(_core, "OWNER_LOST_PAUSE_S", 0.0), mock.patch.object(_core, "OWNER_LOST_REPEATS", 3):
            async with self.play({"run/get": [[refused("ownerLost")]]}) as t:
                with self.assertRaises(errors.OwnerLostError):
                    await t.get_run("r")
        self.assertEqual(len(self.received("run/get")), 4)

    async def test_a_wait_that_is_said_again_has_the_time_that_is_left(self) -> None:
        async with self.play({"run/wait": [["die"]]}, {"run/wait": [[{"result": {"runs": [], "timedOut": True}}]]}) as t:
            await t.wait("r", timeout_ms=3_600_000)
        first, second = self.received("run/wait")
        self.assertLess(second["params"]["timeoutMs"], first["params"]["timeoutMs"])

    async def test_a_session_that_was_not_opened_yet_is_opened_as_it_was_asked_for_and_not_before(self) -> None:
        opened = {"session": {}, "created": False, "recovered": 1}
        second: Dict[str, Any] = {"session/get": [[{"result": {"state": "dormant"}}]], "session/open": [[{"result": opened}]]}
        async with self.play({"session/open": [["die"]]}, second) as t:
            with mock.patch("turnlane.client.SessionOpenResult.from_wire"):
                await t.open_session("s", recover="cancel")
        self.assertEqual([one["params"] for one in self.received("session/open", life=1)], [{"sessionId": "s", "recover": "cancel"}])

    async def test_a_session_whose_opening_nobody_waited_for_is_opened_again_with_its_variables(self) -> None:
        opened = {"session": {}, "created": True, "recovered": 0}
        waited: Dict[str, Any] = {"result": {"runs": [], "timedOut": False}}
        first: Dict[str, Any] = {
            "session/open": [["silence"]],
            "agent/list": [[{"id": 2, "result": opened}, {"result": {"agents": [], "more": False}}]],
            "run/wait": [["die"]],
        }
        second: Dict[str, Any] = {
            "session/get": [[{"result": {"state": "dormant"}}]],
            "session/open": [[{"result": opened}]],
            "run/wait": [[waited]],
        }
        async with self.play(first, second) as t:
            opening = asyncio.ensure_future(t.open_session("s", env={"A": "1"}))
            await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait([opening])
            await t.list_agents()
            await t.wait("r")
        self.assertEqual([one["params"] for one in self.received("session/open", life=1)], [{"sessionId": "s", "env": {"A": "1"}}])

    async def test_a_session_that_can_not_be_opened_again_is_told_of(self) -> None:
        second: Dict[str, Any] = {
            "session/get": [[{"result": {"state": "dormant"}}]],
            "session/open": [[refused("sessionDormant", -32011)]],
            "agent/list": [[{"result": {"agents": [], "more": False}}]],
        }
        async with self.play({"prompt": [[accepted("r")]], "agent/list": [["die"]]}, second) as t:
            with self.assertLogs("turnlane", "WARNING") as logs:
                await t.prompt("s", "x", run_id="r")
                await t.list_agents()
        self.assertIn("the session s is not open any more", "".join(logs.output))


class Hearing(FakeCase):
    ACTIVE: ClassVar[Dict[str, Any]] = {"result": {"runId": "r", "sessionId": "s", "state": "active"}}
    SILENT: ClassVar[Dict[str, Any]] = {"result": {"chunks": [], "more": False}}

    async def test_a_prompt_that_was_refused_makes_nothing_heard_of(self) -> None:
        life: Dict[str, Any] = {"prompt": [[refused("sessionBusy", -32011)]], "run/get": [[self.ACTIVE]], "run/output": [[self.SILENT]]}
        async with self.play(life) as t:
            with self.assertRaises(errors.SessionBusyError):
                await t.prompt("s", "x", if_busy="reject")
            await t.attach("r")
        self.assertEqual(self.received("subscribe")[0]["params"], {"sessions": ["s"], "output": True})

    async def test_what_is_under_way_is_heard_of_beside_a_run_that_is_attached_to(self) -> None:
        # The prompt is number 2. It is refused for the same reason as the first choice, which holds its session.
        gone = refused("sessionNotFound", -32010, sessionId="fresh")
        life: Dict[str, Any] = {
            "prompt": [["silence"]],
            "run/get": [[self.ACTIVE]],
            "run/output": [[self.SILENT]],
            "subscribe": [[{"id": 2, **gone}, gone], [{"result": None}]],
        }
        async with self.play(life) as t:
            ends = await asyncio.gather(t.prompt("fresh", "x"), t.attach("r"), return_exceptions=True)
            self.assertIsInstance(ends[0], errors.SessionNotFoundError)
            self.assertTrue(t._core.hears("s"))
        self.assertEqual([one["params"]["sessions"] for one in self.received("subscribe")], [["fresh", "s"], ["s"]])


class Dying(FakeCase):
    async def test_a_lease_is_known_to_be_lost_when_its_sidecar_dies(self) -> None:
        one = completed("c", 1)["say"]["params"]
        held = {**DRAINED, "completions": [one], "expiresAt": 1}
        acked: Dict[str, Any] = {"result": {"settled": [], "held": [], "gone": []}}
        for restart in (True, False):
            with self.subTest(restart=restart):
                (self.folder / "lives").unlink(missing_ok=True)
                first: Dict[str, Any] = {"drain": [[{"result": held}]], "agent/list": [["die"]]}
                async with self.play(first, {"drain/ack": [[acked]]}, restart=restart) as t:
                    with contextlib.ExitStack() as after, self.assertLogs("turnlane", "WARNING") as logs:
                        if not restart:
                            after.enter_context(self.assertRaises(ConnectionLostError))
                        async with t.drain("s") as batch:
                            dying = asyncio.ensure_future(t.list_agents())
                            await asyncio.wait_for(batch.until_lost(), 60)
                            self.assertTrue(batch.lost)
                    dying.cancel()
                    await asyncio.wait([dying])
                self.assertEqual(sum("is over before its body is done" in line for line in logs.output), 1)

    async def test_a_sidecar_that_ends_by_itself_was_stopped_and_is_not_started_again(self) -> None:
        async with self.play({"run/wait": [["stop"]]}) as t:
            with self.assertRaisesRegex(StoppedError, "told to stop"):
                await t.wait("r")
            with self.assertRaises(ConnectionLostError):
                await t.stats()
        self.assertEqual((self.folder / "lives").read_text(), "1")

    async def test_with_restart_off_nothing_is_started(self) -> None:
        async with self.play({"run/wait": [["die"]]}, restart=False) as t:
            with self.assertRaisesRegex(ConnectionLostError, "not to be started again"):
                await t.wait("r")
        self.assertEqual((self.folder / "lives").read_text(), "1")

    async def test_one_that_can_not_be_started_again_is_given_up_with_the_reason(self) -> None:
        with mock.patch.object(_core, "PAUSES_S", (0.0, 0.0)):
            async with self.play(
                {"prompt": [[accepted("r")]], "run/wait": [["die"]]}, {"initialize": [[refused("storeCorrupt", -32013)]]}
            ) as t:
                events = t.events()
                run = await t.prompt("s", "x", run_id="r")
                with self.assertRaisesRegex(ConnectionLostError, "it is storeCorrupt") as caught:
                    await t.wait("r")
                self.assertEqual(caught.exception.kind, "storeCorrupt")
                with self.assertRaises(ConnectionLostError):
                    await run
                self.assertEqual([event async for event in events], [])
        self.assertEqual((self.folder / "lives").read_text(), "3")

    async def test_one_that_dies_again_and_again_is_given_up(self) -> None:
        with mock.patch.object(_core, "DEATHS_A_MINUTE", 3):
            async with self.play({"run/wait": [["die"]]}) as t:
                with self.assertRaisesRegex(ConnectionLostError, "4th time within a minute"):
                    await t.wait("r")

    async def test_sessions_are_opened_again_with_their_variables_and_the_cursor_is_handed_on(self) -> None:
        opened = {"session": {}, "created": True, "recovered": 0}
        first: Dict[str, Any] = {"session/open": [[{"result": opened}]], "prompt": [[accepted("r"), completed("r", 7)]], "stats": [["die"]]}
        second: Dict[str, Any] = {
            "session/open": [[{"result": opened}]],
            "session/get": [[{"result": {"state": "dormant"}}]],
            "agent/list": [[{"result": {"agents": [], "more": False}}]],
        }
        async with self.play(first, second) as t:
            with mock.patch("turnlane.client.SessionOpenResult.from_wire"):
                await t.open_session("s", agent="sh", env={"A": "1"})
            await (await t.prompt("s", "x", run_id="r"))
            dying = asyncio.ensure_future(t.stats())
            await t.list_agents()
            dying.cancel()
        greeting = self.received("initialize", life=1)[0]["params"]
        self.assertTrue(greeting["resumeFrom"].endswith(":7"))
        self.assertEqual(self.received("session/open", life=1)[0]["params"], {"sessionId": "s", "env": {"A": "1"}})
        self.assertEqual(self.received("subscribe", life=1)[0]["params"], {"sessions": ["s"], "output": True})

    async def test_a_death_while_sessions_are_opened_again_is_a_death_like_any_other(self) -> None:
        first: Dict[str, Any] = {"prompt": [[accepted("r")]], "run/wait": [["die"]]}
        second: Dict[str, Any] = {"session/get": [["die"]]}
        third: Dict[str, Any] = {
            "session/get": [[refused("sessionNotFound", -32010)]],
            "run/wait": [[completed("r", 1), {"result": {"runs": [], "timedOut": False}}]],
        }
        async with self.play(first, second, third) as t:
            await t.prompt("s", "x", run_id="r")
            self.assertEqual((await t.wait("r")).runs, [])
        self.assertEqual([message["life"] for message in self.received("run/wait")], [0, 2])
        self.assertEqual(self.received("subscribe", life=2)[0]["params"]["sessions"], [])

    async def test_a_run_that_ended_while_nobody_listened_is_asked_for(self) -> None:
        cold: Dict[str, Any] = {"cursor": "01900000-0000-7000-8000-000000000001:9", "resumed": False}
        fake_hello = {
            "serverInfo": {"name": "turnlane", "version": "9.9"},
            "protocolVersion": 1,
            "instanceId": "y",
            "role": "owner",
            "store": "/",
            "durability": "full",
            "agents": [],
            "limits": {},
            **cold,
        }
        ended = {
            "runId": "r",
            "sessionId": "s",
            "kind": "prompt",
            "seq": 1,
            "state": "ended",
            "prompt": "x",
            "outcome": "interrupted",
            "text": "",
            "truncated": False,
            "acceptedAt": 1,
            "endedAt": 2,
        }
        second = {"initialize": [[{"result": fake_hello}]], "run/get": [[{"result": ended}]]}
        async with self.play({"prompt": [[accepted("r")]], "stats": [["die"]]}, second) as t:
            events = t.events()
            run = await t.prompt("s", "x", run_id="r")
            dying = asyncio.ensure_future(t.stats())
            self.assertEqual((await run).outcome, "interrupted")
            restarted = await events.until("client/restarted")
            self.assertFalse(restarted.raw["resumed"])
            dying.cancel()


class Odd(FakeCase):
    async def test_a_drain_that_was_answered_before_it_could_be_given_up_is_released(self) -> None:
        life: Dict[str, Any] = {
            "drain": [["silence"]],
            "$/cancelRequest": [[{"result": DRAINED, "id": 3}]],
            "drain/release": [[completed("told", 1)]],
        }
        async with self.play(life) as t:
            await t.subscribe("all")
            stream = t.events()
            taking = asyncio.ensure_future(t.take("s", wait_ms=60_000))
            await asyncio.sleep(0)
            taking.cancel()
            await asyncio.wait([taking])
            await stream.until("run/completed", runId="told")
        self.assertTrue(taking.cancelled())
        self.assertEqual(self.received("drain/release")[0]["params"], {"deliveryId": "d1"})
        self.assertEqual(self.received("$/cancelRequest")[0]["params"], {"id": self.received("drain")[0]["id"]})

    async def test_a_drain_that_was_answered_before_its_task_was_cancelled_is_released(self) -> None:
        # Both answers come in one piece; whoever hears of the first cancels the other before it can hear of the second.
        both = "\n".join(json.dumps({"jsonrpc": "2.0", "id": number, "result": DRAINED}) for number in (3, 4))
        life: Dict[str, Any] = {
            "agent/list": [["silence"]],
            "drain": [[{"raw": both}]],
            "drain/release": [[completed("told", 1)]],
        }
        async with self.play(life) as t:
            await t.subscribe("all")
            stream = t.events()

            async def first() -> None:
                await t.call("agent/list")
                taking.cancel()

            killing = asyncio.ensure_future(first())
            await asyncio.sleep(0)
            taking = asyncio.ensure_future(t.take("s"))
            await asyncio.wait([killing, taking])
            self.assertTrue(taking.cancelled())
            await asyncio.wait_for(stream.until("run/completed", runId="told"), 30)
        self.assertEqual(self.received("drain/release")[0]["params"], {"deliveryId": "d1"})

    async def test_a_drain_whose_answer_comes_before_its_task_has_run_since_it_was_cancelled_is_released(self) -> None:
        life: Dict[str, Any] = {"drain": [["silence"]], "drain/release": [[completed("told", 1)]]}
        async with self.play(life) as t:
            await t.subscribe("all")
            stream = t.events()
            taking = asyncio.ensure_future(t.take("s"))
            await asyncio.sleep(0)
            taking.cancel()
            t._core._message({"jsonrpc": "2.0", "id": 3, "result": DRAINED})
            await asyncio.wait([taking])
            self.assertTrue(taking.cancelled())
            await asyncio.wait_for(stream.until("run/completed", runId="told"), 30)
        self.assertEqual((len(self.received("drain/release")), self.received("$/cancelRequest")), (1, []))

    async def test_a_page_that_a_reader_did_not_wait_for_is_the_next_ones(self) -> None:
        events = [completed("r", number)["say"] for number in (1, 2, 3)]
        missing = events[1:]
        at_once = {"raw": "\n".join(json.dumps({"jsonrpc": "2.0", **event}) for event in events)}
        # The page is asked for by number 3, and answered when the agents are.
        page = {"id": 3, "result": {"events": missing, "more": False, "cursor": missing[-1]["params"]["cursor"]}}
        life: Dict[str, Any] = {
            "prompt": [[accepted("r"), at_once]],
            "events/replay": [["silence"]],
            "agent/list": [[page, {"result": {"agents": [], "more": False}}]],
        }
        with mock.patch.object(events_module, "HELD_EVENTS", 1):
            async with self.play(life) as t:
                stream = t.events()
                await (await t.prompt("s", "x", run_id="r"))
                seen = [await stream.__anext__()]
                for _ in range(3):
                    reading = asyncio.ensure_future(stream.__anext__())
                    while not self.received("events/replay"):
                        await asyncio.sleep(0)
                    reading.cancel()
                    await asyncio.wait([reading])
                    self.assertTrue(reading.cancelled())
                await t.list_agents()
                seen += [await asyncio.wait_for(stream.__anext__(), 60) for _ in missing]
        self.assertEqual([event.raw["seq"] for event in seen], [1, 2, 3])
        self.assertEqual(len(self.received("events/replay")), 1)

    async def test_what_is_nested_too_deep_is_an_error_before_anything_is_said(self) -> None:
        deep: List[Any] = []
        for _ in range(5000):
            deep = [deep]
        for limits in ({"jsonDepth": 128}, {}):
            with self.subTest(limits):
                async with self.play({"initialize": [[{"result": {**fake.HELLO, "limits": limits}}]]}) as t:
                    works: List[Callable[[], Coroutine[Any, Any, Any]]] = [
                        functools.partial(t.call, "moon/rise", {"deep": deep}),
                        functools.partial(t.open_session, "s", agent=AgentDescription(kind="command", command=cast(Any, deep))),
                    ]
                    for work in works:
                        with self.assertRaisesRegex(errors.RpcError, "nested deeper than") as caught:
                            await work()
                        self.assertEqual(caught.exception.code, -32700)
                    await t.call("stats")
                self.assertEqual(self.received("moon/rise", "session/open"), [])

    async def test_what_is_too_much_is_an_error_before_anything_is_said_whatever_else_is_under_way(self) -> None:
        for limits, kind in (({"jsonValues": 30}, errors.RpcError), ({"maxFrameBytes": 150}, errors.FrameTooLargeError)):
            with self.subTest(limits):
                async with self.play({"initialize": [[{"result": {**fake.HELLO, "limits": limits}}]], "agent/list": [["silence"]]}) as t:
                    other = asyncio.ensure_future(t.list_agents())
                    with self.assertRaises(kind):
                        await asyncio.wait_for(t.call("moon/rise", {"list": [0] * 100}), 30)
                    await t.call("stats")
                    other.cancel()
                self.assertEqual(self.received("moon/rise"), [])

    async def test_what_was_asked_before_the_limits_were_known_is_held_against_them(self) -> None:
        deep: List[Any] = []
        for _ in range(20):
            deep = [deep]
        for limits, asked, kind in (
            ({"jsonValues": 30}, [0] * 100, errors.RpcError),
            ({"jsonDepth": 20}, deep, errors.RpcError),
            ({"maxFrameBytes": 150}, [0] * 100, errors.FrameTooLargeError),
        ):
            with self.subTest(limits):
                t = self.play({"initialize": [[{"result": {**fake.HELLO, "limits": limits}}]]})
                starting = asyncio.ensure_future(t.start())
                await asyncio.sleep(0)
                asking = asyncio.ensure_future(t.call("moon/rise", {"list": asked}))
                await starting
                async with t:
                    with self.assertRaises(kind):
                        await asyncio.wait_for(asking, 30)
                    await t.call("stats")
                self.assertEqual(self.received("moon/rise"), [])

    async def test_a_restart_that_would_have_to_say_too_much_is_given_up(self) -> None:
        less = {"initialize": [[{"result": {**fake.HELLO, "limits": {"jsonValues": 30}}}]]}
        with mock.patch.object(_core, "PAUSES_S", (0.0, 0.0)):
            async with self.play({"agent/list": [["die"]]}, less) as t:
                await t.subscribe([f"s{number}" for number in range(100)])
                with self.assertLogs("turnlane", "WARNING"), self.assertRaisesRegex(ConnectionLostError, "`subscribe` holds 106 values"):
                    await asyncio.wait_for(t.list_agents(), 60)
        self.assertEqual(self.received("subscribe", life=1), [])

    async def test_what_this_version_does_not_know_is_passed_over(self) -> None:
        more = [{"say": {"method": "moon/risen", "params": {}}}, {"raw": "{broken"}, {"raw": '"text"'}, {"say": {"id": 99, "result": 1}}]
        life = {"prompt": [[*more, accepted("r", colour="red"), completed("r", 1, outcome="evaporated", mood="good")]]}
        async with self.play(life) as t:
            run = await t.prompt("s", "x", run_id="r")
            done = await run
        self.assertEqual(done.outcome, "evaporated")
        self.assertFalse(done.ok)
        self.assertEqual(done.exit_status, 125)

    async def test_an_error_of_a_kind_that_is_not_known_is_still_a_turnlane_error(self) -> None:
        async with self.play(
            {"run/get": [[refused("tooEarly", -32099, until=5)], [{"error": {"code": -32601, "message": "no such method"}}]]}
        ) as t:
            with self.assertRaises(errors.RpcError) as caught:
                await t.get_run("r")
            self.assertEqual((caught.exception.kind, caught.exception.code, caught.exception.data["until"]), ("tooEarly", -32099, 5))
            with self.assertRaises(TurnlaneError) as plain:
                await t.get_run("r")
            self.assertEqual((plain.exception.kind, plain.exception.code), (None, -32601))

    async def test_a_line_may_be_as_long_as_it_likes_and_hold_line_separators(self) -> None:
        text = "a\u2028b\u2029c\u0085d " * 400_000
        told = completed("r", 1, text=text)["say"]
        raw = json.dumps({"jsonrpc": "2.0", **told}, ensure_ascii=False)
        async with self.play({"prompt": [[accepted("r"), {"raw": raw}]]}) as t:
            done = await (await t.prompt("s", "x", run_id="r"))
        self.assertEqual(len(done.text), len(text))
        self.assertEqual(done.text, text)

    async def test_a_mistake_in_a_callback_ends_neither_the_reader_nor_the_run(self) -> None:
        question = {"requestId": "q", "question": "May I?", "options": []}
        parked = {"say": {"method": "run/changed", "params": {"runId": "r", "sessionId": "s", "state": "parked", "permission": question}}}

        def broken(_: Any) -> str:
            raise ValueError("a mistake")

        async with self.play(
            {"prompt": [[accepted("r"), parked]], "run/get": [[completed("r", 1), {"error": {"code": -1, "message": ""}}]]},
            on_permission=broken,
        ) as t:
            with self.assertLogs("turnlane", "ERROR") as logs:
                run = await t.prompt("s", "x", run_id="r")
                self.assertEqual(await run.reached("parked"), "parked")
                while not logs.output:
                    await asyncio.sleep(0)
            with self.assertRaises(errors.RpcError):
                await t.get_run("r")
            self.assertEqual((await run).outcome, "completed")


if __name__ == "__main__":
    unittest.main()
