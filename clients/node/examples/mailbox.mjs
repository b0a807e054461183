// A bot that drains a mailbox: whatever has ended in the sessions of NAME's children is told, one after the other.
//
//     node mailbox.mjs NAME
//
// Start it, and in another terminal: `turnlane run --parent NAME -- 'echo hello'`. Ctrl-C ends it. It may be killed at any time: what it had not
// acknowledged comes again (what it does is to bear that, or is to be noted where it outlives the bot). Several may drain one mailbox; they share the
// work.
import { summary, Turnlane } from "turnlane";

const name = process.argv[2] ?? "mailbox";
const hourMs = 3_600_000;
const leave = new AbortController();
process.once("SIGINT", () => leave.abort());
process.once("SIGTERM", () => leave.abort());

/**
 * What the bot is for: to send a message, to open a ticket, to start the next step.
 *
 * @param {import("turnlane").Completion} done
 */
function dealWith(done) {
  console.log(`${done.runId} of ${done.sessionId}: ${summary(done)}: ${done.text.trim()}`);
}

const t = await Turnlane.spawn();
try {
  await t.openSession(name, { agent: "script" });
  console.log(`waiting for what comes for ${name}`);
  while (!leave.signal.aborted) {
    await t.drained(
      name,
      async (batch) => {
        for (const done of batch) {
          dealWith(done);
          await batch.ack([done.runId]);
        }
      },
      { waitMs: hourMs, signal: leave.signal },
    );
  }
} catch (error) {
  if (!leave.signal.aborted) throw error;
} finally {
  await t.close();
}
