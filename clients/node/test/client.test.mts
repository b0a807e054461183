import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import * as imported from "turnlane";
import { isOk, RunFailedError, exitStatus, Turnlane, type Completion, type RunChanged } from "turnlane";
import { alive, folder, settled, start } from "./support.mjs";

void test("a_run_is_read_with_a_loop_and_its_end_is_a_promise", async () => {
  using own = folder();
  await using t = await start(own.path);
  const run = await t.prompt("demo", "say hello\nsay world");
  let text = "";
  for await (const chunk of run) text += chunk.text;
  assert.equal(text, "hello\nworld\n");
  const done = await run.completion;
  assert.equal(done.outcome, "completed");
  assert.equal(done.runId, run.runId);
  assert.deepEqual((await run.wait())?.text, done.text);
});

void test("what_is_not_utf8_comes_as_it_was_said", async () => {
  using own = folder();
  await using t = await start(own.path, { defaultAgent: "sh" });
  const run = await t.prompt("demo", String.raw`printf 'a\377b'`);
  const said: Uint8Array[] = [];
  for await (const chunk of run) said.push(chunk.bytes);
  assert.deepEqual(Buffer.concat(said), Buffer.from([0x61, 0xff, 0x62]));
});

void test("a_run_that_nobody_reads_ends_all_the_same", async () => {
  using own = folder();
  await using t = await start(own.path);
  const heard: string[] = [];
  const run = await t.prompt("demo", "say one\nsay two", { onOutput: (chunk) => heard.push(chunk.text) });
  await run.completion;
  assert.equal(heard.join(""), "one\ntwo\n");
  for await (const chunk of run) assert.fail(`the callback has had ${chunk.text}`);
});

void test("an_aborted_wait_gives_up_the_request_and_not_the_run", async () => {
  using own = folder();
  await using t = await start(own.path);
  const run = await t.prompt("demo", "hold door");
  const giveUp = new AbortController();
  const waits = [
    run.wait({ signal: giveUp.signal }),
    t.wait([run.runId], { signal: giveUp.signal }),
    t.waitSession("demo", "idle", { signal: giveUp.signal }),
    t.drain("demo", { waitMs: 60_000, signal: giveUp.signal }),
  ];
  const why = new Error("enough");
  giveUp.abort(why);
  for (const wait of waits) await assert.rejects(wait, (error) => error === why);
  // Nothing waits at turnlane any more: `$/cancelRequest` came before this question.
  assert.equal((await t.stats()).waiting, 0);
  assert.equal((await run.record()).outcome, undefined);
  await run.cancel();
  assert.equal((await run.completion).reason, "client");
});

void test("an_aborted_signal_asks_nothing", async () => {
  using own = folder();
  await using t = await start(own.path);
  await assert.rejects(t.prompt("demo", "say no", { runId: "no", signal: AbortSignal.abort() }), {
    name: "AbortError",
  });
  await assert.rejects(t.getRun("no"), { kind: "runNotFound" });
});

void test("a_run_that_fails_rejects_only_where_success_was_asked_for", async () => {
  using own = folder();
  await using t = await start(own.path);
  const run = await t.prompt("demo", "fail no more tokens");
  const done = await run.completion;
  assert.equal(isOk(done), false);
  assert.equal(exitStatus(done), 1);
  await assert.rejects(run.success(), (error) => {
    assert(error instanceof RunFailedError);
    assert.match(error.message, /failed: .*no more tokens/);
    return error.completion.runId === run.runId;
  });
  assert.equal((await (await t.prompt("demo", "say fine")).success()).text, "fine\n");
});

void test("the_exit_status_of_a_completion_is_that_of_turnlane_run", () => {
  const done = (fields: Partial<Completion>) => exitStatus(fields as Completion);
  assert.equal(done({ outcome: "completed" }), 0);
  assert.equal(done({ outcome: "completed", exitCode: 3 }), 3);
  assert.equal(done({ outcome: "failed" }), 1);
  assert.equal(done({ outcome: "cancelled", exitCode: 143 }), 130);
  assert.equal(done({ outcome: "timedOut" }), 124);
  assert.equal(done({ outcome: "interrupted" }), 125);
});

void test("a_run_of_somebody_else_is_read_from_its_begin", async () => {
  using own = folder();
  await using t = await start(own.path);
  const first = await t.prompt("demo", "say before\nhold door\nsay after", { runId: "shared" });
  for await (const chunk of first) if (chunk.text.includes("before")) break;
  await using other = await start(own.path);
  const run = await other.attach("shared");
  await t.prompt("demo", "release door", { ifBusy: "steer" });
  let text = "";
  for await (const chunk of run) text += chunk.text;
  assert.equal(text, "before\nafter\n");
  assert.equal((await run.completion).outcome, "completed");
  // The same through its id and prompt, long after its end.
  const again = await other.prompt("demo", "say before\nhold door\nsay after", { runId: "shared" });
  assert.equal(again.duplicate, true);
  assert.equal((await again.completion).text, "before\nafter\n");
  await assert.rejects(other.attach("nobody"), { kind: "runNotFound" });
});

void test("questions_are_answered_by_callbacks", async () => {
  using own = folder();
  const asked: string[] = [];
  await using t = await start(own.path, {
    onPermission: ({ question }) => {
      asked.push(question);
      return "yes";
    },
  });
  const one = await t.prompt("demo", "ask May I?");
  assert.equal((await one.completion).text, "yes\n");
  assert.deepEqual(asked, ["May I?"]);
  const own_ = await t.prompt("demo", "ask And I?", { onPermission: () => Promise.resolve("no") });
  assert.equal((await own_.completion).text, "no\n");
  assert.deepEqual(asked, ["May I?"]);
  // A callback that fails has allowed nothing.
  const broken = await t.prompt("demo", "ask And now?", { onPermission: () => Promise.reject(new Error("no idea")) });
  assert.equal((await broken.completion).text, "no\n");
  const wrong = await t.prompt("demo", "ask And then?", { onPermission: () => "perhaps" });
  assert.equal((await wrong.completion).text, "no\n");
});

void test("a_question_that_no_longer_stands_tells_its_callback", async () => {
  using own = folder();
  await using t = await start(own.path);
  const open = settled<AbortSignal>();
  const run = await t.prompt("demo", "ask May I?", {
    onPermission: ({ signal }) => {
      open.resolve(signal);
      return undefined;
    },
  });
  const signal = await open.promise;
  assert.equal(signal.aborted, false);
  await run.cancel();
  await run.completion;
  assert.equal(signal.aborted, true);
});

void test("lists_are_read_to_their_end", async () => {
  using own = folder();
  await using t = await start(own.path);
  await t.openSession("a", { title: "A" });
  await t.openSession("b");
  const fresh = await t.openSession();
  const ids: string[] = [];
  for await (const { sessionId } of t.sessions()) ids.push(sessionId);
  assert.deepEqual(ids.sort(), ["a", "b", fresh.session.sessionId].sort());
  // More than fits in one answer.
  const long = `say ${"x".repeat(4000)}`;
  const runs = await Promise.all(Array.from({ length: 40 }, (_, i) => t.prompt("a", long, { runId: `r${i}` })));
  await Promise.all(runs.map((run) => run.completion));
  const listed: string[] = [];
  for await (const { runId } of t.runs({ sessionId: "a" })) listed.push(runId);
  assert.deepEqual(listed, runs.map(({ runId }) => runId).reverse());
});

void test("listeners_hear_until_they_are_disposed_of_and_hurt_nobody", async () => {
  using own = folder();
  const errors: string[] = [];
  const log = { info: () => undefined, warn: () => undefined, error: (line: string) => errors.push(line) };
  await using t = await start(own.path, { logger: log });
  const states: string[] = [];
  const listener = t.on("run/changed", ({ state }: RunChanged) => states.push(state));
  t.on("run/completed", () => {
    throw new Error("a listener of little worth");
  });
  await (
    await t.prompt("demo", "say one")
  ).completion;
  assert(states.includes("active"));
  const heard = states.length;
  listener.dispose();
  await (
    await t.prompt("demo", "say two")
  ).completion;
  assert.equal(states.length, heard);
  assert.equal(errors.length, 2);
});

void test("closing_ends_what_is_under_way_and_leaves_no_process", async () => {
  using own = folder();
  const t = await start(own.path);
  const { pid } = t;
  assert(pid !== undefined);
  const run = await t.prompt("demo", "hold door");
  const queued = await t.prompt("demo", "say later");
  const stream = t.events();
  await t.close();
  assert.equal((await run.completion).reason, "shutdown");
  await assert.rejects(queued.completion, { kind: "notRunning" });
  await assert.rejects(t.stats(), { kind: "notRunning" });
  assert.equal((await t.ended).kind, "notRunning");
  for await (const event of stream) assert(event.method.length > 0);
  assert.equal(alive(pid), false);
  await t.close();
});

void test("a_client_leaves_and_the_others_stay", async () => {
  using own = folder();
  const t = await start(own.path);
  await using other = await start(own.path);
  const run = await other.prompt("demo", "hold door");
  await t.close();
  assert.equal((await run.record()).outcome, undefined);
  await other.prompt("demo", "release door", { ifBusy: "steer" });
  assert.equal((await run.completion).outcome, "completed");
});

void test("import_and_require_load_one_copy", () => {
  const required = createRequire(import.meta.url)("turnlane") as Record<string, unknown>;
  const both = imported as unknown as Record<string, unknown>;
  assert.deepEqual(
    Object.keys(both).filter((name) => !["default", "module.exports", "__esModule"].includes(name)),
    Object.keys(required).sort(),
  );
  for (const [name, value] of Object.entries(required)) assert.equal(both[name], value, name);
  assert.equal(required.Turnlane, Turnlane);
});
