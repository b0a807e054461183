// A parent and three children: they work at once, and the parent takes their results when all have ended.
//
//     node family.mjs
//
// A child that fails is a result like any other. If this program dies while it reads the results, they wait in the parent's inbox for its next
// run: only what was acknowledged (when the callback of `drained` returns) is gone. So the run ids have a day in them: on the same day nothing
// runs twice.
import { isOk, summary, Turnlane } from "turnlane";

const work = {
  lint: "echo 'no warnings'",
  test: "sleep 0.2; echo '41 passed, 1 failed'; exit 1",
  docs: "echo '12 pages'",
};

const today = new Date().toISOString().slice(0, 10);
const t = await Turnlane.spawn();
try {
  await t.openSession("lead", { agent: "script" });
  const runs = await Promise.all(
    Object.entries(work).map(async ([child, command]) => {
      await t.openSession(child, { agent: "sh", parent: "lead" });
      return t.prompt(child, command, { runId: `${child}-${today}` });
    }),
  );

  await t.drained(
    "lead",
    (batch) => {
      for (const done of batch) {
        console.log(`${done.sessionId}: ${done.text.trim()} (${summary(done)})`);
      }
      if (batch.length === 0) console.log("nothing new: today's results were taken before");
    },
    { until: { runIds: runs.map((run) => run.runId) } },
  );
  const ends = await Promise.all(runs.map((run) => run.completion));
  if (!ends.every(isOk)) process.exitCode = 1;
} finally {
  await t.close();
}
