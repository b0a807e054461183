import { NotRunningError, type TurnlaneError } from "./errors.js";
import type { EventsReplayResult, Notifications } from "./protocol.js";

/** A notification of turnlane's, by its method. */
export type TurnlaneEvent = {
  [M in keyof Notifications]: { method: M; params: Notifications[M] };
}[keyof Notifications];

/** The events of these methods. */
export type EventOf<M extends keyof Notifications> = Extract<TurnlaneEvent, { method: M }>;

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
export class EventStream<E extends TurnlaneEvent = TurnlaneEvent> implements AsyncIterableIterator<E> {
  /** Events that were left out since the consumer was too slow: `run/output` and `wake/skipped` only. */
  dropped = 0;
  readonly #read: ReadLog;
  readonly #closed: (stream: EventStream) => void;
  readonly #wanted: (event: TurnlaneEvent) => boolean;
  readonly #held = new Map<number, TurnlaneEvent>();
  /** Where the latest of those is held of which only the latest counts. */
  readonly #latest = new Map<string, number>();
  #places = 0;
  #waiting: (() => void)[] = [];
  /** The last durable event that was held or read. */
  #cursor: string;
  /** Whether durable events after the cursor have to be read from the log. */
  #behind: boolean;
  #dealt: string;
  /** Cursors that were read from the log and may still come by themselves, in the order of the log. */
  readonly #known = new Set<string>();
  /** Durable events that came while the log was being read. */
  #missed = new Set<string>();
  #end: TurnlaneError | undefined;
  #reading: Promise<void> | undefined;

  constructor(options: {
    read: ReadLog;
    cursor: string;
    behind: boolean;
    wanted: (event: TurnlaneEvent) => boolean;
    closed: (stream: EventStream) => void;
  }) {
    this.#read = options.read;
    this.#cursor = options.cursor;
    this.#dealt = options.cursor;
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
  end(error: TurnlaneError): void {
    this.#end ??= error;
    this.#wake();
  }

  /**
   * The place of the last durable event that was handed out. Keep it once that is dealt with: `resumeFrom`, or `after`, goes on behind it.
   */
  get cursor(): string {
    return this.#dealt;
  }

  async next(): Promise<IteratorResult<E, undefined>> {
    for (;;) {
      const event = this.#take();
      // What is wanted is all that is held.
      if (event !== undefined) return { done: false, value: event as E };
      if (this.#end !== undefined) {
        // Being closed is how a stream ends, unless there is more that can't be read any more.
        if (this.#end.kind !== "notRunning" || this.#behind) throw this.#end;
        return { done: true, value: undefined };
      }
      // However many readers: a page is read once.
      if (this.#behind) await (this.#reading ??= this.#catchUp().finally(() => (this.#reading = undefined)));
      else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  return(): Promise<IteratorResult<E, undefined>> {
    this.#held.clear();
    this.#latest.clear();
    this.#behind = false;
    this.#closed(this);
    this.end(new NotRunningError());
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

  #take(): TurnlaneEvent | undefined {
    for (const [place, event] of this.#held) {
      this.#held.delete(place);
      const key = latestOf(event);
      if (key !== undefined && this.#latest.get(key) === place) this.#latest.delete(key);
      if (isDurable(event)) this.#dealt = event.params.cursor;
      return event;
    }
    return undefined;
  }

  #hold(event: TurnlaneEvent): void {
    const place = (this.#places += 1);
    this.#held.set(place, event);
    const key = latestOf(event);
    if (key !== undefined) this.#latest.set(key, place);
  }

  /** Leaves out a state that is none any more. */
  #outdated(key: string): void {
    this.#held.delete(this.#latest.get(key) ?? 0);
    this.#latest.delete(key);
  }

  #durable(event: DurableEvent): void {
    const { cursor } = event.params;
    if (this.#known.has(cursor)) {
      // They come in the order of the log: none before this one comes any more.
      for (const known of this.#known) {
        this.#known.delete(known);
        if (known === cursor) return;
      }
    }
    const full = this.#held.size >= HELD;
    // Its completion says all that its states did.
    if (full && event.method === "run/completed") this.#outdated(`run/changed ${event.params.runId}`);
    if (this.#behind || full) {
      this.#behind = true;
      this.#missed.add(cursor);
      if (this.#missed.size > PAGE) this.#missed = new Set([cursor]);
      return;
    }
    this.#known.clear();
    this.#cursor = cursor;
    if (this.#wanted(event)) this.#hold(event);
  }

  #passing(event: TurnlaneEvent): void {
    if (this.#held.size < HELD) {
      this.#hold(event);
      return;
    }
    const key = latestOf(event);
    if (key === undefined) {
      this.dropped += 1;
      return;
    }
    this.#outdated(key);
    if (event.method !== "run/changed" || event.params.state !== "ended") this.#hold(event);
  }

  /** Reads a page. The log is level with what comes by itself when nothing came meanwhile that was not in it. */
  async #catchUp(): Promise<void> {
    let page: EventsReplayResult;
    try {
      page = await this.#read(this.#cursor, PAGE);
    } catch (error) {
      this.#closed(this);
      this.end(error as TurnlaneError);
      return;
    }
    for (const { method, params } of page.events) {
      const event = { method, params } as DurableEvent;
      this.#cursor = event.params.cursor;
      if (!this.#missed.delete(this.#cursor)) this.#known.add(this.#cursor);
      if (this.#wanted(event)) this.#hold(event);
    }
    this.#cursor = page.cursor;
    this.#behind = page.more || this.#missed.size > 0;
  }
}
