import type { EventsReplayResult, Notifications } from "./protocol.js";

/** A notification of turnlane's, by its method. */
export type TurnlaneEvent = {
  [M in keyof Notifications]: { method: M; params: Notifications[M] };
}[keyof Notifications];

/** An event of the durable log: none of these is ever left out. */
export type DurableEvent = Extract<TurnlaneEvent, { method: "run/completed" | "deadLetter/added" }>;

/** Events that a stream holds for a consumer that is slower than they come. */
const HELD = 1000;
/** Events that are read from the log at once. */
const PAGE = 200;

/** Reads a page of the durable log, without what the client does not hear of. */
export type ReadLog = (after: string, limit: number) => Promise<EventsReplayResult>;

export function isDurable(event: TurnlaneEvent): event is DurableEvent {
  return event.method === "run/completed" || event.method === "deadLetter/added";
}

/** What only the latest counts of. */
function latestOf(event: TurnlaneEvent): string | undefined {
  switch (event.method) {
    case "run/changed":
      return `${event.method} ${event.params.runId}`;
    case "inbox/changed":
    case "session/changed":
      return `${event.method} ${event.params.sessionId}`;
    case "run/output":
    case "run/completed":
    case "wake/skipped":
    case "deadLetter/added":
      return undefined;
  }
}

/**
 * Events in the order in which they came, for one consumer, however slow. It never holds up the client and never grows without bound: when it is
 * full, output is left out and counted in `dropped`, of states only the latest is kept, and completions and dead letters are read again from
 * turnlane's log.
 */
export class EventStream implements AsyncIterableIterator<TurnlaneEvent, undefined> {
  /** Events that were left out since the consumer was too slow: `run/output` and `wake/skipped` only. */
  dropped = 0;
  readonly #read: ReadLog;
  readonly #closed: (stream: EventStream) => void;
  readonly #wanted: (event: TurnlaneEvent) => boolean;
  #held: TurnlaneEvent[] = [];
  #waiting: (() => void)[] = [];
  /** The last durable event that was held or read. */
  #cursor: string;
  /** Whether durable events after the cursor have to be read from the log. */
  #behind: boolean;
  /** Cursors that were read from the log and may still come by themselves. */
  readonly #known = new Set<string>();
  /** Durable events that came while the log was being read. */
  #missed = new Set<string>();
  #end: { error?: Error } | undefined;

  constructor(options: {
    read: ReadLog;
    cursor: string;
    behind: boolean;
    wanted: (event: TurnlaneEvent) => boolean;
    closed: (stream: EventStream) => void;
  }) {
    this.#read = options.read;
    this.#cursor = options.cursor;
    this.#behind = options.behind;
    this.#wanted = options.wanted;
    this.#closed = options.closed;
  }

  /** @internal */
  push(event: TurnlaneEvent): void {
    if (this.#end !== undefined) return;
    if (isDurable(event)) this.#durable(event);
    else if (this.#wanted(event)) this.#passing(event);
    this.#wake();
  }

  /** Ends the stream once what it holds has been taken. @internal */
  end(error?: Error): void {
    this.#end ??= error === undefined ? {} : { error };
    this.#wake();
  }

  async next(): Promise<IteratorResult<TurnlaneEvent, undefined>> {
    for (;;) {
      const event = this.#held.shift();
      if (event !== undefined) return { done: false, value: event };
      if (this.#end !== undefined) {
        if (this.#end.error !== undefined) throw this.#end.error;
        return { done: true, value: undefined };
      }
      if (this.#behind) await this.#catchUp();
      else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  return(): Promise<IteratorResult<TurnlaneEvent, undefined>> {
    this.#held = [];
    this.#closed(this);
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #durable(event: DurableEvent): void {
    const { cursor } = event.params;
    if (this.#known.delete(cursor)) return;
    if (this.#behind || this.#held.length >= HELD) {
      this.#behind = true;
      this.#missed.add(cursor);
      if (this.#missed.size > PAGE) this.#missed = new Set([cursor]);
      return;
    }
    this.#cursor = cursor;
    if (this.#wanted(event)) this.#held.push(event);
  }

  #passing(event: TurnlaneEvent): void {
    if (this.#held.length < HELD) {
      this.#held.push(event);
      return;
    }
    const key = latestOf(event);
    if (key === undefined) {
      this.dropped += 1;
      return;
    }
    const older = this.#held.findIndex((held) => latestOf(held) === key);
    if (older >= 0) this.#held.splice(older, 1);
    this.#held.push(event);
  }

  /** Reads a page. The log is level with what comes by itself when nothing came meanwhile that was not in it. */
  async #catchUp(): Promise<void> {
    let page: EventsReplayResult;
    try {
      page = await this.#read(this.#cursor, PAGE);
    } catch (error) {
      this.#closed(this);
      this.end(error as Error);
      return;
    }
    for (const { method, params } of page.events) {
      const event = { method, params } as DurableEvent;
      this.#cursor = event.params.cursor;
      if (!this.#missed.delete(this.#cursor)) this.#known.add(this.#cursor);
      if (this.#wanted(event)) this.#held.push(event);
    }
    this.#cursor = page.cursor;
    this.#behind = page.more || this.#missed.size > 0;
  }
}
