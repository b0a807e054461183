import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { after } from "./after.js";
import { onAbort } from "./abort.js";
import { Batch } from "./batch.js";
import { Core } from "./core.js";
import { NotRunningError, StartError, TurnlaneError } from "./errors.js";
import type { EventOf, EventStream } from "./events.js";
import { findBinary } from "./find.js";
import { logger } from "./log.js";
import type {
  CallOptions,
  CloseOptions,
  DrainOptions,
  OpenOptions,
  PromptOptions,
  SpawnOptions,
  WakeOptions,
} from "./options.js";
import type {
  AckResult,
  AgentListResult,
  CancelResult,
  CancelScope,
  DeadLetter,
  DeadLetterListParams,
  DeadLetterListResult,
  DeadLetterPurgeResult,
  DeadLetterRetryResult,
  EventsReplayResult,
  ExtendResult,
  InitializeResult,
  Methods,
  Notifications,
  PeekResult,
  PromptContent,
  PromptResult,
  ReleaseResult,
  RunListParams,
  RunListResult,
  RunRecord,
  RunWaitResult,
  SessionListParams,
  SessionListResult,
  SessionOpenResult,
  SessionRecord,
  Sessions,
  SessionWaitResult,
  ShutdownParams,
  ShutdownResult,
  StatsResult,
  Until,
  WaitMode,
  WakeResult,
} from "./protocol.js";
import { Run, type WaitOptions } from "./run.js";
import { version } from "./version.js";

const START_MS = 30_000;
/** Milliseconds beyond those that stopping may take until a sidecar that is left has failed. */
const CLOSING_MS = 5000;

/** Names of dead letters, or all that there are. */
type Letters = readonly string[] | "all";

const named = (letters: Letters) => (letters === "all" ? { all: true as const } : { runIds: [...letters] });

function commandLine(options: SpawnOptions): string[] {
  const flags: [string, string | undefined][] = [
    ["--store", options.store],
    ["--config", options.config],
    ["--default-agent", options.defaultAgent],
    ["--durability", options.durability],
    ["--on-last-disconnect", options.onLastDisconnect],
    ["--log-level", options.logLevel],
  ];
  const given = flags.flatMap(([flag, value]) => (value === undefined ? [] : [flag, value]));
  return ["stdio", ...given, ...(options.args ?? [])];
}

/** No program can be given a NUL: what it was given would end there. */
function mustBeText({ binary, cwd, env = {}, ...options }: SpawnOptions): void {
  const wrong = (text: unknown): boolean => typeof text === "string" && text.includes("\0");
  const variable = Object.entries(env).find(([name, value]) => wrong(name) || wrong(value));
  const argument = commandLine(options).find(wrong);
  let what;
  if (wrong(binary)) what = `the option \`binary\`, ${JSON.stringify(binary)},`;
  else if (wrong(cwd)) what = `the option \`cwd\`, ${JSON.stringify(cwd)},`;
  // What a variable holds may be a secret.
  else if (variable !== undefined) what = `the variable ${JSON.stringify(variable[0])} of the option \`env\``;
  else if (argument !== undefined) what = `an argument, ${JSON.stringify(argument)},`;
  else return;
  throw new StartError(`${what} has a NUL character, and no program can be given that`);
}

/**
 * A sidecar of one's own, and the connection with it. A sidecar that dies is started again: requests that can be repeated are, each completion
 * comes once, and what can't be known says so (`ConnectionLostError`).
 *
 * Close it (`await using`, or `close()`): until then its process keeps this one from ending.
 */
export class Turnlane implements AsyncDisposable {
  readonly #core: Core;
  #closing: Promise<void> | undefined;

  private constructor(core: Core) {
    this.#core = core;
  }

  /**
   * Starts a sidecar and speaks with it. Rejects with `BinaryNotFoundError`, `StartError`, `ProtocolMismatchError`, or the error of a store that
   * can't be opened.
   */
  static async spawn(options: SpawnOptions = {}): Promise<Turnlane> {
    options.signal?.throwIfAborted();
    mustBeText(options);
    if (options.cwd !== undefined && !existsSync(options.cwd)) {
      throw new StartError(`there is no directory ${options.cwd} to start turnlane in`);
    }
    const core = new Core({
      command: { binary: findBinary(options.binary), args: commandLine(options), cwd: options.cwd, env: options.env },
      log: logger(options.logger),
      hello: {
        clientInfo: options.clientInfo ?? { name: "turnlane-node", version },
        resumeFrom: options.resumeFrom,
        sessions: options.sessions,
      },
      startMs: options.startTimeoutMs ?? START_MS,
      restart: options.restart ?? true,
      onPermission: options.onPermission,
    });
    const stop = onAbort(options.signal, () =>
      core.link.abandon(new TurnlaneError("notRunning", "the start was given up")),
    );
    try {
      await core.link.start();
      options.signal?.throwIfAborted();
      return new Turnlane(core);
    } catch (error) {
      options.signal?.throwIfAborted();
      throw error;
    } finally {
      stop();
    }
  }

  /** What `initialize` said: version, store, role, agents and limits. Of the present sidecar, if it was started again. */
  get info(): Readonly<InitializeResult> {
    return this.#core.info;
  }

  /**
   * The place of the last durable event that has come, whoever has dealt with it: where to begin. Where to go on from is the `cursor` of a stream.
   */
  get cursor(): string {
    return this.#core.cursor;
  }

  /** The sidecar's process; another one after it was started again. */
  get pid(): number | undefined {
    return this.#core.link.pid;
  }

  /** Resolves when this client is over: with `NotRunningError` after `close`, else with what ended it. It never rejects. */
  get ended(): Promise<TurnlaneError> {
    return this.#core.over$;
  }

  /**
   * Any method of the protocol, as it is. It is repeated, like all others, when its sidecar dies and that is safe: a prompt or wake with a `runId`
   * is.
   */
  request<M extends keyof Methods>(
    method: M,
    params: Methods[M]["params"],
    { signal }: CallOptions = {},
  ): Promise<Methods[M]["result"]> {
    return this.#core.request(method, params, signal);
  }

  // Sessions

  /** Opens a session, or changes one that is open; what is left out stays as it is. Without an id it gets a fresh one. */
  async openSession(
    sessionId: string = randomUUID(),
    { signal, ...options }: OpenOptions = {},
  ): Promise<SessionOpenResult> {
    return this.request("session/open", { ...options, sessionId }, { signal });
  }

  /** A session's record. */
  getSession(sessionId: string, options: CallOptions = {}): Promise<SessionRecord> {
    return this.request("session/get", { sessionId }, options);
  }

  /** A page of sessions' records, by id. */
  listSessions({ signal, ...page }: SessionListParams & CallOptions = {}): Promise<SessionListResult> {
    return this.request("session/list", page, { signal });
  }

  /** Every session's record, by id, page after page. */
  async *sessions({ signal }: CallOptions = {}): AsyncGenerator<SessionRecord, void> {
    let after: string | undefined;
    do {
      const page = await this.listSessions({ after, signal });
      yield* page.sessions;
      after = page.more ? page.sessions.at(-1)?.sessionId : undefined;
    } while (after !== undefined);
  }

  /** Waits until a session is `idle` or `settled`. */
  waitSession(sessionId: string, until: Until, { signal, timeoutMs }: WaitOptions = {}): Promise<SessionWaitResult> {
    return this.request("session/wait", { sessionId, until, timeoutMs }, { signal });
  }

  /** Cancels what is left of a session and ends its processes; `purge` forgets it altogether. */
  async closeSession(sessionId: string, { signal, purge }: { purge?: boolean } & CallOptions = {}): Promise<void> {
    await this.request("session/close", { sessionId, purge }, { signal });
  }

  // Runs

  /**
   * Has a session do something. Resolves when the run is on disk: from then on it ends exactly once, whatever happens to this process. The same
   * `runId` with the same session and prompt is the same run.
   */
  async prompt(sessionId: string, prompt: PromptContent, options: PromptOptions = {}): Promise<Run> {
    const { signal, onOutput, onPermission, ...params } = options;
    const runId = params.runId ?? randomUUID();
    const listeners = { onOutput, onPermission };
    const live = this.#core.runs.expect(runId, sessionId, listeners);
    const { breaks } = live.output;
    let accepted: PromptResult;
    try {
      accepted = await this.request("prompt", { ...params, runId, sessionId, prompt }, { signal });
    } catch (error) {
      this.#core.runs.forget(runId, error as Error);
      throw error;
    }
    this.#core.runs.listen(runId, listeners);
    // It has said nothing before this answer.
    if (!accepted.duplicate && this.#core.tells(sessionId)) live.output.follow(breaks);
    if (accepted.duplicate || !live.output.followed) void this.#core.runs.catchUp(runId);
    // An id that nobody else can have had was answered twice at most because it was asked twice.
    if (params.runId == null) accepted = { ...accepted, duplicate: false };
    else if (accepted.duplicate) this.#core.runs.watch(runId);
    return new Run(this.#core, accepted, live.completion, live.output);
  }

  /** A run that somebody else began, or an earlier life of this program: its completion, and its output so far as it is kept. */
  async attach(
    runId: string,
    { signal, ...listeners }: Pick<PromptOptions, "signal" | "onOutput" | "onPermission"> = {},
  ): Promise<Run> {
    const record = await this.getRun(runId, { signal });
    const live = this.#core.runs.expect(runId, record.sessionId, listeners);
    try {
      await this.#core.alsoHear(record.sessionId, signal);
    } catch (error) {
      this.#core.runs.forget(runId, error as Error);
      throw error;
    }
    this.#core.runs.listen(runId, listeners);
    if (record.permission !== undefined) this.#core.runs.changed({ ...record, permission: record.permission });
    void this.#core.runs.catchUp(runId);
    this.#core.runs.watch(runId);
    const { sessionId, state, seq = 0, position = 0 } = record;
    return new Run(
      this.#core,
      { runId, sessionId, state, seq, position, duplicate: true },
      live.completion,
      live.output,
    );
  }

  /** A run's record. */
  getRun(runId: string, options: CallOptions = {}): Promise<RunRecord> {
    return this.request("run/get", { runId }, options);
  }

  /** A page of runs' records, the newest first. */
  listRuns({ signal, ...page }: RunListParams & CallOptions = {}): Promise<RunListResult> {
    return this.request("run/list", page, { signal });
  }

  /** Records of runs, the newest first; all that there are, unless the loop ends before. */
  async *runs({ signal, ...which }: Omit<RunListParams, "limit" | "before"> & CallOptions = {}): AsyncGenerator<
    RunRecord,
    void
  > {
    let before: RunListParams["before"];
    do {
      const page = await this.listRuns({ ...which, before, signal });
      yield* page.runs;
      const last = page.more ? page.runs.at(-1) : undefined;
      before = last?.seq ?? last?.runId;
    } while (before !== undefined);
  }

  /** Waits until all, any or so many of these runs have ended. The runs go on when the time is over, or the wait is given up. */
  wait(
    runIds: readonly string[],
    { signal, ...options }: { mode?: WaitMode; n?: number } & WaitOptions = {},
  ): Promise<RunWaitResult> {
    return this.request("run/wait", { ...options, runIds: [...runIds] }, { signal });
  }

  /** Cancels what a session has accepted so far, and nothing that comes later; with `scope: "queued"` only what has not begun. */
  cancel(sessionId: string, { signal, scope }: { scope?: CancelScope } & CallOptions = {}): Promise<CancelResult> {
    return this.request("cancel", { sessionId, scope }, { signal });
  }

  /** Cancels one run. */
  cancelRun(runId: string, options: CallOptions = {}): Promise<CancelResult> {
    return this.request("cancel", { runId }, options);
  }

  /** Answers an agent's question. The first answer counts. */
  async respond(runId: string, requestId: string, optionId: string, options: CallOptions = {}): Promise<void> {
    await this.request("permission/respond", { runId, requestId, optionId }, options);
  }

  // Inboxes

  /**
   * Takes completions from a session's inbox, under a lease that is extended while the batch is held. Acknowledge it when what it holds is dealt
   * with; `await using` gives back what is not.
   */
  async drain(sessionId: string, { signal, extend = true, ...options }: DrainOptions = {}): Promise<Batch> {
    const taken = await this.request("drain", { ...options, sessionId }, { signal });
    const leaseMs = options.leaseMs ?? this.info.limits.leaseMs;
    const batch = new Batch(this.#core, this.#core.log, taken, {
      leaseMs,
      extend,
      ended: (ended) => this.#core.letGo(ended),
    });
    this.#core.holds(batch);
    return batch;
  }

  /**
   * Takes completions and deals with them: acknowledged when the callback returns, given back when it throws. What the callback itself has
   * acknowledged or released stays so. Resolves to what it returned; rejects with `LeaseLostError` when somebody else was given some of it, since
   * the lease was over. It is called for an empty batch too.
   */
  async drained<T>(
    sessionId: string,
    callback: (batch: Batch) => T | Promise<T>,
    options: DrainOptions = {},
  ): Promise<T> {
    const batch = await this.drain(sessionId, options);
    let result: T;
    try {
      result = await callback(batch);
    } catch (error) {
      await batch[Symbol.asyncDispose]();
      throw error;
    }
    await batch.ackRest();
    return result;
  }

  /** Settles a delivery, or these runs of it, whichever connection took it; also after its lease. */
  ack(deliveryId: string, runIds?: readonly string[], options: CallOptions = {}): Promise<AckResult> {
    return this.request("drain/ack", { deliveryId, runIds: runIds && [...runIds] }, options);
  }

  /** Gives a delivery back, or these runs of it. */
  release(deliveryId: string, runIds?: readonly string[], options: CallOptions = {}): Promise<ReleaseResult> {
    return this.request("drain/release", { deliveryId, runIds: runIds && [...runIds] }, options);
  }

  /** Holds a delivery for so many milliseconds from now. */
  extend(deliveryId: string, leaseMs: number, options: CallOptions = {}): Promise<ExtendResult> {
    return this.request("drain/extend", { deliveryId, leaseMs }, options);
  }

  /** What an inbox holds, from `after` on, the `next` of the page before. Nothing is taken. */
  peek(
    sessionId: string,
    { signal, after, limit }: { after?: string; limit?: number } & CallOptions = {},
  ): Promise<PeekResult> {
    return this.request("inbox/peek", { sessionId, after, limit }, { signal });
  }

  /** Lets a session look at its inbox, or at a reason. */
  wake(sessionId: string, reason: string, { signal, ...options }: WakeOptions = {}): Promise<WakeResult> {
    return this.request("wake", { ...options, runId: options.runId ?? randomUUID(), sessionId, reason }, { signal });
  }

  /** A page of dead letters. */
  listDeadLetters({ signal, ...page }: DeadLetterListParams & CallOptions = {}): Promise<DeadLetterListResult> {
    return this.request("deadLetter/list", page, { signal });
  }

  /** Completions that nobody took, in the order in which their runs ended. */
  async *deadLetters({ signal, parent }: { parent?: string } & CallOptions = {}): AsyncGenerator<DeadLetter, void> {
    let after: string | undefined;
    do {
      const page = await this.listDeadLetters({ parent, after, signal });
      yield* page.deadLetters;
      after = page.more ? page.next : undefined;
    } while (after !== undefined);
  }

  /** Puts dead letters back into the inboxes that they were for, or into one session's. */
  retryDeadLetters(
    letters: Letters,
    { signal, parent }: { parent?: string } & CallOptions = {},
  ): Promise<DeadLetterRetryResult> {
    return this.request("deadLetter/retry", { ...named(letters), parent }, { signal });
  }

  /** Removes dead letters for good. */
  purgeDeadLetters(letters: Letters, options: CallOptions = {}): Promise<DeadLetterPurgeResult> {
    return this.request("deadLetter/purge", named(letters), options);
  }

  // Events

  /** Chooses the sessions that this client hears of, in place of those so far; what it opens or prompts later is added. */
  async subscribe(
    sessions: Sessions,
    { signal, output = true }: { output?: boolean } & CallOptions = {},
  ): Promise<void> {
    await this.request("subscribe", { sessions, output }, { signal });
  }

  /**
   * Everything that this client hears of from now on, or, with `after`, from that cursor on: for one consumer, however slow. `only` names the
   * methods that are wanted.
   */
  events<M extends keyof Notifications = keyof Notifications>(
    options: { after?: string; only?: readonly M[] } = {},
  ): EventStream<EventOf<M>> {
    return this.#core.stream(options) as EventStream<EventOf<M>>;
  }

  /** Calls a function for each notification of a method. It must not throw; dispose of what is returned to end it. */
  on<M extends keyof Notifications>(
    method: M,
    listener: (params: Notifications[M]) => void,
  ): Disposable & { dispose(): void } {
    const dispose = this.#core.listen(method, listener);
    return { dispose, [Symbol.dispose]: dispose };
  }

  /** A page of the durable log. */
  replay(after: string, { signal, limit }: { limit?: number } & CallOptions = {}): Promise<EventsReplayResult> {
    return this.request("events/replay", { after, limit }, { signal });
  }

  // The program

  /** The agents that can be named. */
  listAgents(options: CallOptions = {}): Promise<AgentListResult> {
    return this.request("agent/list", {}, options);
  }

  /** What the process that this client speaks to is doing. */
  stats(options: CallOptions = {}): Promise<StatsResult> {
    return this.request("stats", {}, options);
  }

  /** Announces this client's leave, and says what became of runs under way. `close` does this and all that follows. */
  async shutdown(params: ShutdownParams = {}, options: CallOptions = {}): Promise<ShutdownResult> {
    const left = await this.request("shutdown", params, options);
    this.#core.link.parting();
    return left;
  }

  /**
   * Leaves in order. Runs under way are stopped if this is the last client (`mode`), and their completions come before this resolves. A sidecar
   * that does not answer for longer than this may take is killed.
   */
  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(options: CloseOptions): Promise<void> {
    this.#core.link.parting();
    const { stopMs, finishMs } = this.info.limits;
    const timeoutMs = options.timeoutMs ?? (options.mode === "finish" ? finishMs + stopMs : stopMs);
    const insist = after(timeoutMs + CLOSING_MS, () => this.#core.link.abandon(new NotRunningError()));
    let stays = false;
    try {
      if (this.#core.link.up) {
        const { role, clients } = await this.#core.request("stats", {});
        stays = role === "owner" && clients > 1 && options.everyone !== true;
        await this.#core.request("shutdown", options);
      }
    } catch (error) {
      if (!(error instanceof TurnlaneError)) throw error;
      this.#core.log.debug(`at closing: ${error.message}`);
    }
    await this.#core.link.leave(stays);
    clearTimeout(insist);
  }
}
