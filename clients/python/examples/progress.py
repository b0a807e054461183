"""A progress bar over many runs in several sessions.

python progress.py [RUNS] [SESSIONS]
"""

from __future__ import annotations

import asyncio
import collections
import sys
from typing import Counter

from turnlane import Completion, Run, Turnlane

WIDTH = 40


def show(ended: Counter[str], total: int) -> None:
    count = sum(ended.values())
    bar = ("#" * (WIDTH * count // total)).ljust(WIDTH, ".")
    line = f"[{bar}] {count}/{total} " + ", ".join(f"{number} {outcome}" for outcome, number in sorted(ended.items()))
    print("\r" + line if sys.stdout.isatty() else line, end="" if sys.stdout.isatty() and count < total else "\n", flush=True)


async def main() -> int:
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    sessions = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    async with Turnlane.spawn(store=":memory:") as t:
        await asyncio.gather(*(t.open_session(f"worker-{number}", agent="sh") for number in range(sessions)))
        runs = await asyncio.gather(
            *(t.prompt(f"worker-{number % sessions}", f"sleep 0.0{number % 7}; exit $(({number} % 10 == 9))") for number in range(total))
        )

        async def end_of(run: Run) -> Completion:
            return await run

        ended: Counter[str] = collections.Counter()
        for next_end in asyncio.as_completed([end_of(run) for run in runs]):
            ended[(await next_end).outcome] += 1
            show(ended, total)
    return 1 if ended["completed"] < total else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
