import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { getEventListeners, once } from "node:events";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  ConnectionLostError,
  findBinary,
  FrameTooLargeError,
  StartError,
  Turnlane,
  type SessionGetParams,
} from "turnlane";
import { alive, folder, kill, root, start, stop } from "./support.mjs";

function program(folder: string, text: string): string {
  const path = join(folder, "program");
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return path;
}

void test("a_program_ends_though_a_sidecar_died_in_the_middle_of_a_message", async () => {
  using own = folder();
  const broken = program(
    own.path,
    `#!${process.execPath}
const { spawn } = require("node:child_process");
const { existsSync, writeFileSync } = require("node:fs");
const first = !existsSync(__dirname + "/used");
writeFileSync(__dirname + "/used", "");
const child = spawn(${JSON.stringify(findBinary())}, process.argv.slice(2), { stdio: ["pipe", "pipe", "inherit"] });
process.stdin.pipe(child.stdin);
child.on("exit", (code) => process.exit(code ?? 1));
child.stdout.on("data", (data) => {
  process.stdout.write(data);
  if (!first || !data.includes("droppedEvents")) return;
  process.stdout.write("Content-Length: 500\\r\\n\\r\\n{", () => {
    child.kill("SIGKILL");
    process.kill(process.pid, "SIGKILL");
  });
});
`,
  );
  const user = join(own.path, "user.mjs");
  writeFileSync(
    user,
    `import { Turnlane } from ${JSON.stringify(join(root, "dist/esm.mjs"))};
const t = await Turnlane.spawn({ binary: ${JSON.stringify(broken)}, store: ${JSON.stringify(join(own.path, "store"))} });
const { pid } = t;
await t.stats();
while (t.pid === pid) await new Promise((resolve) => setImmediate(resolve));
await t.stats();
await t.close();
console.log("closed");
`,
  );
  const child = spawn(process.execPath, [user], { stdio: ["ignore", "pipe", "inherit"], timeout: 60_000 });
  const [out] = (await once(child.stdout, "data")) as [Buffer];
  assert.equal(out.toString(), "closed\n");
  assert.deepEqual(await once(child, "exit"), [0, null]);
});

void test("a_program_that_ends_without_a_close_leaves_no_sidecar_and_has_its_own_status", async () => {
  using own = folder();
  const user = join(own.path, "user.mjs");
  const ends: [string, number][] = [
    ["process.exit(7);", 7],
    ["process.exitCode = 8; throw new Error('no');", 1],
    ["process.kill(process.pid, 'SIGKILL');", 137],
  ];
  for (const [end, status] of ends) {
    writeFileSync(
      user,
      `import { Turnlane } from ${JSON.stringify(join(root, "dist/esm.mjs"))};
const t = await Turnlane.spawn({ store: ${JSON.stringify(join(own.path, "store"))}, defaultAgent: "sh" });
const run = await t.prompt("demo", "echo $$; exec sleep 1000");
for await (const { text } of run) {
  console.log(t.pid + " " + text.trim());
  break;
}
${end}
`,
    );
    const child = spawn("sh", ["-c", `"$0" "$1"; exit $?`, process.execPath, user], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const [out] = (await once(child.stdout, "data")) as [Buffer];
    const pids = out.toString().trim().split(" ").map(Number);
    assert.equal(pids.length, 2);
    assert.deepEqual(await once(child, "exit"), [status, null], end);
    while (pids.some(alive)) await new Promise((resolve) => setImmediate(resolve));
  }
  // It was told of each: what was under way has ended.
  await using t = await start(own.path);
  for await (const { state } of t.runs()) assert.equal(state, "ended");
});

void test("a_client_that_is_closed_says_so", async () => {
  using own = folder();
  const said = join(own.path, "said");
  const binary = program(own.path, `#!/bin/sh\ntee ${said} | ${findBinary()} "$@"\n`);
  const t = await start(own.path, { binary });
  await t.close();
  const messages = readFileSync(said, "utf8").split(/Content-Length: \d+\r\n\r\n/);
  assert.deepEqual(JSON.parse(messages.at(-1) ?? ""), { jsonrpc: "2.0", method: "exit" });
});

void test("what_ends_sidecars_is_given_up_unless_they_lived_long", async (context) => {
  using own = folder();
  // Asking the client itself would be an answer.
  await using owner = await start(own.path);
  await using t = await start(own.path);
  await t.openSession("parent");
  const now = performance.now.bind(performance);
  let later = 0;
  context.mock.method(performance, "now", () => now() + later);
  const waits = async (): Promise<boolean> => {
    const { clients, waiting } = await owner.stats();
    return clients === 2 && waiting === 1;
  };
  for (const [life, deaths] of [
    [31_000, 7],
    [1000, 5],
  ] as const) {
    const waiting = t.drain("parent", { waitMs: 3_600_000 });
    const refused = deaths === 5 ? assert.rejects(waiting, ConnectionLostError) : undefined;
    for (let death = 0; death < deaths; death += 1) {
      const { info } = t;
      while (!(await waits()));
      later += life;
      await kill(t);
      while (t.info === info) await new Promise((resolve) => setImmediate(resolve));
    }
    await refused;
    if (refused !== undefined) continue;
    await t.openSession("child", { parent: "parent" });
    const [run, batch] = await Promise.all([t.prompt("child", "say one"), waiting]);
    assert.deepEqual(
      [...batch].map(({ runId }) => runId),
      [run.runId],
    );
    await batch.ack();
  }
});

void test("what_can_not_be_sent_is_told", async () => {
  using own = folder();
  await using t = await start(own.path);
  await assert.rejects(t.prompt("demo", "x".repeat(17 * 1024 * 1024)), (error) => {
    assert(error instanceof FrameTooLargeError);
    return error.data.limit === t.info.limits.maxFrameBytes;
  });
  await assert.rejects(t.prompt("demo", "say one", { timeoutMs: 10n as unknown as number }), TypeError);
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  await assert.rejects(t.openSession("demo", { env: circle as Record<string, string> }), TypeError);
  assert.equal((await (await t.prompt("demo", "say two")).completion).text, "two\n");
});

void test("what_turnlane_would_not_read_is_told_and_hurts_nothing", async () => {
  using own = folder();
  await using t = await start(own.path);
  const { jsonDepth, jsonValues } = t.info.limits;
  const nested = (levels: number): object => {
    let value: object = [];
    for (let level = 1; level < levels; level += 1) value = level % 2 === 0 ? [value] : { value };
    return value;
  };
  const given = (value: unknown) => t.request("session/get", { sessionId: "demo", _given: value } as SessionGetParams);
  const refused = { name: "JsonRpcError", kind: "parseError", code: -32700, message: /session\/get .*can't be sent/ };
  // A message is one level, its parameters another.
  await assert.rejects(given(nested(jsonDepth - 2)), { kind: "sessionNotFound" });
  for (const levels of [jsonDepth - 1, 1000, 5000, 50_000]) await assert.rejects(given(nested(levels)), refused);
  await assert.rejects(given(Array.from({ length: jsonValues }, () => 1)), refused);
  // What looks like more in a text is none.
  const words = ['[{,"'.repeat(jsonValues), "\\", '\\"', '"['];
  await assert.rejects(given(words), { kind: "sessionNotFound" });
  assert.equal((await (await t.prompt("demo", "say one")).completion).text, "one\n");
});

void test("a_start_ends_though_what_holds_the_pipes_is_another_process", async () => {
  using own = folder();
  const binary = program(own.path, "#!/bin/sh\nsleep 1000\ntrue\n");
  await assert.rejects(Turnlane.spawn({ binary, startTimeoutMs: 50 }), StartError);
  const giveUp = new AbortController();
  const starting = Turnlane.spawn({ binary, signal: giveUp.signal });
  giveUp.abort();
  await assert.rejects(starting, { name: "AbortError" });
});

void test("a_sidecar_that_does_not_answer_is_not_waited_for_without_end", async () => {
  using own = folder();
  const t = await start(own.path);
  const pid = t.pid ?? 0;
  await stop(t);
  const asked = t.stats();
  const told = assert.rejects(asked, { kind: "notRunning" });
  await t.close({ timeoutMs: 1 });
  await told;
  while (alive(pid)) await new Promise((resolve) => setImmediate(resolve));
});

void test("what_waits_outlives_any_number_of_deaths_while_other_things_are_answered", async () => {
  using own = folder();
  await using t = await start(own.path);
  await t.openSession("parent");
  await t.prompt("demo", "hold door", { runId: "first" });
  const waiting = t.drain("parent", { waitMs: 3_600_000 });
  for (let deaths = 0; deaths < 7; deaths += 1) {
    await kill(t);
    await t.stats();
  }
  await t.openSession("child", { parent: "parent" });
  await t.prompt("child", "say one", { runId: "one" });
  await using batch = await waiting;
  assert.deepEqual(
    [...batch].map(({ runId }) => runId),
    ["one"],
  );
});

void test("what_would_be_another_run_is_not_asked_for_twice", async () => {
  using own = folder();
  for (const store of [join(own.path, "store"), ":memory:"]) {
    await using t = await Turnlane.spawn({ store, defaultAgent: "script" });
    await t.openSession("demo");
    await stop(t);
    const asked = [
      t.request("prompt", { sessionId: "demo", prompt: "say one" }),
      t.request("wake", { sessionId: "demo", reason: "one", prompt: "say one" }),
    ];
    // An id makes it the same run, where runs are kept.
    const named = t.prompt("demo", "say two", { runId: "two" });
    const refused = Promise.allSettled(store === ":memory:" ? [...asked, named] : asked);
    await kill(t);
    for (const one of await refused) {
      assert.equal(one.status, "rejected");
      assert(one.reason instanceof ConnectionLostError);
    }
    if (store !== ":memory:") assert.equal((await (await named).completion).text, "two\n");
  }
});

void test("a_logger_that_fails_hurts_nobody", async () => {
  using own = folder();
  const appendLine = () => {
    throw new Error("Channel has been closed");
  };
  await using t = await start(own.path, { logger: { appendLine } });
  await kill(t);
  assert.equal((await t.stats()).role, "owner");
});

void test("a_shutdown_that_was_not_asked_for_ends_nothing", async () => {
  using own = folder();
  await using t = await start(own.path);
  await assert.rejects(t.shutdown({}, { signal: AbortSignal.abort() }), { name: "AbortError" });
  await kill(t);
  assert.equal((await t.stats()).role, "owner");
});

void test("one_signal_is_enough_for_everything_and_is_let_go", async () => {
  using own = folder();
  await using t = await start(own.path);
  const { signal } = new AbortController();
  const asked = Array.from({ length: 12 }, () => t.stats({ signal }));
  assert.equal(getEventListeners(signal, "abort").length, 1);
  await Promise.all(asked);
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

void test("giving_up_while_a_sidecar_dies_is_silent", async () => {
  using own = folder();
  await using t = await start(own.path);
  await t.openSession("parent");
  const said: unknown[] = [];
  const { error } = console;
  console.error = (...words: unknown[]) => said.push(words);
  try {
    for (let turns = 0; turns < 12; turns += 1) {
      const giveUp = new AbortController();
      const drain = t.drain("parent", { waitMs: 60_000, signal: giveUp.signal });
      const refused = assert.rejects(drain, { name: "AbortError" });
      await kill(t);
      for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      giveUp.abort();
      await refused;
      await t.stats();
    }
  } finally {
    console.error = error;
  }
  assert.deepEqual(said, []);
});

void test("where_a_sidecar_is_to_start_is_told_if_it_is_not_there", async () => {
  using own = folder();
  const cwd = join(own.path, "gone");
  await assert.rejects(
    start(own.path, { cwd }),
    (error) => error instanceof StartError && /no directory .*gone/.test(error.message),
  );
  assert.equal(findBinary(""), findBinary());
});
