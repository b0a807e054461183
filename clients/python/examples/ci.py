"""A CI step: shows what a command says, and fails with it.

    python ci.py [--timeout SECONDS] [--run-id ID] -- make test

Each folder has a session of its own, so what runs in one folder runs one after the other. With a `--run-id` (a commit and a step, say) it can be
repeated there: a run that has ended is not run again, its end is told again, and one that is under way is joined.
"""

from __future__ import annotations

import argparse
import hashlib
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
            folder = os.getcwd()  # noqa: PTH109
            session = "ci-" + hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
            t.open_session(session, agent="sh", cwd=folder)
            run = t.prompt(session, " ".join(options.command), run_id=options.run_id, timeout_ms=int(options.timeout * 1000))
            shown = False
            try:
                for chunk in run:
                    sys.stdout.buffer.write(chunk.data)  # as it is
                    sys.stdout.buffer.flush()
                    shown = True
                done = run.result()
            except KeyboardInterrupt:
                run.cancel()
                done = run.result()
    except TurnlaneError as error:
        print(f"ci: {error}", file=sys.stderr)
        return 125
    if not shown:
        print(done.text, end="", flush=True)
    print(f"ci: {done.summary}", file=sys.stderr)
    return done.exit_status


if __name__ == "__main__":
    sys.exit(main())
