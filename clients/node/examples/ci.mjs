// A CI step: shows what a command says, and fails with it.
//
//     node ci.mjs [--timeout SECONDS] [--run-id ID] -- make test
//
// With a `--run-id` (a commit and a step, say) it can be repeated: a run that has ended is not run again, its end is told again. One argument is a
// command line for the shell, several are a program and its arguments. Each directory has a session of its own.
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import { exitStatus, summary, Turnlane, TurnlaneError } from "turnlane";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { timeout: { type: "string", default: "600" }, "run-id": { type: "string" } },
});

const command =
  positionals.length === 1
    ? positionals.join()
    : positionals.map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(" ");

async function main() {
  const cwd = process.cwd();
  const session = `ci-${createHash("sha256").update(cwd).digest("hex").slice(0, 16)}`;
  const t = await Turnlane.spawn();
  try {
    await t.openSession(session, { agent: "sh", cwd });
    const run = await t.prompt(session, command, {
      runId: values["run-id"],
      timeoutMs: Number(values.timeout) * 1000,
    });
    process.once("SIGINT", () => void run.cancel());
    let shown = false;
    for await (const chunk of run) shown = process.stdout.write(chunk.bytes) || true;
    const done = await run.completion;
    // Of a run that had ended only this is kept.
    if (!shown) process.stdout.write(done.text);
    else if (run.dropped > 0) console.error(`ci: ${run.dropped} bytes of its output are not shown`);
    console.error(`ci: ${summary(done)}`);
    return exitStatus(done);
  } finally {
    await t.close();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof TurnlaneError)) throw error;
  console.error(`ci: ${error.message}`);
  process.exitCode = 125;
}
