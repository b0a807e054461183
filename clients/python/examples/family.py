"""A parent and three children: they work at once, and the parent takes their results when all have ended.

    python family.py

A child that fails is a result like any other. If this program dies while it reads the results, they wait in the parent's inbox for its next
run: only what was acknowledged (at the end of `async with`) is gone. So the run ids have a day in them: on the same day nothing runs twice.
"""

from __future__ import annotations

import asyncio
import datetime
import sys

from turnlane import RunGroup, Turnlane

WORK = {
    "lint": "echo 'no warnings'",
    "test": "sleep 0.2; echo '41 passed, 1 failed'; exit 1",
    "docs": "echo '12 pages'",
}


async def main() -> int:
    today = datetime.date.today().isoformat()
    async with Turnlane.spawn() as t:
        await t.open_session("lead", agent="script")
        run_ids = []
        for child, command in WORK.items():
            await t.open_session(child, agent="sh", parent="lead")
            run = await t.prompt(child, command, run_id=f"{child}-{today}")
            run_ids.append(run.run_id)

        taken = failed = 0
        while True:  # of results that say much, a batch holds only some
            async with t.drain("lead", until=RunGroup(run_ids)) as batch:
                for done in batch:
                    taken += 1
                    failed += not done.ok
                    print(f"{done.session_id}: {done.text.strip()} ({done.summary})")
            if not batch:
                break
        if not taken:
            print("nothing new: today's results were taken before")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
