"""A CI step: shows what a command says, and fails with it.

    python ci.py [--timeout SECONDS] [--run-id ID] -- make test

With a `--run-id` (a commit and a step, say) it can be repeated: a run that has ended is not run again, its end is told again.
"""

from __future__ import annotations

import argparse
import os
import sys

from turnlane import TurnlaneError
from turnlane.sync import Turnlane


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds")
    parser.add_argument("--run-id")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    try:
        with Turnlane.spawn() as t:
            t.open_session("ci", agent="sh", cwd=os.getcwd())  # noqa: PTH109
            run = t.prompt("ci", " ".join(options.command), run_id=options.run_id, timeout_ms=int(options.timeout * 1000))
            try:
                for chunk in run:
                    print(chunk.text, end="", flush=True)
                done = run.result()
            except KeyboardInterrupt:
                run.cancel()
                done = run.result()
    except TurnlaneError as error:
        print(f"ci: {error}", file=sys.stderr)
        return 125
    if run.duplicate:
        print(done.text, end="")
    print(f"ci: {done.summary}", file=sys.stderr)
    return done.exit_status


if __name__ == "__main__":
    sys.exit(main())
