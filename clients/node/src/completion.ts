import type { Completion, RunRecord } from "./protocol.js";

/** Whether a run is `completed`, and by an exit code of 0 where there is one. */
export function isOk(completion: Completion): boolean {
  return completion.outcome === "completed" && (completion.exitCode ?? 0) === 0;
}

/**
 * The status with which `turnlane run` would exit: 130 for `cancelled`, 124 for `timedOut`; else the command's own exit code; else 0 for
 * `completed`, 1 for `failed`, and 125 for what has none.
 */
export function exitStatus({ outcome, exitCode }: Completion): number {
  if (outcome === "cancelled") return 130;
  if (outcome === "timedOut") return 124;
  if (exitCode !== undefined) return exitCode;
  if (outcome === "completed") return 0;
  return outcome === "failed" ? 1 : 125;
}

/** How a run ended, in a few words for people. */
export function summary({ outcome, reason, exitCode, error }: Completion): string {
  const why = reason === undefined ? "" : ` (${reason})`;
  const code = exitCode === undefined ? "" : ` with exit code ${String(exitCode)}`;
  return `${outcome}${why}${code}${error === undefined ? "" : `: ${error.message}`}`;
}

/** The completion of a run that has ended, from its record. It has no cursor. */
export function completionOf(record: RunRecord): Completion | undefined {
  const {
    state: _state,
    prompt: _prompt,
    promptTruncated: _cut,
    position: _position,
    permission: _permission,
    ...rest
  } = record;
  const { queueTimeoutMs: _queue, timeoutMs: _limit, outcome, endedAt, acceptedAt, seq, ...facts } = rest;
  if (outcome === undefined || endedAt === undefined || acceptedAt === undefined || seq === undefined) return undefined;
  return { ...facts, outcome, endedAt, acceptedAt, seq };
}
