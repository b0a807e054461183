// A CI step: shows what a command says, and fails with it.
//
//     node ci.mjs [--timeout SECONDS] [--run-id ID] -- make test
//
// With a `--run-id` (a commit and a step, say) it can be repeated: a run that has ended is not run again, its end is told again.
import { parseArgs } from "node:util";
import { exitStatus, summary, Turnlane, TurnlaneError } from "turnlane";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { timeout: { type: "string", default: "600" }, "run-id": { type: "string" } },
});

async function main() {
  const t = await Turnlane.spawn();
  try {
    await t.openSession("ci", { agent: "sh", cwd: process.cwd() });
    const run = await t.prompt("ci", positionals.join(" "), {
      runId: values["run-id"],
      timeoutMs: Number(values.timeout) * 1000,
    });
    process.once("SIGINT", () => void run.cancel());
    for await (const chunk of run) process.stdout.write(chunk.bytes);
    const done = await run.completion;
    if (run.duplicate) process.stdout.write(done.text);
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
