import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import type { Chunk, Completion, OutputChunk, RunOutput, RunRecord } from "turnlane";
import { root } from "./support.mjs";

/** What this file needs of the package's own `Output`. */
interface Pieces {
  hold(): void;
  fill(chunks: OutputChunk[]): void;
  push(output: RunOutput): void;
  release(): void;
  end(): void;
  to(sink: (chunk: Chunk) => void): void;
  reader(): AsyncIterator<Chunk, undefined>;
}

const load = createRequire(import.meta.url);
const { Output } = load(join(root, "dist/output.js")) as {
  Output: new (limit: number, missing?: () => void) => Pieces;
};

interface Runs {
  expect(runId: string, sessionId: string, listeners: object): { output: Following; completion: Promise<Completion> };
  completed(completion: Completion, told: boolean): void;
  watch(runId: string): void;
}
interface Following {
  readonly complete: boolean;
  readonly breaks: number;
  follow(breaks: number): void;
}
const { LiveRuns } = load(join(root, "dist/live.js")) as { LiveRuns: new (owner: object, log: object) => Runs };

const bytes = (offset: number, ...said: number[]): OutputChunk => ({
  offset,
  stream: "stdout",
  base64: Buffer.from(said).toString("base64"),
});
const live = (chunk: OutputChunk): RunOutput => ({ runId: "x", sessionId: "demo", ...chunk });

/** What a reader is given of it, that comes late or as it is said. */
async function text(output: Pieces, late: boolean, bring: () => void): Promise<string> {
  let all = "";
  if (!late) output.to((chunk) => (all += chunk.text));
  bring();
  const reader = output.reader();
  for (let next = await reader.next(); !next.done; next = await reader.next()) all += next.value.text;
  return all;
}

void test("a_character_that_is_split_at_the_end_of_what_is_read_again_is_whole", async () => {
  for (const late of [false, true]) {
    for (const read of [0, 1, 2]) {
      for (const ends of ["before", "after"]) {
        const output = new Output(1_000_000);
        const euro = [0xe2, 0x82, 0xac].map((byte, at) => bytes(at, byte));
        const all = await text(output, late, () => {
          output.hold();
          // The rest of it is told while its beginning is still being read.
          for (const rest of euro.slice(read)) output.push(live(rest));
          if (ends === "before") output.end();
          output.fill(euro.slice(0, read));
          output.release();
          if (ends === "after") output.end();
        });
        assert.equal(all, "€", `${read} read again, the end ${ends}, late: ${late}`);
      }
    }
  }
});

void test("a_character_that_is_begun_in_what_is_read_again_is_completed_by_what_is_told_next", async () => {
  for (const late of [false, true]) {
    const output = new Output(1_000_000);
    const all = await text(output, late, () => {
      output.hold();
      output.fill([bytes(0, 0x61, 0xc3)]);
      output.release();
      output.push(live(bytes(2, 0xa9, 0x62)));
      output.end();
    });
    assert.equal(all, "aéb");
  }
});

void test("an_end_that_was_asked_for_says_nothing_of_what_was_said_before_it", async () => {
  const completion: Completion = {
    runId: "x",
    sessionId: "demo",
    kind: "prompt",
    seq: 1,
    outcome: "completed",
    text: "",
    truncated: false,
    acceptedAt: 1,
    startedAt: 1,
    endedAt: 1,
  };
  const record: RunRecord = { ...completion, state: "ended", prompt: "say one" };
  const request = () => Promise.resolve({ runs: [record] });
  const hearing = { request, tells: () => true, sameOwner: () => true };
  for (const told of [true, false]) {
    const runs = new LiveRuns(hearing, {});
    const run = runs.expect("x", "demo", {});
    run.output.follow(run.output.breaks);
    // Its event comes after all of its output; an answer may come before the last of it.
    if (told) runs.completed(completion, true);
    else runs.watch("x");
    await run.completion;
    assert.equal(run.output.complete, told);
  }
});
