"""What a run says, and whether all of it came."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any, Callable, Coroutine, Dict, List, Tuple
from unittest import mock

import fake
from support import FakeCase, accepted, completed, refused

from turnlane import Run, Turnlane
from turnlane import run as run_module

ACTIVE: Dict[str, Any] = {"result": {"runId": "r", "sessionId": "s", "state": "active"}}


def said(offset: int, text: str = "", **more: Any) -> Dict[str, Any]:
    """A piece of the run `r`."""
    return {"runId": "r", "sessionId": "s", "offset": offset, "stream": "stdout", "text": text, **more}


def told(offset: int, text: str = "", **more: Any) -> Dict[str, Any]:
    """A `run/output`."""
    return {"say": {"method": "run/output", "params": said(offset, text, **more)}}


def page(*chunks: Dict[str, Any], start: int = 0, more: bool = False, ended: bool = False) -> Dict[str, Any]:
    """An answer to `run/output`."""
    end = chunks[-1]["offset"] + len(chunks[-1]["text"]) if chunks else start
    return {"result": {"runId": "r", "from": start, "chunks": list(chunks), "next": end, "more": more, "ended": ended}}


def ended(**more: Any) -> Dict[str, Any]:
    """An answer to `run/get` of a run that has ended."""
    return {"result": {**completed("r", 1, **more)["say"]["params"], "state": "ended"}}


class Reading(FakeCase):
    async def test_a_read_of_all_that_is_given_up_keeps_nothing_to_itself(self) -> None:
        rest = [told(6, "six"), completed("r", 1), {"result": {"agents": [], "more": False}}]
        async with self.play({"prompt": [[accepted("r"), told(0, "one"), told(3, "two")]], "agent/list": [rest]}) as t:
            run = await t.prompt("s", "x", run_id="r")
            reading = asyncio.ensure_future(run.read())
            while run._read_to < 6:
                await asyncio.sleep(0)
            reading.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await reading
            self.assertEqual((await run.__anext__()).text, "one")
            await t.list_agents()
            self.assertEqual((await run.read(), run.missed), ("twosix", 0))

    async def test_what_was_said_before_somebody_listened_is_not_hidden_by_what_is_told_meanwhile(self) -> None:
        late: Dict[str, Any] = {
            "prompt": [[told(3, "two"), accepted("r", duplicate=True)]],
            "run/get": [[told(6, "six"), ACTIVE]],
            "run/output": [[told(9, "end"), page(said(0, "one"), said(3, "two"), said(6, "six")), completed("r", 1)]],
            "run/wait": [["silence"]],
        }
        early: Dict[str, Any] = {"prompt": [[accepted("r"), told(0, "one")]], "agent/list": [["die"]]}
        ways: List[Tuple[str, List[Dict[str, Any]], Callable[[Turnlane], Coroutine[Any, Any, Any]]]] = [
            ("attached", [late], lambda t: t.attach("r")),
            ("duplicate", [late], lambda t: t.prompt("s", "x", run_id="r")),
            ("restarted", [early, late], lambda t: t.prompt("s", "x", run_id="r")),
        ]
        for name, lives, work in ways:
            with self.subTest(name):
                (self.folder / "lives").unlink(missing_ok=True)
                async with self.play(*lives) as t:
                    await t.subscribe("all")
                    run = await work(t)
                    if name == "restarted":
                        dying = asyncio.ensure_future(t.list_agents())
                        await run
                        dying.cancel()
                    chunks = [chunk async for chunk in run]
                self.assertEqual("".join(chunk.text for chunk in chunks), "onetwosixend")
                self.assertEqual([chunk.missed for chunk in chunks], [0] * len(chunks))

    async def test_output_that_nobody_reads_is_bounded_and_the_gap_is_told(self) -> None:
        pieces = [
            {
                "say": {
                    "method": "run/output",
                    "params": {"runId": "r", "sessionId": "s", "offset": 300 * number, "stream": "stdout", "text": "x" * 300},
                }
            }
            for number in range(10)
        ]
        with mock.patch.object(run_module, "HELD_BYTES", 1000):
            async with self.play({"prompt": [[accepted("r"), *pieces, completed("r", 1)]]}) as t:
                run = await t.prompt("s", "x", run_id="r")
                await run
                self.assertEqual((run.missed, run.complete), (0, False))
                chunks = [chunk async for chunk in run]
        self.assertEqual(
            [(chunk.offset, chunk.missed, len(chunk.data)) for chunk in chunks], [(2100, 2100, 300), (2400, 0, 300), (2700, 0, 300)]
        )
        self.assertEqual(run.missed, 2100)

    async def test_a_character_that_comes_in_two_pieces_is_one(self) -> None:
        def told(offset: int, stream: str, base64: str) -> Dict[str, Any]:
            params = {"runId": "r", "sessionId": "s", "offset": offset, "stream": stream, "base64": base64}
            return {"say": {"method": "run/output", "params": params}}

        # b"a\xc3", an error between, b"\xa9b\xc3"; then a gap, and b"c\xc3"
        said = [told(0, "stdout", "YcM="), told(2, "stderr", "IQ=="), told(3, "stdout", "qWLD"), told(9, "stdout", "Y8M=")]
        async with self.play({"prompt": [[accepted("r"), *said, completed("r", 1)]]}) as t:
            run = await t.prompt("s", "x", run_id="r")
            texts = [chunk.text async for chunk in run]
        self.assertEqual(texts, ["a", "!", "éb", "\ufffdc", "\ufffd"])

    async def test_what_is_missing_at_the_end_is_told(self) -> None:
        life = {"prompt": [[accepted("r"), told(0, "one"), told(10, dropped=7), completed("r", 1)]]}
        async with self.play(life) as t:
            run = await t.prompt("s", "x", run_id="r")
            chunks = [(chunk.text, chunk.missed) async for chunk in run]
        self.assertEqual((chunks, run.missed, run.complete), ([("one", 0), ("", 7)], 7, False))

    async def test_what_can_be_read_again_is_not_hidden_by_what_is_told_before_it_was_asked_for(self) -> None:
        first: Dict[str, Any] = {"prompt": [[accepted("r"), told(0, "one")]], "agent/list": [["die"]]}
        second: Dict[str, Any] = {
            "initialize": [[{"result": fake.HELLO}, told(6, "six")]],
            "run/get": [[ACTIVE]],
            "run/output": [[page(said(3, "two"), said(6, "six"), start=3), completed("r", 1)]],
        }
        async with self.play(first, second) as t:
            run = await t.prompt("s", "x", run_id="r")
            dying = asyncio.ensure_future(t.list_agents())
            text = await asyncio.wait_for(run.read(), 60)
            dying.cancel()
        self.assertEqual((text, run.missed, run.complete), ("onetwosix", 0, True))

    async def test_what_an_earlier_sidecar_told_is_not_taken_for_what_this_one_tells(self) -> None:
        first: Dict[str, Any] = {"run/get": [[ACTIVE]], "run/output": [[told(3, "two"), "die"]], "run/wait": [["silence"]]}
        second: Dict[str, Any] = {
            "run/get": [[ACTIVE]],
            "run/output": [
                [page(said(0, "one"), more=True)],
                [page(said(3, "two"), start=3, more=True)],
                [page(said(3, "two"), start=3, more=True)],
                [page(said(6, "six"), start=6), completed("r", 1)],
            ],
            "run/wait": [["silence"]],
        }
        async with self.play(first, second) as t:
            await t.subscribe("all")
            run = await t.attach("r")
            text = await asyncio.wait_for(run.read(), 60)
        self.assertEqual((text, run.missed), ("onetwosix", 0))


class Complete(FakeCase):
    """`Run.complete` is true only where it is known that nothing is missing."""

    async def ends(self, *lives: Dict[str, Any], attach: bool = False, ask: bool = False) -> Tuple[Run, str]:
        """A run that is prompted or attached to, and what it said to its end; `ask`: somebody asks for the agents once it is there."""
        (self.folder / "lives").unlink(missing_ok=True)
        async with self.play(*lives) as t:
            run = await (t.attach("r") if attach else t.prompt("s", "x", run_id="r"))
            self.assertFalse(run.complete and not run.ended)
            asking = [asyncio.ensure_future(t.list_agents())] if ask else []
            text = await asyncio.wait_for(run.read(), 60)
            for one in asking:
                one.cancel()
        return run, text

    async def test_a_run_that_was_followed_from_its_beginning_to_its_end_is(self) -> None:
        late = [told(0, "one"), completed("r", 1), accepted("r")]
        for acts in ([accepted("r"), told(0, "one"), completed("r", 1)], late):
            run, text = await self.ends({"prompt": [acts]})
            self.assertEqual((text, run.complete), ("one", True))

    async def test_one_that_never_began_is_and_one_that_was_interrupted_is_not(self) -> None:
        cases: List[Tuple[Dict[str, Any], bool]] = [
            ({"outcome": "cancelled", "startedAt": None}, True),
            ({"outcome": "cancelled"}, False),
            ({"outcome": "interrupted", "startedAt": None}, False),
        ]
        for more, complete in cases:
            with self.subTest(more):
                run, text = await self.ends({"run/get": [[ended(**more)]]}, attach=True)
                self.assertEqual((text, run.complete), ("", complete))
        run, text = await self.ends({"prompt": [[accepted("r"), told(0, "one"), completed("r", 1, outcome="interrupted")]]})
        self.assertEqual((text, run.complete), ("one", False))

    async def test_one_that_was_caught_up_with_is_and_one_that_ended_meanwhile_is_not(self) -> None:
        first = page(said(0, "one"), more=True)
        cases: List[Tuple[str, List[List[Any]], bool]] = [
            ("caught up", [[first], [page(said(3, "two"), start=3), completed("r", 1)]], True),
            ("told on", [[told(3, "two"), first, completed("r", 1)]], True),
            ("ended between two pages", [[first, completed("r", 1)], [page(start=3, ended=True)]], False),
            ("ended before its first page", [[completed("r", 1), page(ended=True)]], False),
            (
                "a page does not reach where it says",
                [[{"result": {**page(said(0, "one"))["result"], "next": 5}}, completed("r", 1)]],
                False,
            ),
        ]
        for name, pages, complete in cases:
            with self.subTest(name):
                life = {"run/get": [[ACTIVE]], "run/output": pages, "run/wait": [["silence"]]}
                run, _ = await self.ends(life, attach=True)
                self.assertEqual((run.missed, run.complete), (0, complete))

    async def test_one_that_ended_while_the_sidecar_was_away_is_not_and_its_reader_ends(self) -> None:
        first: Dict[str, Any] = {"prompt": [[accepted("r"), told(0, "one")]], "agent/list": [["die"]]}
        replayed: Dict[str, Any] = {"initialize": [[{"result": fake.HELLO}, completed("r", 1)]]}
        lives: List[Tuple[str, Dict[str, Any], bool]] = [
            ("found", {"run/get": [[ended()]]}, False),
            ("replayed", replayed, False),
            ("ended before its page", {"run/get": [[ACTIVE]], "run/output": [[completed("r", 1), page(start=3, ended=True)]]}, False),
            ("went on", {"run/get": [[ACTIVE]], "run/output": [[page(start=3), completed("r", 1)]]}, True),
        ]
        for name, second, complete in lives:
            with self.subTest(name):
                run, text = await self.ends(first, second, ask=True)
                self.assertEqual((text, run.missed, run.complete), ("one", 0, complete))

    async def test_one_whose_output_was_not_told_for_a_while_is_not(self) -> None:
        choices: List[Tuple[Dict[str, Any], bool]] = [
            ({"sessions": "all"}, True),
            ({"sessions": "all", "output": False}, False),
            ({"sessions": []}, False),
        ]
        for choice, complete in choices:
            with self.subTest(choice):
                (self.folder / "lives").unlink(missing_ok=True)
                life: Dict[str, Any] = {
                    "prompt": [[accepted("r"), told(0, "one")]],
                    "subscribe": [[{"result": None}], [{"result": None}, completed("r", 1)]],
                    "run/wait": [["silence"]],
                }
                async with self.play(life) as t:
                    run = await t.prompt("s", "x", run_id="r")
                    await t.call("subscribe", choice)
                    await t.call("subscribe", {"sessions": "all"})
                    await asyncio.wait_for(run, 60)
                self.assertEqual(run.complete, complete)

    async def test_one_that_another_process_held_is_unless_that_one_was_lost(self) -> None:
        greeted = {"initialize": [[{"result": {**fake.HELLO, "role": "attached"}}]]}
        started = [accepted("r"), told(0, "one")]
        found: Dict[str, Any] = {"run/get": [[ACTIVE]], "run/output": [[page(said(0, "one")), completed("r", 1)]]}
        lost = refused("ownerLost")
        cases: List[Tuple[str, Dict[str, Any], bool, bool]] = [
            ("kept", {"prompt": [started], "run/wait": [[completed("r", 1)]]}, False, True),
            ("lost", {"prompt": [started], "run/wait": [[lost, completed("r", 1)]]}, False, False),
            ("lost before the answer", {"run/wait": [[lost, *started, completed("r", 1)]]}, False, False),
            ("attached", {**found, "run/wait": [["silence"]]}, True, True),
            ("attached, and lost", {**found, "run/output": [[page(said(0, "one")), {"id": 4, **lost}, completed("r", 1)]]}, True, False),
        ]
        for name, life, attach, complete in cases:
            with self.subTest(name):
                if name == "lost before the answer":
                    life["run/wait"][0][1] = {"id": 2, **accepted("r")}
                run, text = await self.ends({**greeted, **life}, attach=attach)
                self.assertEqual((text, run.complete), ("one", complete))


if __name__ == "__main__":
    unittest.main()
