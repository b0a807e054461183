import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ConnectionLostError, findBinary, LeaseLostError, StoppedError, type DurableEvent } from "turnlane";
import { folder, kill, start, stop } from "./support.mjs";

void test("each_completion_comes_once_and_in_order_however_often_the_sidecar_dies", async () => {
  using own = folder();
  await using t = await start(own.path);
  const stream = t.events({ only: ["run/completed"] });
  const asked: string[] = [];
  const ends: Promise<unknown>[] = [];
  for (let life = 0; life < 4; life += 1) {
    await t.stats();
    for (let i = 0; i < 6; i += 1) {
      const runId = `r${life}-${i}`;
      asked.push(runId);
      // Not waited for: some of these are in flight when the sidecar dies.
      ends.push(t.prompt(`s${i % 3}`, `say ${runId}`, { runId }).then((run) => run.completion));
    }
    if (life % 2 === 0) await ends.at(-3);
    await kill(t);
  }
  await Promise.all(ends);
  const told: DurableEvent[] = [];
  for await (const event of stream) {
    told.push(event);
    if (told.length === asked.length) break;
  }
  assert.deepEqual(told.map(({ params }) => params.runId).sort(), asked.sort());
  // The log, read from its begin, has the same in the same order.
  const last = await t.prompt("s0", "say last");
  await last.completion;
  const log: string[] = [];
  const first = told[0]?.params.cursor.replace(/:\d+$/, ":0") ?? "";
  for await (const event of t.events({ after: first, only: ["run/completed"] })) {
    const { runId } = event.params;
    if (runId === last.runId) break;
    log.push(runId);
  }
  assert.deepEqual(
    told.map(({ params }) => params.runId),
    log,
  );
});

void test("a_request_that_ends_every_sidecar_is_told_and_the_client_goes_on", async () => {
  using own = folder();
  const binary = join(own.path, "touchy.mjs");
  // It dies of a word, and passes everything else on.
  const wrapper = `#!${process.execPath}
    import { spawn } from "node:child_process";
    const inner = spawn(${JSON.stringify(findBinary())}, process.argv.slice(2), { stdio: ["pipe", "inherit", "inherit"] });
    inner.on("exit", (code) => process.exit(code ?? 1));
    process.stdin.on("end", () => inner.stdin.end());
    process.stdin.on("data", (said) => {
      if (!said.includes("poison")) return inner.stdin.write(said);
      inner.kill("SIGKILL");
      process.kill(process.pid, "SIGKILL");
    });
  `;
  writeFileSync(binary, wrapper);
  chmodSync(binary, 0o755);
  await using t = await start(join(own.path, "store"), { binary });
  await assert.rejects(t.getSession("poison"), ConnectionLostError);
  await t.stats();
});

void test("a_close_may_wait_longer_than_any_timer", async () => {
  using own = folder();
  await using t = await start(own.path);
  const run = await t.prompt("s", "say begun\nsleep 300\nsay done");
  for await (const chunk of run) if (chunk.text === "begun\n") break;
  await t.close({ mode: "finish", timeoutMs: 2 ** 31 });
  assert.equal((await run.completion).outcome, "completed");
});

void test("what_may_be_asked_twice_is_and_what_may_not_is_told", async () => {
  using own = folder();
  await using t = await start(own.path);
  await t.openSession("parent");
  await t.openSession("child", { parent: "parent" });
  const held = await t.prompt("child", "say begun\nhold door");
  for await (const chunk of held) if (chunk.text === "begun\n") break;
  // A process that is stopped answers nothing: all of this is in flight when it dies.
  await stop(t);
  const safe = [
    t.getRun(held.runId),
    t.wait([held.runId]),
    t.waitSession("parent", "idle", { timeoutMs: 60_000 }),
    t.prompt("parent", "say one", { runId: "one" }),
    t.wake("parent", "look", { prompt: "say awake" }),
    t.cancel("child"),
    t.openSession("other"),
    t.peek("parent"),
    t.drain("parent", { waitMs: 60_000 }),
    t.subscribe("all"),
    t.retryDeadLetters("all"),
    t.stats(),
  ] as const;
  const unsafe = [
    t.drain("parent", { ack: "auto" }),
    held.input({ text: "typed\n" }),
    t.retryDeadLetters(["nobody"]),
    t.cancel("parent"),
    t.closeSession("parent"),
  ];
  const later = t.prompt("parent", "say two", { runId: "two" });
  const answers = Promise.all(safe);
  const refusals = Promise.allSettled(unsafe);
  await kill(t);
  const [, waited, , one] = await answers;
  assert.equal(waited.runs[0]?.outcome, "interrupted");
  assert.equal((await one.completion).outcome, "completed");
  assert.equal((await (await later).completion).text, "two\n");
  for (const refusal of await refusals) {
    assert.equal(refusal.status, "rejected");
    assert(refusal.reason instanceof ConnectionLostError);
    assert.match(refusal.reason.message, /SIGKILL.*is not known/);
  }
});

void test("the_time_of_a_wait_goes_on_over_a_death", async () => {
  using own = folder();
  await using t = await start(own.path);
  const run = await t.prompt("demo", "say begun\nhold door");
  const queued = await t.prompt("other", "hold door");
  const waiting = queued.wait({ timeoutMs: 1 });
  const long = t.waitSession("demo", "idle", { timeoutMs: 3_600_000 });
  await kill(t);
  assert.equal((await run.completion).outcome, "interrupted");
  assert(["interrupted", undefined].includes((await waiting)?.outcome));
  assert.equal((await long).timedOut, false);
});

void test("a_lease_is_lost_with_its_sidecar_and_what_was_done_is_settled_all_the_same", async () => {
  using own = folder();
  await using t = await start(own.path);
  await t.openSession("parent");
  await t.openSession("child", { parent: "parent" });
  await (
    await t.prompt("child", "say one", { runId: "one" })
  ).completion;
  await t.drained("parent", async (batch) => {
    await kill(t);
    await new Promise((resolve) => batch.signal.addEventListener("abort", resolve));
    assert(batch.signal.reason instanceof LeaseLostError);
  });
  const { pending, leased } = await t.peek("parent");
  assert.deepEqual({ pending, leased }, { pending: 0, leased: 0 });
});

void test("what_was_subscribed_to_is_heard_of_after_a_death_and_nothing_else", async () => {
  using own = folder();
  await using t = await start(own.path);
  await using other = await start(own.path);
  await other.openSession("heard");
  await other.openSession("unheard");
  await t.subscribe(["heard"], { output: false });
  const heard: string[] = [];
  const stream = t.events();
  await kill(t);
  await (
    await other.prompt("unheard", "say no")
  ).completion;
  await (
    await other.prompt("heard", "say yes")
  ).completion;
  for await (const event of stream) {
    if ("sessionId" in event.params) heard.push(event.params.sessionId);
    assert.notEqual(event.method, "run/output");
    if (event.method === "run/completed") break;
  }
  assert.deepEqual([...new Set(heard)], ["heard"]);
});

void test("a_session_that_was_closed_meanwhile_stays_closed", async () => {
  using own = folder();
  await using t = await start(own.path);
  await t.openSession("demo");
  await t.openSession("gone");
  await using other = await start(own.path);
  await other.closeSession("demo");
  await other.closeSession("gone", { purge: true });
  await kill(t);
  assert.equal((await t.getSession("demo")).state, "closed");
  await assert.rejects(t.getSession("gone"), { kind: "sessionNotFound" });
});

void test("a_session_that_is_opened_to_cancel_what_is_queued_is_not_opened_before", async () => {
  using own = folder();
  await using t = await start(own.path);
  await t.prompt("demo", "hold door");
  const queued = await t.prompt("demo", "say queued");
  await stop(t);
  const opening = t.openSession("demo", { recover: "cancel" });
  await kill(t);
  assert.equal((await opening).recovered, 1);
  assert.equal((await queued.completion).reason, "recover");
});

void test("what_is_asked_for_as_it_is_is_restored_as_well", async () => {
  using own = folder();
  await using t = await start(own.path, { defaultAgent: "sh" });
  await using other = await start(own.path, { defaultAgent: "sh" });
  await t.request("session/open", { sessionId: "raw", env: { WORD: "hello" } });
  await t.request("subscribe", { sessions: "all" });
  await kill(t);
  await kill(other);
  assert.equal((await (await t.prompt("raw", "echo $WORD")).completion).text, "hello\n");
  const stream = t.events({ only: ["run/completed"] });
  const theirs = await other.prompt("theirs", "true");
  const next = await stream.next();
  assert.equal(next.value?.method === "run/completed" && next.value.params.runId, theirs.runId);
});

void test("a_session_that_was_opened_without_a_name_is_opened_again_and_heard_of", async () => {
  using own = folder();
  await using t = await start(own.path, { defaultAgent: "sh" });
  await using other = await start(own.path);
  const { session } = await t.request("session/open", { env: { WORD: "hello" } });
  const nameless = await t.request("session/open", { sessionId: null });
  assert.notEqual(nameless.session.sessionId, session.sessionId);
  await kill(t);
  await kill(other);
  const run = await t.prompt(session.sessionId, "echo $WORD");
  assert.equal((await run.completion).text, "hello\n");
  // By whomever it is prompted.
  const stream = t.events({ only: ["run/completed"] });
  const theirs = await other.prompt(nameless.session.sessionId, "true");
  const next = await stream.next();
  assert.equal(next.value?.method === "run/completed" && next.value.params.runId, theirs.runId);
});

void test("who_stops_the_sidecar_in_order_is_not_overruled", async () => {
  using own = folder();
  await using t = await start(own.path);
  const run = await t.prompt("demo", "hold door");
  const queued = await t.prompt("demo", "say later");
  const stream = t.events();
  execFileSync(findBinary(), ["--store", join(own.path, "store"), "stop"]);
  assert.equal((await run.completion).reason, "shutdown");
  const why = await t.ended;
  assert(why instanceof StoppedError);
  await assert.rejects(queued.completion, StoppedError);
  await assert.rejects(t.stats(), StoppedError);
  await assert.rejects(async () => {
    for await (const event of stream) assert(event.method.length > 0);
  }, StoppedError);
});

void test("a_sidecar_is_left_dead_if_that_is_wished", async () => {
  using own = folder();
  await using t = await start(own.path, { restart: false });
  const run = await t.prompt("demo", "hold door");
  await kill(t);
  await assert.rejects(run.completion, ConnectionLostError);
  assert.equal((await t.ended).kind, "connectionLost");
});

void test("a_sidecar_that_does_not_come_up_again_ends_the_client_with_its_last_words", async () => {
  using own = folder();
  const binary = join(own.path, "once");
  const used = join(own.path, "used");
  writeFileSync(
    binary,
    `#!/bin/sh\nif [ -e ${used} ]; then echo out of order >&2; exit 9; fi\ntouch ${used}\nexec ${findBinary()} "$@"\n`,
  );
  chmodSync(binary, 0o755);
  await using t = await start(own.path, { binary });
  const run = await t.prompt("demo", "hold door");
  await kill(t);
  await assert.rejects(run.completion, { kind: "connectionLost", message: /status 9.*out of order/ });
  await assert.rejects(t.stats(), ConnectionLostError);
});

void test("a_cursor_that_was_kept_is_gone_on_from_by_the_next_program", async () => {
  using own = folder();
  const t = await start(own.path);
  await (
    await t.prompt("demo", "say one", { runId: "one" })
  ).completion;
  const { cursor } = t;
  await (
    await t.prompt("demo", "say two", { runId: "two" })
  ).completion;
  await t.close();
  await using next = await start(own.path, { resumeFrom: cursor });
  assert.equal(next.info.resumed, true);
  const run = await next.prompt("demo", "say three", { runId: "three" });
  await run.completion;
  const told: string[] = [];
  for await (const event of next.events()) {
    if (event.method === "run/completed") told.push(event.params.runId);
    if (told.includes("three")) break;
  }
  assert.deepEqual(told, ["two", "three"]);
  // The first stream has them whatever of it is wanted, and whatever was done before.
  await using third = await start(own.path, { resumeFrom: cursor });
  await third.openSession("other");
  const only = third.events({ only: ["run/completed"] });
  const two = await only.next();
  assert.equal(two.value?.method === "run/completed" && two.value.params.runId, "two");
  // What was handed out is what is gone on from, however much has come since.
  assert.equal(two.value?.method === "run/completed" && two.value.params.cursor, only.cursor);
  await using fourth = await start(own.path, { resumeFrom: only.cursor });
  const rest = await fourth.events({ only: ["run/completed"] }).next();
  assert.equal(rest.value?.method === "run/completed" && rest.value.params.runId, "three");
  const foreign = "00000000-0000-7000-8000-000000000000:1";
  await assert.rejects(next.events({ after: foreign, only: ["run/completed"] }).next(), { kind: "cursorExpired" });
});
