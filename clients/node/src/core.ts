import type { Batch } from "./batch.js";
import { SessionNotFoundError, type TurnlaneError } from "./errors.js";
import { EventStream, type TurnlaneEvent } from "./events.js";
import { Link, type Keeper } from "./link.js";
import { LiveRuns, type PermissionHandler } from "./live.js";
import type { Logger } from "./log.js";
import type { Agent, InitializeParams, InitializeResult, Methods, Notifications, Sessions } from "./protocol.js";
import type { RunOwner } from "./run.js";
import type { Command, Sidecar } from "./sidecar.js";
import { PROTOCOL_VERSION } from "./version.js";

/** What a client is made of. */
export interface CoreOptions {
  command: Command;
  log: Required<Logger>;
  hello: Pick<InitializeParams, "clientInfo" | "resumeFrom" | "sessions">;
  startMs: number;
  restart: boolean;
  onPermission: PermissionHandler | undefined;
}

type AnyListener = (params: Notifications[keyof Notifications]) => void;

/** What a session was opened with and turnlane does not store. */
interface Secrets {
  agent?: Agent;
  env?: Record<string, string>;
}

/** A client's state over the lives of its sidecar: what it hears of, where in the log it is, what it has opened and holds. */
export class Core implements Keeper, RunOwner {
  readonly link: Link;
  readonly runs: LiveRuns;
  readonly log: Required<Logger>;
  /** The answer of `initialize`, of the present life. */
  info!: InitializeResult;
  /** The last durable event that this client has heard of. */
  cursor = "";
  /** Settles when the client is over, with the reason. */
  readonly over$: Promise<TurnlaneError>;
  readonly #hello: CoreOptions["hello"];
  readonly #streams = new Set<EventStream>();
  readonly #listeners = new Map<keyof Notifications, Set<AnyListener>>();
  readonly #batches = new Set<Batch>();
  readonly #sessions = new Map<string, Secrets>();
  #followed: "all" | Set<string> = new Set();
  #output = true;
  /** Whether more is told than is followed: a replay tells of every session. */
  #resuming = false;
  #early: EventStream | undefined;
  #ended: TurnlaneError | undefined;
  #setOver!: (error: TurnlaneError) => void;

  constructor(options: CoreOptions) {
    this.log = options.log;
    this.#hello = options.hello;
    this.over$ = new Promise((resolve) => (this.#setOver = resolve));
    this.link = new Link(options.command, options, options.log, this);
    this.runs = new LiveRuns(this, options.log, options.onPermission);
    if (options.hello.sessions) this.#follow(options.hello.sessions);
    else if (options.hello.resumeFrom != null) this.#followed = "all";
    // Nobody can listen yet to what comes first.
    if (options.hello.resumeFrom != null) this.#early = this.stream({});
  }

  request<M extends keyof Methods>(
    method: M,
    params: Methods[M]["params"],
    signal?: AbortSignal,
  ): Promise<Methods[M]["result"]> {
    return this.link.request(method, params, signal);
  }

  // What the client does.

  opened(sessionId: string, secrets: Secrets): void {
    this.prompted(sessionId);
    const { agent, env } = secrets;
    const known = this.#sessions.get(sessionId) ?? {};
    const described = typeof agent === "object" ? { agent } : {};
    this.#sessions.set(sessionId, { ...known, ...described, ...(env ? { env } : {}) });
  }

  prompted(sessionId: string): void {
    if (this.#followed !== "all") this.#followed.add(sessionId);
    if (!this.#sessions.has(sessionId)) this.#sessions.set(sessionId, {});
  }

  closed(sessionId: string): void {
    this.#sessions.delete(sessionId);
  }

  async subscribe(sessions: Sessions, output: boolean, signal?: AbortSignal): Promise<void> {
    await this.request("subscribe", { sessions, output }, signal);
    this.#output = output;
    this.#follow(sessions);
    // What is no longer heard of is waited for.
    for (const { runId, sessionId } of this.runs.all) if (!this.hears(sessionId)) this.runs.watch(runId);
  }

  /** Hears of one session more. */
  async alsoHear(sessionId: string, signal?: AbortSignal): Promise<void> {
    while (this.#followed !== "all" && !this.hears(sessionId)) {
      try {
        await this.subscribe([...this.#followed, sessionId], this.#output, signal);
      } catch (error) {
        // Somebody has purged one that was followed.
        const gone = error instanceof SessionNotFoundError && error.data.sessionId !== sessionId;
        if (!gone || !this.#followed.delete(error.data.sessionId)) throw error;
      }
    }
  }

  hears(sessionId: string): boolean {
    return this.#followed === "all" || this.#followed.has(sessionId);
  }

  holds(batch: Batch): void {
    this.#batches.add(batch);
  }

  letGo(batch: Batch): void {
    this.#batches.delete(batch);
  }

  stream({ after, only }: { after?: string; only?: readonly (keyof Notifications)[] }): EventStream {
    const early = this.#early;
    if (early !== undefined && after === undefined && only === undefined) {
      this.#early = undefined;
      return early;
    }
    const stream = new EventStream({
      read: (cursor, limit) => this.request("events/replay", { after: cursor, limit }),
      cursor: after ?? this.cursor,
      behind: after !== undefined,
      wanted: (event) => this.#wants(event) && (only?.includes(event.method) ?? true),
      closed: (ended) => this.#streams.delete(ended),
    });
    if (this.#ended === undefined) this.#streams.add(stream);
    else stream.end(this.#ended);
    return stream;
  }

  listen<M extends keyof Notifications>(method: M, listener: (params: Notifications[M]) => void): () => void {
    const listeners = this.#listeners.get(method) ?? new Set();
    this.#listeners.set(method, listeners);
    // One listener may be given twice; each time is its own.
    const own: AnyListener = (params) => listener(params as Notifications[M]);
    listeners.add(own);
    return () => listeners.delete(own);
  }

  // What the link asks.

  hello(again: boolean): InitializeParams {
    const always = { processId: process.pid, protocolVersion: PROTOCOL_VERSION } as const;
    const { clientInfo } = this.#hello;
    if (!again) return { ...always, ...this.#hello };
    this.#resuming = true;
    return { ...always, clientInfo, resumeFrom: this.cursor, sessions: "all" };
  }

  async restore(life: Sidecar, info: InitializeResult, again: boolean): Promise<void> {
    this.info = info;
    if (!again) {
      if (!info.resumed) this.cursor = info.cursor;
      return;
    }
    if (!info.resumed) {
      this.log.warn(
        "the events since the last one that was heard of are no longer kept: what ended meanwhile is asked for",
      );
      this.cursor = info.cursor;
      this.runs.all.forEach(({ runId }) => this.runs.watch(runId));
    }
    await this.#resubscribe(life);
    this.#resuming = false;
    await Promise.all([...this.#sessions].map(([sessionId, secrets]) => this.#reopen(life, sessionId, secrets)));
  }

  lost(): void {
    for (const batch of [...this.#batches]) {
      batch.lose("turnlane died, and its leases with it: what is not settled is offered again");
    }
  }

  over(error: TurnlaneError): void {
    this.#ended = error;
    this.runs.over(error);
    for (const batch of [...this.#batches]) batch.lose(error.message);
    for (const stream of this.#streams) stream.end(error.kind === "notRunning" ? undefined : error);
    this.#streams.clear();
    this.#setOver(error);
  }

  heard = <M extends keyof Notifications>(method: M, params: Notifications[M]): void => {
    const event = { method, params } as TurnlaneEvent;
    if (event.method === "run/completed" || event.method === "deadLetter/added") this.cursor = event.params.cursor;
    if (event.method === "run/completed") this.runs.completed(event.params);
    if (this.#resuming && !this.#wants(event)) return;
    if (event.method === "run/output") this.runs.said(event.params);
    if (event.method === "run/changed") this.runs.changed(event.params);
    for (const stream of this.#streams) stream.push(event);
    for (const listener of [...(this.#listeners.get(method) ?? [])]) this.#tell(listener, event);
  };

  #tell(listener: AnyListener, event: TurnlaneEvent): void {
    try {
      listener(event.params);
    } catch (error) {
      this.log.error(`a listener for ${event.method} failed: ${String(error)}`);
    }
  }

  #follow(sessions: Sessions): void {
    this.#followed = sessions === "all" ? "all" : new Set(sessions);
  }

  #wants(event: TurnlaneEvent): boolean {
    return this.hears(event.method === "deadLetter/added" ? event.params.parent : event.params.sessionId);
  }

  /** What the life before heard of, less what is no more. */
  async #resubscribe(life: Sidecar): Promise<void> {
    for (;;) {
      const sessions = this.#followed === "all" ? "all" : [...this.#followed];
      if (sessions === "all" && this.#output) return;
      try {
        await life.request("subscribe", { sessions, output: this.#output });
        return;
      } catch (error) {
        if (!(error instanceof SessionNotFoundError) || this.#followed === "all") throw error;
        if (!this.#followed.delete(error.data.sessionId)) throw error;
        this.#sessions.delete(error.data.sessionId);
      }
    }
  }

  /** What was found queued goes on only in a session that somebody has opened. */
  async #reopen(life: Sidecar, sessionId: string, secrets: Secrets): Promise<void> {
    try {
      const { state } = await life.request("session/get", { sessionId });
      if (state === "dormant") await life.request("session/open", { sessionId, ...secrets });
    } catch (error) {
      if (!(error instanceof Error && "kind" in error)) throw error;
      this.log.warn(`the session ${sessionId} could not be opened again: ${error.message}`);
    }
  }
}
