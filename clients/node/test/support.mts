import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Turnlane, type SpawnOptions } from "turnlane";

/** This package, and the repository that it is a part of; seen from build/test. */
export const root = fileURLToPath(new URL("../..", import.meta.url));
export const repository = join(root, "../..");

/** A directory of one test's own. */
export function folder(): { path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), "turnlane-node-"));
  return { path, [Symbol.dispose]: () => remove(path) };
}

/** Removes a folder, also while what guarded the agents of a sidecar that was killed is still tidying up in it. */
function remove(path: string): void {
  for (let tries = 1; ; tries += 1) {
    try {
      // Each call looks anew at what is there; its own retries would not.
      rmSync(path, { recursive: true, force: true });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOTEMPTY" || tries >= 1000) throw error;
    }
  }
}

/** A client with a store of its own, whose lines of log can be looked at. */
export async function start(store: string, options: SpawnOptions = {}): Promise<Turnlane> {
  return Turnlane.spawn({ store: join(store, "store"), defaultAgent: "script", ...options });
}

/** Ends a client's sidecar as a crash would, and waits until its process is gone. */
export async function kill(t: Turnlane): Promise<void> {
  const { pid } = t;
  if (pid === undefined) throw new Error("there is no sidecar");
  process.kill(pid, "SIGKILL");
  while (alive(pid)) await new Promise((resolve) => setImmediate(resolve));
}

/** Stops a client's sidecar where it is, and waits until each of its threads stands still: from then on nothing is answered. */
export async function stop(t: Turnlane): Promise<void> {
  const { pid } = t;
  if (pid === undefined) throw new Error("there is no sidecar");
  process.kill(pid, "SIGSTOP");
  const tasks = `/proc/${pid}/task`;
  const runs = (task: string): boolean => !/\) [Tt] /.test(readFileSync(join(tasks, task, "stat"), "utf8"));
  while (existsSync(tasks) && readdirSync(tasks).some(runs)) await new Promise((resolve) => setImmediate(resolve));
}

export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A promise that a test settles itself. */
export function settled<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}
