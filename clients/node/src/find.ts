import { accessSync, constants, statSync } from "node:fs";
import { delimiter, resolve } from "node:path";
import { BinaryNotFoundError } from "./errors.js";

const names = (name: string): string[] => (process.platform === "win32" ? [`${name}.exe`, name] : [name]);

function runnable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function onPath(name: string): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  // The sidecar may be given another working directory than this process has.
  return folders.flatMap((folder) => names(name).map((file) => resolve(folder, file))).find(runnable);
}

/** A path is taken as it is, a bare name is looked for on the PATH. */
function named(wanted: string, by: string): string {
  const path = /[\\/]/.test(wanted) ? resolve(wanted) : onPath(wanted);
  if (path !== undefined && runnable(path)) return path;
  const where = path ?? `${wanted} (on the PATH)`;
  throw new BinaryNotFoundError(`${by} names ${where}, which is no program that can be run`);
}

/**
 * The sidecar's program: what the option says, else what `TURNLANE_BIN` says, else `turnlane` on the PATH. What is named and is not there is
 * an error: another turnlane than the one that was meant is never taken silently.
 */
export function findBinary(option?: string): string {
  // A setting that nobody has set is often an empty text.
  if (option !== undefined && option !== "") return named(option, "the option `binary`");
  const variable = process.env.TURNLANE_BIN;
  if (variable !== undefined && variable !== "") return named(variable, "TURNLANE_BIN");
  const found = onPath("turnlane");
  if (found !== undefined) return found;
  throw new BinaryNotFoundError(
    "there is no program `turnlane` on the PATH: install it, or say where it is with the option `binary` or the variable TURNLANE_BIN",
  );
}
