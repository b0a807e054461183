/** Where a client's own remarks and the sidecar's standard error go: a `console`, or VS Code's `LogOutputChannel`. */
export interface Logger {
  debug?(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** Anything that takes lines, such as VS Code's `OutputChannel`. */
export interface LineSink {
  appendLine(line: string): void;
}

const nothing = (): void => undefined;

/** One shape for both. Without a logger nothing is said anywhere, and one that fails hurts nobody: a channel of VS Code does once it is disposed of. */
export function logger(given: Logger | LineSink | undefined): Required<Logger> {
  const { debug, info, warn, error } = shaped(given);
  const safe = (say: (message: string) => void) => (message: string) => {
    try {
      say(message);
    } catch {
      // There is nobody to tell.
    }
  };
  return { debug: safe(debug), info: safe(info), warn: safe(warn), error: safe(error) };
}

function shaped(given: Logger | LineSink | undefined): Required<Logger> {
  if (given === undefined) return { debug: nothing, info: nothing, warn: nothing, error: nothing };
  if ("warn" in given) {
    return {
      debug: (message) => given.debug?.(message),
      info: (message) => given.info(message),
      warn: (message) => given.warn(message),
      error: (message) => given.error(message),
    };
  }
  const line = (level: string) => (message: string) => given.appendLine(`[${level}] ${message}`);
  return { debug: nothing, info: line("info"), warn: line("warn"), error: line("error") };
}
