import assert from "node:assert/strict";
import { test } from "node:test";
import { folder, start } from "./support.mjs";

void test("who_does_not_read_its_events_holds_up_nothing_and_misses_no_completion", async () => {
  using own = folder();
  await using t = await start(own.path);
  const slow = t.events();
  const asked: string[] = [];
  for (let round = 0; round < 15; round += 1) {
    const runs = await Promise.all(
      Array.from({ length: 30 }, (_, i) => t.prompt(`s${i}`, `say ${round}`, { runId: `r${round}-${i}` })),
    );
    asked.push(...runs.map(({ runId }) => runId));
    await Promise.all(runs.map((run) => run.completion));
  }
  assert((await t.stats()).ended >= asked.length);
  const told: string[] = [];
  while (told.length < asked.length) {
    const next = await slow.next();
    assert(next.done !== true);
    if (next.value.method === "run/completed") told.push(next.value.params.runId);
  }
  assert.deepEqual(told.toSorted(), asked.toSorted());
  assert(slow.dropped > 0, "it was to be more than a stream holds");
  // It is level with what happens now: the next one comes once, by itself.
  const last = await t.prompt("s0", "say last", { runId: "last" });
  await last.completion;
  const after: string[] = [];
  while (!after.includes("last")) {
    const next = await slow.next();
    assert(next.done !== true);
    if (next.value.method === "run/completed") after.push(next.value.params.runId);
  }
  assert.deepEqual(after, ["last"]);
});

void test("output_that_nobody_reads_is_kept_to_a_bound_and_what_is_left_out_is_counted", async () => {
  using own = folder();
  await using t = await start(own.path, { defaultAgent: "sh" });
  const run = await t.prompt("demo", "yes 0123456789 | head -c 12000000; echo the end");
  await run.completion;
  let bytes = 0;
  let dropped = 0;
  let end = { text: "", dropped: 0, offset: 0 };
  for await (const chunk of run) {
    bytes += chunk.bytes.length;
    dropped += chunk.dropped;
    end = { text: chunk.text, dropped: chunk.dropped, offset: chunk.offset + chunk.bytes.length };
  }
  assert(bytes > 0);
  assert(bytes <= 4 * 1024 * 1024, `${bytes} bytes were kept`);
  assert(dropped > 0);
  assert.equal(run.dropped, dropped);
  assert(bytes + dropped >= end.offset, `${bytes} bytes and ${dropped} of ${end.offset}`);
  // The end is there, or it is said that it is not.
  assert(end.text.endsWith("the end\n") || end.dropped > 0, JSON.stringify(end));
});

void test("two_readers_of_a_stream_share_its_events", async () => {
  using own = folder();
  await using t = await start(own.path);
  const from = t.cursor;
  const asked: string[] = [];
  for (let i = 0; i < 30; i += 1) {
    asked.push(`r${i}`);
    await (
      await t.prompt("demo", "say one", { runId: `r${i}` })
    ).completion;
  }
  const stream = t.events({ after: from, only: ["run/completed"] });
  const events = await Promise.all(asked.map(() => stream.next()));
  const told = events.map(({ value }) => value?.method === "run/completed" && value.params.runId);
  assert.deepEqual(told.toSorted(), asked.toSorted());
});

void test("a_stream_says_at_its_end_that_there_was_more", async () => {
  using own = folder();
  const t = await start(own.path);
  const from = t.cursor;
  await (
    await t.prompt("demo", "say one")
  ).completion;
  const behind = t.events({ after: from });
  const level = t.events();
  await t.close();
  await assert.rejects(
    async () => {
      for await (const { method } of behind) assert.notEqual(method, "run/completed");
    },
    { kind: "notRunning" },
  );
  for await (const { method } of level) assert.notEqual(method, "run/completed");
});

void test("a_stream_that_nobody_reads_holds_the_states_of_what_has_not_ended", async () => {
  using own = folder();
  await using t = await start(own.path, { args: ["--durability", "relaxed"] });
  const stream = t.events();
  for (let round = 0; round < 20; round += 1) {
    const runs = await Promise.all(Array.from({ length: 100 }, (_, i) => t.prompt(`s${i}`, "say one")));
    await Promise.all(runs.map((run) => run.completion));
  }
  await t.close();
  let states = 0;
  await assert.rejects(
    async () => {
      for await (const { method } of stream) if (method === "run/changed") states += 1;
    },
    { kind: "notRunning" },
  );
  assert(states <= 1000, `${states} states were held`);
});

void test("a_stream_that_was_left_takes_nothing_any_more", async () => {
  using own = folder();
  await using t = await start(own.path);
  const stream = t.events();
  await (
    await t.prompt("demo", "say one")
  ).completion;
  for await (const { method } of stream) if (method === "run/completed") break;
  await (
    await t.prompt("demo", "say two")
  ).completion;
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});
