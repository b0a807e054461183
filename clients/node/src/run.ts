import { completionOf, isOk } from "./completion.js";
import { RunFailedError } from "./errors.js";
import type { Chunk, Output } from "./output.js";
import type {
  CancelResult,
  Completion,
  Methods,
  PromptResult,
  RunInputParams,
  RunOutputResult,
  RunRecord,
} from "./protocol.js";

/** What a run needs of its client. */
export interface RunOwner {
  request<M extends keyof Methods>(
    method: M,
    params: Methods[M]["params"],
    signal?: AbortSignal,
  ): Promise<Methods[M]["result"]>;
}

/** For waits. */
export interface WaitOptions {
  /** Milliseconds after which the wait is over; 0 only looks. */
  timeoutMs?: number;
  /** Gives the wait up; the run goes on. */
  signal?: AbortSignal;
}

/**
 * An accepted run. Iterate over it for its output, await `completion` for how it ended. Neither has to be done: the run goes on by itself, and
 * breaking out of the loop stops nothing but the reading.
 */
export class Run implements AsyncIterable<Chunk> {
  readonly runId: string;
  readonly sessionId: string;
  /** Its end, however it ended: a run that fails does not reject. Rejects when the client is closed before, or the run is forgotten. */
  readonly completion: Promise<Completion>;
  readonly #owner: RunOwner;
  readonly #accepted: PromptResult;
  readonly #output: Output;
  /** @internal */
  constructor(owner: RunOwner, accepted: PromptResult, completion: Promise<Completion>, output: Output) {
    this.#owner = owner;
    this.runId = accepted.runId;
    this.sessionId = accepted.sessionId;
    this.completion = completion;
    this.#accepted = accepted;
    this.#output = output;
  }

  /** Its number in the order of acceptance. */
  get seq(): number {
    return this.#accepted.seq;
  }

  /** Whether it had been accepted before. */
  get duplicate(): boolean {
    return this.#accepted.duplicate;
  }

  /** With `ifBusy: "steer"`: whether its text went into the run under way. */
  get steered(): boolean | undefined {
    return this.#accepted.steered;
  }

  /** What its prompt was answered with. */
  get accepted(): Readonly<PromptResult> {
    return this.#accepted;
  }

  /** Its output from now on, or from its begin if nobody has read of it; to be read by one reader. Ends when the run does. */
  [Symbol.asyncIterator](): AsyncIterator<Chunk, undefined> {
    return this.#output.reader();
  }

  /** Bytes of its output that were left out before what has been read of it, at least; `complete` says whether that was all of it. */
  get dropped(): number {
    return this.#output.dropped;
  }

  /**
   * Whether all that it said came here, to its end. It is known when it has been read: true only if it has ended, nothing was left out, and its
   * output was heard of up to its end. What a run says last while nobody hears it (a sidecar is being started again, its end is before this client
   * attached) can't be counted, and is why this is false and `dropped` 0.
   */
  get complete(): boolean {
    return this.#output.complete;
  }

  /** Reads its output to its end, as one text: all of it if it is `complete` then. */
  async read(): Promise<string> {
    let text = "";
    for await (const chunk of this) text += chunk.text;
    return text;
  }

  /** Waits for its end at turnlane. `undefined` when the time is over first: the run goes on. */
  async wait({ timeoutMs, signal }: WaitOptions = {}): Promise<Completion | undefined> {
    const { runs, timedOut } = await this.#owner.request("run/wait", { runId: this.runId, timeoutMs }, signal);
    const record = runs[0];
    return timedOut || record === undefined ? undefined : completionOf(record);
  }

  /** Its end, if it is a good one (`isOk`). Rejects with `RunFailedError` otherwise. */
  async success(): Promise<Completion> {
    const completion = await this.completion;
    if (!isOk(completion)) throw new RunFailedError(completion);
    return completion;
  }

  /** Stops it, if it has not ended. Its end is `cancelled`, and still comes through `completion`. */
  cancel(options: { signal?: AbortSignal } = {}): Promise<CancelResult> {
    return this.#owner.request("cancel", { runId: this.runId }, options.signal);
  }

  /** What is known of it now. */
  record(options: { signal?: AbortSignal } = {}): Promise<RunRecord> {
    return this.#owner.request("run/get", { runId: this.runId }, options.signal);
  }

  /** Reads again what it said from an offset on, while it is live: the last MiB is kept. */
  output(from = 0, options: { signal?: AbortSignal } = {}): Promise<RunOutputResult> {
    return this.#owner.request("run/output", { runId: this.runId, from }, options.signal);
  }

  /** Types into its terminal, or sets the terminal's size; for agents of kind `shell`. */
  async input(input: Omit<RunInputParams, "runId">, options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#owner.request("run/input", { ...input, runId: this.runId }, options.signal);
  }
}
