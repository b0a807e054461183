import { completionOf } from "./completion.js";
import { AlreadyAnsweredError, PermissionNotFoundError, type TurnlaneError } from "./errors.js";
import type { Logger } from "./log.js";
import { Output, OUTPUT_KEPT, type Chunk } from "./output.js";
import type { Completion, Permission, RunChanged, RunOutput } from "./protocol.js";
import type { RunOwner } from "./run.js";

/** A question of an agent's that a person, or a rule, is to answer. */
export interface PermissionRequest extends Permission {
  runId: string;
  sessionId: string;
  /** Aborts when the question no longer stands: somebody else answered it, or its run was stopped. */
  signal: AbortSignal;
}

/** Answers a question with the id of one of its options; `undefined` leaves it open. */
export type PermissionHandler = (request: PermissionRequest) => string | undefined | Promise<string | undefined>;

/** What a caller wants to hear of one run. */
export interface RunListeners {
  /** Takes the run's output as it comes, in place of the run's iterator, which then has none. */
  onOutput?: (chunk: Chunk) => void;
  /** Answers the run's questions, in place of the client's `onPermission`. */
  onPermission?: PermissionHandler;
}

interface Live {
  readonly sessionId: string;
  readonly output: Output;
  readonly completion: Promise<Completion>;
  listeners: RunListeners;
  readonly resolve: (completion: Completion) => void;
  readonly reject: (error: Error) => void;
  /** Callers that wait for it. Several prompts with one id are one run. */
  users: number;
  /** While its output so far is being read: whether that is to be done once more. */
  reading?: { again: boolean };
}

/** What of the connection a run's output depends on. */
export interface Hearing {
  /** Whether all that is said in a session is told. */
  tells(sessionId: string): boolean;
  /** Whether what has been told until now was told by the process that held the store from the beginning on: what another one said last is lost. */
  sameOwner(): boolean | Promise<boolean>;
}

/** The runs that this client has in hand: each from its prompt, or since it was attached to, until its completion. */
export class LiveRuns {
  readonly #owner: RunOwner;
  readonly #hearing: Hearing;
  readonly #log: Required<Logger>;
  readonly #live = new Map<string, Live>();
  /** Open questions by run. */
  readonly #questions = new Map<string, { requestId: string; done: AbortController }>();
  readonly #onPermission: PermissionHandler | undefined;

  constructor(owner: RunOwner & Hearing, log: Required<Logger>, onPermission: PermissionHandler | undefined) {
    this.#owner = owner;
    this.#hearing = owner;
    this.#log = log;
    this.#onPermission = onPermission;
  }

  /** Takes a run in hand, before its prompt is sent: so nothing of it can come too early. */
  expect(runId: string, sessionId: string, listeners: RunListeners): Pick<Live, "output" | "completion"> {
    const known = this.#live.get(runId);
    if (known !== undefined) {
      known.users += 1;
      return known;
    }
    let resolve!: Live["resolve"];
    let reject!: Live["reject"];
    const completion = new Promise<Completion>((...settle) => ([resolve, reject] = settle));
    // Nobody has to wait for a run.
    completion.catch(() => undefined);
    const output = new Output(OUTPUT_KEPT, () => void this.catchUp(runId));
    const live: Live = { sessionId, output, completion, listeners: {}, resolve, reject, users: 1 };
    this.#live.set(runId, live);
    this.#tell(live, listeners);
    return live;
  }

  /** The prompt that brought these was accepted: they take the place of those of an earlier prompt with this id. */
  listen(runId: string, listeners: RunListeners): void {
    const live = this.#live.get(runId);
    if (live !== undefined) this.#tell(live, listeners);
  }

  /** What is said from here on in other sessions than these may not be told. */
  unheard(heard: (sessionId: string) => boolean): void {
    for (const { sessionId, output } of this.#live.values()) if (!heard(sessionId)) output.unheard();
  }

  /** Another connection begins. */
  cut(): void {
    for (const { output } of this.#live.values()) output.cut();
  }

  /** There is no such run after all. */
  forget(runId: string, error: Error): void {
    const live = this.#live.get(runId);
    if (live === undefined) return;
    live.users -= 1;
    if (live.users === 0) this.#fail(runId, error);
  }

  /** Waits for a run's end at turnlane: its event may have been before this client heard of it. */
  watch(runId: string): void {
    this.#owner.request("run/wait", { runId }).then(
      ({ runs }) => {
        const completion = runs[0] && completionOf(runs[0]);
        // The answer does not wait for what its event does: it is not known what was said before.
        if (completion !== undefined) this.completed(completion, false);
      },
      (error: unknown) => this.#fail(runId, error as Error),
    );
  }

  /**
   * Reads what a run has said and this client has not been told, so far as turnlane keeps it. `ask` is for a connection to which nothing else is
   * said yet.
   */
  async catchUp(runId: string, ask: RunOwner = this.#owner): Promise<void> {
    const live = this.#live.get(runId);
    if (live === undefined) return;
    if (live.reading !== undefined) {
      live.reading.again = true;
      return;
    }
    const { output } = live;
    const reading: Live["reading"] = { again: true };
    live.reading = reading;
    output.hold();
    try {
      while (reading.again) {
        reading.again = false;
        const breaks = this.#hearing.tells(live.sessionId) ? output.breaks : undefined;
        const page = await ask.request("run/output", { runId, from: output.next });
        output.fill(page.chunks);
        if (page.more && page.chunks.length > 0) reading.again = true;
        const level = !page.more && !page.ended && page.next <= output.next;
        if (breaks !== undefined && level && this.#hearing.tells(live.sessionId)) output.follow(breaks);
      }
    } catch (error) {
      this.#log.debug(`the output of ${runId} so far: ${String(error)}`);
    }
    live.reading = undefined;
    output.release();
  }

  /** Those that have not ended, so far as is known. */
  get all(): { runId: string; sessionId: string; followed: boolean }[] {
    return [...this.#live].map(([runId, { sessionId, output }]) => ({ runId, sessionId, followed: output.followed }));
  }

  said(output: RunOutput): void {
    this.#live.get(output.runId)?.output.push(output);
  }

  changed({ runId, sessionId, state, permission }: RunChanged): void {
    const asked = this.#questions.get(runId);
    if (asked !== undefined && (state !== "parked" || asked.requestId !== permission?.requestId)) {
      this.#questions.delete(runId);
      asked.done.abort();
    }
    if (permission !== undefined && !this.#questions.has(runId)) this.#ask(runId, sessionId, permission);
  }

  /** A run ended; `told`: its event said so, which comes after all of its output. */
  completed(completion: Completion, told: boolean): void {
    const { runId, outcome, startedAt } = completion;
    this.#closeQuestion(runId);
    const live = this.#live.get(runId);
    if (live === undefined) return;
    this.#live.delete(runId);
    // What never began has said nothing. A text shows no more than that: what a terminal makes no text of is not in it.
    if (startedAt === undefined) live.output.follow(live.output.breaks);
    const sure = startedAt === undefined || (told && outcome !== "interrupted" && this.#hearing.sameOwner());
    live.output.end(undefined, sure);
    live.resolve(completion);
  }

  /** The client is over. */
  over(error: TurnlaneError): void {
    for (const runId of [...this.#live.keys()]) this.#fail(runId, error);
    for (const runId of [...this.#questions.keys()]) this.#closeQuestion(runId);
  }

  #fail(runId: string, error: Error): void {
    const live = this.#live.get(runId);
    if (live === undefined) return;
    this.#live.delete(runId);
    live.output.end(error);
    live.reject(error);
  }

  #tell(live: Live, listeners: RunListeners): void {
    const { onOutput, onPermission } = listeners;
    if (onPermission !== undefined) live.listeners.onPermission = onPermission;
    if (onOutput === undefined) return;
    live.listeners.onOutput = onOutput;
    live.output.to((chunk) => {
      try {
        onOutput(chunk);
      } catch (error) {
        this.#log.error(`a callback for output failed: ${String(error)}`);
      }
    });
  }

  #closeQuestion(runId: string): void {
    this.#questions.get(runId)?.done.abort();
    this.#questions.delete(runId);
  }

  #ask(runId: string, sessionId: string, permission: Permission): void {
    const handler = this.#live.get(runId)?.listeners.onPermission ?? this.#onPermission;
    if (handler === undefined) return;
    const done = new AbortController();
    const { requestId } = permission;
    this.#questions.set(runId, { requestId, done });
    void this.#answer(handler, { ...permission, runId, sessionId, signal: done.signal });
  }

  async #answer(handler: PermissionHandler, request: PermissionRequest): Promise<void> {
    const { runId, requestId } = request;
    let optionId: string | undefined;
    try {
      optionId = (await handler(request)) ?? undefined;
      if (optionId !== undefined && !request.options.some((option) => option.optionId === optionId)) {
        throw new TypeError(`${JSON.stringify(optionId)} is the id of none of the options`);
      }
    } catch (error) {
      // Who can't decide has not allowed anything, and the run must not wait for ever.
      optionId = request.options.find((option) => option.kind === "reject")?.optionId;
      this.#log.error(`the permission callback failed, so ${runId} is told no: ${String(error)}`);
    }
    if (optionId === undefined || request.signal.aborted) return;
    try {
      await this.#owner.request("permission/respond", { runId, requestId, optionId });
    } catch (error) {
      const late = error instanceof AlreadyAnsweredError || error instanceof PermissionNotFoundError;
      if (!late) this.#log.error(`the answer to ${runId} was not taken: ${String(error)}`);
    }
  }
}
