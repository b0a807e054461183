/** What waits for a signal, and its one listener. */
interface Waiting {
  calls: Set<() => void>;
  listener: () => void;
}

const waiting = new WeakMap<AbortSignal, Waiting>();

/**
 * Calls a function when a signal aborts, unless what is returned has been called before. A signal gets one listener, however much waits for it: a
 * program's one signal for everything is no leak, and many listeners would be taken for one.
 */
export function onAbort(signal: AbortSignal | undefined, call: () => void): () => void {
  if (signal === undefined) return () => undefined;
  const known = waiting.get(signal) ?? listen(signal);
  // The same function may be given twice; each time is its own.
  const own = (): void => call();
  known.calls.add(own);
  return () => {
    known.calls.delete(own);
    if (known.calls.size > 0 || waiting.get(signal) !== known) return;
    waiting.delete(signal);
    signal.removeEventListener("abort", known.listener);
  };
}

function listen(signal: AbortSignal): Waiting {
  const calls = new Set<() => void>();
  const listener = (): void => {
    waiting.delete(signal);
    for (const call of [...calls]) call();
  };
  signal.addEventListener("abort", listener, { once: true });
  const known = { calls, listener };
  waiting.set(signal, known);
  return known;
}

/** Waits, unless the signal aborts before: then it rejects with its reason, and what was waited for goes on. */
export async function orAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  signal?.throwIfAborted();
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = onAbort(signal, () => reject(signal?.reason as Error));
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    stop();
  }
}
