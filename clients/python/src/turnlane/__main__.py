"""`python -m turnlane`: a short tour; `python -m turnlane -- make test`: one run, with its output and its exit status."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from typing import List, Optional

from . import Question, RunGroup, Turnlane, TurnlaneError, __version__


async def one(prompt: str, agent: str, store: Optional[str]) -> int:
    """Runs a prompt as `turnlane run` does."""

    def asked(question: Question) -> None:
        choice = ", ".join(option.option_id for option in question.options)
        print(f"turnlane: it asks: {question.text} ({choice}). Another client may answer; Ctrl-C ends it", file=sys.stderr, flush=True)

    async with Turnlane.spawn(store=store, on_permission=asked) as t:
        session = (await t.open_session(agent=agent)).session.session_id
        try:
            run = await t.prompt(session, prompt)
        except TurnlaneError:
            await t.close_session(session, purge=True)
            raise
        async for chunk in run:
            stream = sys.stderr.buffer if chunk.stream == "stderr" else sys.stdout.buffer
            stream.write(chunk.data)
            stream.flush()
        done = await run
        await t.close_session(run.session_id)
        print(f"turnlane: {done.summary} [{run.run_id}]", file=sys.stderr)
        return done.exit_status


async def tour() -> int:
    """Shows on a store that is kept nowhere what a client does."""
    async with Turnlane.spawn(store=":memory:") as t:
        hello = t.hello
        print(f"turnlane {hello.server_info.version}, protocol {hello.protocol_version}, process {t.pid}")

        print("\nA run, as it speaks:")
        await t.open_session("demo", agent="sh")
        run = await t.prompt("demo", "for word in ready steady go; do echo $word; sleep 0.2; done")
        async for chunk in run:
            print(f"  {chunk.text.rstrip()}")
        print(f"  → {(await run).summary}")

        print("\nA cancel covers what was accepted, and nothing later:")
        first, second = await t.prompt("demo", "sleep 60"), await t.prompt("demo", "echo never")
        await t.cancel("demo")
        third = await t.prompt("demo", "echo later")
        for name, each in (("first", first), ("second", second), ("third", third)):
            print(f"  {name}: {(await each).summary}")

        print("\nThree children, whose results wait in their parent's inbox:")
        await t.open_session("parent", agent="script")
        for child, command in (("a", "echo one"), ("b", "echo two; exit 2"), ("c", "echo three")):
            await t.open_session(child, agent="sh", parent="parent")
            await t.prompt(child, command, run_id=f"{child}-1")
        async with t.drain("parent", until=RunGroup(["a-1", "b-1", "c-1"])) as batch:
            for done in batch:
                print(f"  {done.session_id}: {done.text.strip()} → {done.summary}")
    return 0


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m turnlane", description="Without a prompt: a short tour. With one: a run.")
    parser.add_argument("--agent", default="sh", help="who runs it (default: sh)")
    parser.add_argument("--store", help="where sessions and runs are kept (default: turnlane's own)")
    parser.add_argument("--version", action="version", version=f"turnlane {__version__} (Python)")
    parser.add_argument("prompt", nargs="*", help="what is to be run")
    options = parser.parse_args(arguments)
    try:
        with contextlib.suppress(BrokenPipeError):
            return asyncio.run(one(" ".join(options.prompt), options.agent, options.store) if options.prompt else tour())
        return 141
    except TurnlaneError as error:
        print(f"turnlane: {error}", file=sys.stderr)
        return 125
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
