// A progress bar over many runs in several sessions.
//
//     node progress.mjs [RUNS] [SESSIONS]
import { Turnlane } from "turnlane";

const total = Number(process.argv[2] ?? 40);
const sessions = Number(process.argv[3] ?? 8);
const width = 40;

/** @type {Map<string, number>} */
const ended = new Map();

function show() {
  const count = [...ended.values()].reduce((sum, one) => sum + one, 0);
  const bar = "#".repeat(Math.floor((width * count) / total)).padEnd(width, ".");
  const outcomes = [...ended].sort().map(([outcome, number]) => `${number} ${outcome}`);
  const line = `[${bar}] ${count}/${total} ${outcomes.join(", ")}`;
  process.stdout.write(process.stdout.isTTY ? `\r${line}${count < total ? "" : "\n"}` : `${line}\n`);
}

const t = await Turnlane.spawn({ store: ":memory:" });
try {
  await Promise.all(Array.from({ length: sessions }, (_, i) => t.openSession(`worker-${i}`, { agent: "sh" })));
  await Promise.all(
    Array.from({ length: total }, async (_, i) => {
      const run = await t.prompt(`worker-${i % sessions}`, `sleep 0.0${i % 7}; exit $((${i} % 10 == 9))`);
      const { outcome } = await run.completion;
      ended.set(outcome, (ended.get(outcome) ?? 0) + 1);
      show();
    }),
  );
} finally {
  await t.close();
}
if (ended.get("completed") !== total) process.exitCode = 1;
