"""How a sidecar comes and goes, in order and not."""

from __future__ import annotations

import asyncio
import signal
import unittest
from typing import Any, Dict, List
from unittest import mock

import fake
from support import FakeCase, refused

from turnlane import (
    NotRunningError,
    ProtocolMismatchError,
    StartError,
    StoppedError,
    _core,
    _greeting,
    _link,
    errors,
)

HELLO: Dict[str, Any] = {"name": "turnlane", "version": "9.9"}


class Greeting(FakeCase):
    async def test_a_sidecar_of_another_protocol_is_refused_with_a_clear_message(self) -> None:
        error = {
            "code": -32602,
            "message": "version 1 is not spoken here; version 2 is",
            "data": {"kind": "invalidParams", "field": "protocolVersion"},
        }
        t = self.play({"initialize": [[{"error": error}]]})
        with self.assertRaisesRegex(ProtocolMismatchError, "does not speak version 1 .* version 2 is"):
            await t.start()

    async def test_a_newer_one_that_says_so_in_its_answer_is_refused_too(self) -> None:
        t = self.play({"initialize": [[{"result": {"protocolVersion": 2, "serverInfo": HELLO}}]]})
        with self.assertRaisesRegex(ProtocolMismatchError, "speaks version 2 of the protocol; this library needs version 1"):
            await t.start()

    async def test_a_program_that_is_something_else_is_named(self) -> None:
        t = self.play({"initialize": [[{"raw": "Welcome to Frobnicator"}]]})
        with self.assertRaisesRegex(ProtocolMismatchError, "is not turnlane.*Frobnicator"):
            await t.start()

    async def test_one_that_ends_at_once_is_told_with_its_last_words(self) -> None:
        program = self.folder / "broken"
        program.write_text("#!/bin/sh\necho 'no such store' >&2\nexit 7\n", encoding="utf-8")
        program.chmod(0o755)
        with self.assertRaisesRegex(StartError, r"\(status 7\): no such store"):
            await self.client(binary=program).start()

    async def test_an_echo_is_not_taken_for_a_sidecar(self) -> None:
        program = self.folder / "echo"
        program.write_text("#!/bin/sh\nexec cat\n", encoding="utf-8")
        program.chmod(0o755)
        with mock.patch.object(_greeting, "START_S", 0.2), self.assertRaisesRegex(StartError, "did not answer"):
            await self.client(binary=program).start()

    async def test_one_that_is_something_else_and_does_not_end_is_killed(self) -> None:
        t = self.play({"initialize": [["deaf", {"raw": "Welcome to Frobnicator"}]]})
        links: List[_link.Link] = []
        start = _link.Link.start

        async def noted(link: _link.Link, *given: Any) -> None:
            links.append(link)
            await start(link, *given)

        with mock.patch.object(_core, "FORCE_S", 0.01), mock.patch.object(_link.Link, "start", noted):
            with self.assertRaises(ProtocolMismatchError):
                await t.start()
            self.assertEqual(await links[0].exited, -signal.SIGKILL)

    async def test_what_the_sidecar_refuses_at_the_start_is_its_own_error(self) -> None:
        t = self.play({"initialize": [[refused("storeLocked", -32013)]]})
        with self.assertRaises(errors.StoreLockedError):
            await t.start()

    async def test_a_program_that_can_not_be_started_is_an_error_and_nobody_is_signalled(self) -> None:
        program = self.folder / "half"
        program.write_bytes(b"\x7fhalf of a program")
        program.chmod(0o755)
        cases: List[Dict[str, Any]] = [{"binary": program}, {"cwd": "/no/such"}]
        for options in cases:
            with self.subTest(options), mock.patch("os.kill") as kill, mock.patch("os.killpg") as killpg:
                t = self.play({}, **options) if "cwd" in options else self.client(**options)
                with self.assertRaisesRegex(StartError, "can't be started"):
                    await t.start()
                with self.assertRaisesRegex(StartError, "can't be started"):
                    await t.stats()
                self.assertEqual((kill.call_count, killpg.call_count, t.pid), (0, 0, 0))


class Living(FakeCase):
    async def until_received(self, method: str, count: int = 1) -> None:
        while len(self.received(method)) < count:
            await asyncio.sleep(0)

    async def test_a_start_that_is_cancelled_leaves_a_client_that_says_so_and_can_be_started(self) -> None:
        t = self.play({"initialize": [["silence"]]}, {})
        starting = asyncio.ensure_future(t.start())
        await self.until_received("initialize")
        asking = asyncio.ensure_future(t.stats())
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting, asking])
        self.assertTrue(starting.cancelled())
        self.assertIsInstance(asking.exception(), NotRunningError)
        with self.assertRaisesRegex(NotRunningError, "its start was cancelled"):
            await t.list_agents()
        async with t:
            await t.call("stats")
        self.assertEqual([message["life"] for message in self.received("initialize")], [0, 1])

    async def test_a_start_that_is_cancelled_in_its_first_moments_leaves_at_once_and_nothing_behind(self) -> None:
        links: List[_link.Link] = []
        start = _link.Link.start

        async def noted(link: _link.Link, *given: Any) -> None:
            links.append(link)
            await start(link, *given)

        # Whoever waits for what nobody has begun to read waits for these.
        slow = mock.patch.object(_core, "FORCE_S", 3600), mock.patch.object(_link, "TAIL_S", 3600)
        with slow[0], slow[1], mock.patch.object(_link.Link, "start", noted):
            for moments in range(8):
                t = self.play({"initialize": [["silence"]]})
                starting = asyncio.ensure_future(t.start())
                for _ in range(moments):
                    await asyncio.sleep(0)
                starting.cancel()
                await asyncio.wait([starting], timeout=60)
                self.assertTrue(starting.done() and starting.cancelled(), moments)
        self.assertGreater(len(links), 4)
        await asyncio.wait([link.exited for link in links], timeout=60)
        self.assertEqual([link.exited.done() for link in links], [True] * len(links))

    async def test_a_start_that_is_cancelled_while_the_client_is_closed_is_cancelled(self) -> None:
        t = self.play({"initialize": [["silence"]]})
        starting = asyncio.ensure_future(t.start())
        await self.until_received("initialize")
        closing = asyncio.ensure_future(t.close())
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting, closing], timeout=60)
        self.assertTrue(starting.cancelled())
        self.assertIsNone(closing.exception())

    async def test_what_is_asked_while_it_starts_is_answered_then(self) -> None:
        t = self.play({})
        starting = asyncio.ensure_future(t.start())
        await asyncio.sleep(0)
        self.assertEqual((await t.call("stats"))["role"], "owner")
        await starting
        await t.close()

    async def test_a_client_that_is_closed_while_it_starts_is_closed(self) -> None:
        t = self.play({"initialize": [["silence"]]})
        starting = asyncio.ensure_future(t.start())
        await self.until_received("initialize")
        with self.assertRaisesRegex(NotRunningError, "is being started"):
            await t.start()
        await t.close()
        with self.assertRaisesRegex(NotRunningError, "closed while it was being started"):
            await starting
        with self.assertRaises(NotRunningError):
            await t.call("stats")

    async def test_a_client_that_gave_up_can_be_started_again(self) -> None:
        t = await self.play({"run/wait": [["stop"]]}, {}).start()
        with self.assertRaises(StoppedError):
            await t.wait("r")
        await t.start()
        await t.call("stats")
        await t.close()

    async def test_leaving_is_said_once(self) -> None:
        t = await self.play({}).start()
        await asyncio.gather(t.close(), t.close())
        await t.close()
        self.assertEqual(len(self.received("exit")), 1)

    async def test_what_does_not_hear_of_a_leave_is_killed(self) -> None:
        with mock.patch.object(_core, "FORCE_S", 0.01):
            t = await self.play({"initialize": [["deaf", {"result": fake.HELLO}]]}).start()
            exited = t._core._link.exited if t._core._link is not None else None
            await t.close(timeout=0.01)
        assert exited is not None
        self.assertEqual(exited.result(), -signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
