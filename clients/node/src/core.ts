import { randomUUID } from "node:crypto";
import { orAborted } from "./abort.js";
import type { Batch } from "./batch.js";
import type { TurnlaneError } from "./errors.js";
import { EventStream, type TurnlaneEvent } from "./events.js";
import { Following } from "./following.js";
import { Link, type Keeper } from "./link.js";
import { LiveRuns, type Hearing, type PermissionHandler } from "./live.js";
import type { Logger } from "./log.js";
import type {
  Agent,
  InitializeParams,
  InitializeResult,
  Methods,
  Notifications,
  SessionOpenParams,
  StatsResult,
  SubscribeParams,
} from "./protocol.js";
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

/** A request with its parameters. */
type Call = { [M in keyof Methods]: { method: M; params: NonNullable<Methods[M]["params"]> } }[keyof Methods];
/** One that makes turnlane tell of a session. */
type Adding = Extract<Call, { method: "prompt" | "session/open" }>;

type AnyListener = (params: Notifications[keyof Notifications]) => void;

/** What a session was opened with and turnlane does not store. */
interface Secrets {
  agent?: Agent;
  env?: Record<string, string>;
}

/** A client's state over the lives of its sidecar: what it hears of, where in the log it is, what it has opened and holds. */
export class Core implements Keeper, RunOwner, Hearing {
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
  readonly #following: Following;
  /** The process that held the store when this connection began, or since; absent if that is this client's own. */
  #owner: Promise<number | undefined> | undefined;
  /** Whoever is asked for it when that one has answered. */
  #ownerAsked: Promise<number | undefined> | undefined;
  #ownerNext: Promise<number | undefined> | undefined;
  /** Whether more is told than is followed: a replay tells of every session. */
  #resuming = false;
  /** From where the first stream goes on, if this client goes on from an earlier one. */
  #resumed: string | undefined;
  /** Sessions that are being opened to cancel what is queued in them: nobody opens them before. */
  readonly #cancelling = new Set<string>();
  #ended: TurnlaneError | undefined;
  #setOver!: (error: TurnlaneError) => void;

  constructor(options: CoreOptions) {
    this.log = options.log;
    this.#hello = options.hello;
    this.over$ = new Promise((resolve) => (this.#setOver = resolve));
    this.link = new Link(options.command, options, options.log, this);
    this.runs = new LiveRuns(this, options.log, options.onPermission);
    this.#following = new Following(
      (params) => this.link.request("subscribe", params),
      (isNew) => this.#regained(isNew),
      (tells) => this.runs.unheard(tells),
    );
    if (options.hello.sessions) this.#following.begin(options.hello.sessions);
    else if (options.hello.resumeFrom != null) this.#following.begin("all");
  }

  /** Asks, and remembers what is needed of it when the sidecar dies: what this client hears of, and which sessions are open. */
  request<M extends keyof Methods>(
    method: M,
    params: Methods[M]["params"],
    signal?: AbortSignal,
  ): Promise<Methods[M]["result"]> {
    if (method === "session/open") {
      const wanted = params as SessionOpenParams | null;
      // With a name of its own it is the same session however often it is asked for, and it is known before its answer.
      params = { ...wanted, sessionId: wanted?.sessionId ?? randomUUID() };
    }
    const call = { method, params: params ?? {} } as Call;
    const ask = () => this.link.request(method, params, signal);
    switch (call.method) {
      case "subscribe":
        return this.#choose(call.params, ask as () => Promise<null>);
      case "prompt":
      case "session/open":
        return this.#inSession(call, ask);
      case "session/close":
        return ask().then((answer) => {
          this.#sessions.delete(call.params.sessionId);
          return answer;
        });
      default:
        return ask();
    }
  }

  // What the client does.

  async #choose(params: SubscribeParams, ask: () => Promise<null>): Promise<null> {
    const answer = await this.#following.choose(params, ask);
    // What is no longer heard of is waited for.
    for (const { runId, sessionId, followed } of this.runs.all) {
      if (!this.hears(sessionId)) this.runs.watch(runId);
      else if (!followed) void this.runs.catchUp(runId);
    }
    return answer;
  }

  async #inSession<T>(call: Adding, ask: () => Promise<T>): Promise<T> {
    const { sessionId } = call.params;
    if (sessionId == null) return ask();
    const { agent, env, recover } = call.method === "session/open" ? call.params : {};
    if (recover === "cancel") this.#cancelling.add(sessionId);
    const answer = await this.#following.adding(sessionId, ask).finally(() => this.#cancelling.delete(sessionId));
    const known = this.#sessions.get(sessionId) ?? {};
    const described = typeof agent === "object" && agent !== null ? { agent } : {};
    this.#sessions.set(sessionId, { ...known, ...described, ...(env ? { env } : {}) });
    return answer;
  }

  /** Hears of one session more. */
  alsoHear(sessionId: string, signal?: AbortSignal): Promise<void> {
    return orAborted(signal, this.#following.also(sessionId));
  }

  /** Sessions may not have been heard of for a while: what was said there is read, and who has ended is asked. */
  #regained(isNew: (sessionId: string) => boolean): void {
    for (const { runId, sessionId, followed } of this.runs.all) {
      if (!followed || isNew(sessionId)) void this.runs.catchUp(runId);
      if (isNew(sessionId)) this.runs.watch(runId);
    }
  }

  hears(sessionId: string): boolean {
    return this.#following.hears(sessionId);
  }

  tells(sessionId: string): boolean {
    return this.#following.tells(sessionId);
  }

  sameOwner(): boolean | Promise<boolean> {
    // One that holds the store holds it as long as it lives.
    if (this.info.role === "owner") return true;
    const before = this.#owner;
    return this.#ownerNow().then(async (now) => now !== undefined && now === (await before));
  }

  holds(batch: Batch): void {
    if (batch.isHeld) this.#batches.add(batch);
  }

  letGo(batch: Batch): void {
    this.#batches.delete(batch);
  }

  stream({ after, only }: { after?: string; only?: readonly (keyof Notifications)[] }): EventStream {
    if (after === undefined) {
      after = this.#resumed;
      this.#resumed = undefined;
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
    this.runs.cut();
    return { ...always, clientInfo, resumeFrom: this.cursor, sessions: "all" };
  }

  async restore(life: Sidecar, info: InitializeResult, again: boolean): Promise<void> {
    this.info = info;
    // Before anything else is asked: what is told is told by this one, or a later one.
    this.#owner = info.role === "owner" ? undefined : ownerPid(life.request("stats", {}));
    if (!again) {
      if (!info.resumed) this.cursor = info.cursor;
      // Nobody could listen yet to what came first: it is read from the log.
      else this.#resumed = this.#hello.resumeFrom ?? undefined;
      return;
    }
    if (!info.resumed) {
      this.log.warn(
        "the events since the last one that was heard of are no longer kept: what ended meanwhile is asked for",
      );
      this.cursor = info.cursor;
      this.runs.all.forEach(({ runId }) => this.runs.watch(runId));
    }
    await this.#following.restore((params) => life.request("subscribe", params));
    this.#resuming = false;
    // Under an owner that lives on, runs have said more meanwhile; what is queued begins when its session is opened.
    this.runs.all.forEach(({ runId }) => void this.runs.catchUp(runId, life));
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
    for (const stream of this.#streams) stream.end(error);
    this.#streams.clear();
    this.#setOver(error);
  }

  heard = <M extends keyof Notifications>(method: M, params: Notifications[M]): void => {
    const event = { method, params } as TurnlaneEvent;
    if (event.method === "run/completed" || event.method === "deadLetter/added") this.cursor = event.params.cursor;
    if (event.method === "run/completed") this.runs.completed(event.params, true);
    if (this.#resuming && !this.#wants(event)) return;
    if (event.method === "run/output") this.runs.said(event.params);
    if (event.method === "run/changed") this.runs.changed(event.params);
    for (const stream of this.#streams) stream.push(event);
    for (const listener of [...(this.#listeners.get(method) ?? [])]) this.#tell(listener, event);
  };

  /** The process that holds the store, as asked after this call: one question at a time, for all that wait. */
  #ownerNow(): Promise<number | undefined> {
    this.#ownerNext ??= Promise.resolve(this.#ownerAsked).then(async () => {
      this.#ownerNext = undefined;
      const before = this.#owner;
      const now = await (this.#ownerAsked = ownerPid(this.request("stats", {})));
      if (now !== undefined && now !== (await before) && before === this.#owner) this.#newOwner(now);
      return now;
    });
    return this.#ownerNext;
  }

  /** What was told by the one before is not all that was said. */
  #newOwner(now: number): void {
    this.#owner = Promise.resolve(now);
    this.runs.unheard(() => false);
    this.runs.all.forEach(({ runId }) => void this.runs.catchUp(runId));
  }

  #tell(listener: AnyListener, event: TurnlaneEvent): void {
    try {
      listener(event.params);
    } catch (error) {
      this.log.error(`a listener for ${event.method} failed: ${String(error)}`);
    }
  }

  #wants(event: TurnlaneEvent): boolean {
    return this.hears(event.method === "deadLetter/added" ? event.params.parent : event.params.sessionId);
  }

  /** What was found queued goes on only in a session that somebody has opened. */
  async #reopen(life: Sidecar, sessionId: string, secrets: Secrets): Promise<void> {
    try {
      if (this.#cancelling.has(sessionId)) return;
      const { state } = await life.request("session/get", { sessionId });
      if (state === "dormant") await life.request("session/open", { sessionId, ...secrets });
    } catch (error) {
      if (!(error instanceof Error && "kind" in error)) throw error;
      this.log.warn(`the session ${sessionId} could not be opened again: ${error.message}`);
    }
  }
}

const ownerPid = (asked: Promise<StatsResult>): Promise<number | undefined> =>
  asked.then(
    (stats) => stats.ownerPid,
    () => undefined,
  );
