import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { folder, root, start } from "./support.mjs";

interface Program {
  child: ChildProcess;
  lines: AsyncIterator<string>;
  ended: Promise<{ status: number | null; out: string; err: string }>;
}

/** An example as its user runs it, with a store of its own. */
function example(name: string, store: string, ...args: string[]): Program {
  const cwd = args[0] === "--cwd" ? args.splice(0, 2)[1] : undefined;
  const child = spawn(process.execPath, [join(root, "examples", name), ...args], {
    cwd,
    env: { ...process.env, TURNLANE_STORE: join(store, "store") },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, err] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (out += data.toString()));
  child.stderr.on("data", (data: Buffer) => (err += data.toString()));
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const ended = once(child, "close").then(([status]) => ({ status: status as number | null, out, err }));
  return { child, lines, ended };
}

void test("a_parent_takes_the_results_of_its_three_children_once", async () => {
  using own = folder();
  const first = await example("family.mjs", own.path).ended;
  assert.deepEqual(first.out.trim().split("\n").sort(), [
    "docs: 12 pages (completed with exit code 0)",
    "lint: no warnings (completed with exit code 0)",
    "test: 41 passed, 1 failed (failed with exit code 1: the command exited with code 1)",
  ]);
  assert.deepEqual([first.status, first.err], [1, ""]);
  const second = await example("family.mjs", own.path).ended;
  assert.deepEqual([second.status, second.out], [1, "nothing new: today's results were taken before\n"]);
});

void test("a_ci_step_fails_with_its_run_and_can_be_repeated", async () => {
  using own = folder();
  const step = ["--run-id", "c0ffee", "--", "echo out; echo once >> log; cat log; exit 4"];
  const cwd = ["--run-id", "where", "--", "pwd"];
  const failed = await example("ci.mjs", own.path, ...step.map((word) => word.replaceAll("log", join(own.path, "log"))))
    .ended;
  assert.deepEqual([failed.status, failed.out], [4, "out\nonce\n"]);
  assert.match(failed.err, /^ci: failed with exit code 4/);
  const again = await example("ci.mjs", own.path, ...step.map((word) => word.replaceAll("log", join(own.path, "log"))))
    .ended;
  assert.deepEqual([again.status, again.out], [4, "out\nonce\n"]);
  assert.equal((await example("ci.mjs", own.path, ...cwd).ended).status, 0);
  // Each directory has its own, and a program's arguments stay what they are.
  const there = await example("ci.mjs", own.path, "--cwd", own.path, "--", "sh", "-c", "pwd; exit 3").ended;
  assert.deepEqual([there.status, there.out], [3, `${own.path}\n`]);
  const late = await example("ci.mjs", own.path, "--timeout", "0.1", "--", "sleep 60").ended;
  assert.equal(late.status, 124);
  const wrong = await example("ci.mjs", own.path, "--run-id", "c0ffee", "--", "another command").ended;
  assert.equal(wrong.status, 125);
  assert.match(wrong.err, /^ci: /);
});

void test("a_bot_tells_what_comes_and_leaves_when_it_is_told_to", async () => {
  using own = folder();
  const bot = example("mailbox.mjs", own.path, "box");
  assert.equal((await bot.lines.next()).value, "waiting for what comes for box");
  await using t = await start(own.path);
  await t.openSession("child", { parent: "box" });
  for (const word of ["one", "two"]) {
    const run = await t.prompt("child", `say ${word}`);
    assert.equal((await bot.lines.next()).value, `${run.runId} of child: completed: ${word}`);
  }
  bot.child.kill("SIGTERM");
  const { status, err } = await bot.ended;
  assert.deepEqual([status, err], [0, ""]);
  // Only what was acknowledged is gone, and that is everything.
  assert.deepEqual((await t.peek("box")).completions, []);
});

void test("a_progress_bar_goes_to_its_end", async () => {
  using own = folder();
  const { status, out, err } = await example("progress.mjs", own.path, "20", "4").ended;
  const lines = out.trim().split("\n");
  assert.equal(lines.length, 20);
  assert.match(lines[0] ?? "", /^\[##\.+\] 1\/20 /);
  assert.match(lines.at(-1) ?? "", /^\[#{40}\] 20\/20 18 completed, 2 failed$/);
  assert.deepEqual([status, err], [1, ""]);
});
