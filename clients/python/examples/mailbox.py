"""A bot that drains a mailbox: whatever has ended in the sessions of `NAME`'s children is told, one after the other.

    python mailbox.py NAME

Start it, and in another terminal: `turnlane run --parent NAME -- 'echo hello'`. Ctrl-C ends it. It may be killed at any time: what it had not
acknowledged comes again, so it keeps a note of the runs that it has dealt with. Several may drain one mailbox; they share the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import Set

from turnlane import Completion, Turnlane

HOUR_MS = 3_600_000


async def deal_with(done: Completion) -> None:
    """What the bot is for: to send a message, to open a ticket, to start the next step."""
    print(f"{done.run_id} of {done.session_id}: {done.summary}: {done.text.strip()}", flush=True)


async def drain(name: str) -> None:
    dealt_with: Set[str] = set()
    async with Turnlane.spawn() as t:
        await t.open_session(name, agent="script")
        print(f"waiting for what comes for {name}", flush=True)
        while True:
            async with t.drain(name, wait_ms=HOUR_MS) as batch:
                for done in batch:
                    if done.run_id not in dealt_with:
                        await deal_with(done)
                        dealt_with.add(done.run_id)
                    await batch.ack(done.run_id)


async def main() -> None:
    bot = asyncio.ensure_future(drain(sys.argv[1] if len(sys.argv) > 1 else "mailbox"))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, bot.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await bot


if __name__ == "__main__":
    asyncio.run(main())
