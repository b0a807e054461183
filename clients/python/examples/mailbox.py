"""A bot that drains a mailbox: whatever has ended in the sessions of `NAME`'s children is told, one after the other.

    python mailbox.py NAME

Start it, and in another terminal: `turnlane run --parent NAME -- 'echo hello'`. Ctrl-C ends it. It may be killed at any time: what it had not
acknowledged comes again, marked as such, since it may have been dealt with. A bot that must not act twice writes the run's id down with what it does (into
the ticket, in the same transaction) and looks there first. Several may drain one mailbox; they share the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

from turnlane import Completion, Turnlane

HOUR_MS = 3_600_000


async def deal_with(done: Completion) -> None:
    """What the bot is for: to send a message, to open a ticket, to start the next step."""
    again = " (again)" if (done.attempt or 1) > 1 else ""
    print(f"{done.run_id} of {done.session_id}{again}: {done.summary}: {done.text.strip()}", flush=True)


async def drain(name: str) -> None:
    async with Turnlane.spawn() as t:
        await t.open_session(name, agent="script")
        print(f"waiting for what comes for {name}", flush=True)
        while True:
            async with t.drain(name, wait_ms=HOUR_MS) as batch:
                for done in batch:
                    await deal_with(done)
                    await batch.ack(done.run_id)


async def main() -> None:
    bot = asyncio.ensure_future(drain(sys.argv[1] if len(sys.argv) > 1 else "mailbox"))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, bot.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await bot


if __name__ == "__main__":
    asyncio.run(main())
