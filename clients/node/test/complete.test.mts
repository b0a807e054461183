import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Run, Turnlane } from "turnlane";
import { folder, kill, settled, start, stop } from "./support.mjs";

const told = "say one\nhold door\nsay two";
const open = (t: Turnlane, sessionId = "demo") => t.prompt(sessionId, "release door", { ifBusy: "steer" });

/** Reads a run in the background; `heard` resolves when something has come. */
function reading(run: Run): { heard: Promise<void>; all: Promise<string> } {
  const heard = settled<undefined>();
  const all = (async () => {
    let read = "";
    for await (const chunk of run) {
      read += chunk.text;
      heard.resolve(undefined);
    }
    return read;
  })();
  return { heard: heard.promise, all };
}

void test("a_run_that_was_heard_to_its_end_is_complete", async () => {
  using own = folder();
  await using owner = await start(own.path);
  await using other = await start(own.path);
  assert.deepEqual([owner.info.role, other.info.role], ["owner", "attached"]);
  for (const t of [owner, other]) {
    const run = await t.prompt("demo", told);
    const { heard, all } = reading(run);
    await heard;
    const attached = await Promise.all([owner, other].map((client) => client.attach(run.runId)));
    const texts = attached.filter((one) => one !== run).map((one) => reading(one));
    await Promise.all(texts.slice(t === owner ? 1 : 0, t === owner ? 2 : 1).map((one) => one.heard));
    assert.equal(run.complete, false, "it has not ended");
    await open(owner);
    assert.equal(await all, "one\ntwo\n");
    assert.equal(run.complete, true);
    for (const one of attached) assert.deepEqual([await one.read(), one.complete], ["", true]);
  }
});

void test("of_a_run_that_ended_before_anybody_attached_nobody_says_that_all_came", async () => {
  using own = folder();
  await using t = await start(own.path);
  const run = await t.prompt("demo", "say one");
  await run.completion;
  const late = await t.attach(run.runId);
  assert.equal(await late.read(), "");
  assert.deepEqual([late.dropped, late.complete], [0, false]);
  // What never began has said nothing.
  const held = await t.prompt("demo", "hold door");
  const queued = await t.prompt("demo", "say two");
  await queued.cancel();
  const never = await t.attach(queued.runId);
  assert.deepEqual([await never.read(), never.complete], ["", true]);
  await held.cancel();
});

void test("what_was_said_last_while_a_sidecar_was_away_makes_a_run_incomplete", async () => {
  using own = folder();
  await using owner = await start(own.path);
  await using t = await start(own.path);
  for (const goesOn of [false, true]) {
    const run = await t.prompt("demo", goesOn ? `${told}\nhold gate\nsay three` : told);
    const theirs = await owner.attach(run.runId);
    const { heard, all } = reading(run);
    await heard;
    await stop(t);
    await open(owner);
    if (goesOn) for await (const { text } of theirs) if (text.includes("two")) break;
    if (!goesOn) await theirs.completion;
    await kill(t);
    await t.stats();
    if (goesOn) await owner.prompt("demo", "release gate", { ifBusy: "steer" });
    // What is still kept is read; what is not is nowhere, and no count of it either.
    assert.equal(await all, goesOn ? "one\ntwo\nthree\n" : "one\n");
    assert.deepEqual([run.dropped, run.complete], [0, goesOn]);
  }
});

void test("what_was_queued_when_a_sidecar_died_is_complete", async () => {
  using own = folder();
  await using t = await start(own.path);
  const held = await t.prompt("demo", told);
  const { heard, all } = reading(held);
  await heard;
  const queued = await t.prompt("demo", "say three");
  await kill(t);
  await all;
  assert.equal((await held.completion).outcome, "interrupted");
  assert.equal(held.complete, false);
  assert.deepEqual([await queued.read(), queued.complete], ["three\n", true]);
});

void test("what_was_said_while_it_was_not_subscribed_to_makes_a_run_incomplete", async () => {
  using own = folder();
  await using t = await start(own.path);
  await using other = await start(own.path);
  const deaf: [string, (t: Turnlane) => Promise<void>][] = [
    ["none", (t) => t.subscribe([])],
    ["no output", (t) => t.subscribe("all", { output: false })],
  ];
  for (const [name, turnAway] of deaf) {
    for (const back of [false, true]) {
      await t.subscribe("all");
      const run = await t.prompt(`${name} ${back}`, told);
      const { heard, all } = reading(run);
      await heard;
      await turnAway(t);
      if (back) await t.subscribe("all");
      // Whatever had to be read again has been.
      await t.stats();
      await open(other, run.sessionId);
      assert.equal(await all, back ? "one\ntwo\n" : "one\n");
      assert.deepEqual([run.dropped, run.complete], [0, back], run.sessionId);
    }
  }
});

void test("what_was_said_last_to_an_owner_that_died_makes_a_run_incomplete", async () => {
  using own = folder();
  await using owner = await start(own.path);
  await using t = await start(own.path);
  const [go, said] = ["go", "said"].map((name) => join(own.path, name)) as [string, string];
  execFileSync("mkfifo", [go, said]);
  await t.openSession("demo", { agent: "sh" });
  const run = await t.prompt(
    "demo",
    `trap '' INT TERM; echo one; read -r _ < ${go}; echo two; echo > ${said}; sleep 1000`,
  );
  const { heard, all } = reading(run);
  await heard;
  await run.cancel();
  // Its stop is on disk. What it says from here on reaches nobody, and the next owner can't know that there was more.
  await stop(owner);
  writeFileSync(go, "\n");
  assert.equal(readFileSync(said, "utf8"), "\n");
  await kill(owner);
  assert.equal(await all, "one\n");
  assert.equal((await run.completion).outcome, "cancelled");
  assert.deepEqual([run.dropped, run.complete], [0, false]);
  // Under the next owner all is as it was.
  const next = await t.prompt("demo", "echo three");
  assert.deepEqual([await next.read(), next.complete], ["three\n", true]);
});

void test("what_a_reader_is_not_given_makes_a_run_incomplete", async () => {
  using own = folder();
  await using t = await start(own.path, { defaultAgent: "sh" });
  const run = await t.prompt("demo", "yes 0123456789 | head -c 12000000");
  await run.completion;
  // Also before anybody reads.
  assert.equal(run.complete, false);
  await run.read();
  assert.equal(run.complete, false);
});
