/** Milliseconds of the longest timer that there is: a longer one would be over at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** Does something after so many milliseconds; never, if that is longer than anybody waits. */
export function after(ms: number, doing: () => void): NodeJS.Timeout | undefined {
  return ms <= LONGEST_MS ? setTimeout(doing, ms) : undefined;
}
