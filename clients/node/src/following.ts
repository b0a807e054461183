import { SessionNotFoundError } from "./errors.js";
import type { Sessions, SubscribeParams } from "./protocol.js";

type Heard = "all" | Set<string>;

/** What a connection is told of. */
interface Told {
  sessions: Heard;
  output: boolean;
}

/** Asks turnlane for a set of sessions in place of the one that it has. */
type Subscribe = (params: SubscribeParams) => Promise<unknown>;

const heard = (sessions: Sessions): Heard => (sessions === "all" ? "all" : new Set(sessions));

/**
 * The sessions that a client hears of. turnlane has one set for a connection: `subscribe` replaces it, and what is opened or prompted in is added,
 * in the order in which this is asked, whatever the order of the answers. Here is what the set is to be, and it is asked for anew where requests
 * that were under way at once have made another one of it.
 */
export class Following {
  /** What the client chose, by the place of its request among those that change the set. */
  #choice: Told & { place: number } = { place: 0, sessions: new Set(), output: true };
  /** Sessions beside those of the choice, by the place of what added them. */
  readonly #added = new Map<string, number>();
  /** Those of them that turnlane added by itself, by the place of the request that it accepted. */
  readonly #entered = new Map<string, number>();
  /** Sessions that requests without an answer may add, by the number of these. */
  readonly #asked = new Map<string, number>();
  /** What turnlane has; absent when that is not known. */
  #told: Told | undefined = { sessions: new Set(), output: true };
  #places = 0;
  /** The place of the last subscription. */
  #last = 0;
  #levelling: Promise<void> | undefined;
  /** Subscriptions without an answer: nobody knows whether they hold already. */
  readonly #open = new Set<Told>();
  readonly #subscribe: Subscribe;
  readonly #regained: (isNew: (sessionId: string) => boolean) => void;
  readonly #narrowed: (tells: (sessionId: string) => boolean) => void;

  /**
   * `regained` is told of sessions that were not heard of for a while, or it may be so; `narrowed` when what is said in others than these may not be
   * told.
   */
  constructor(
    subscribe: Subscribe,
    regained: (isNew: (sessionId: string) => boolean) => void,
    narrowed: (tells: (sessionId: string) => boolean) => void,
  ) {
    this.#subscribe = subscribe;
    this.#regained = regained;
    this.#narrowed = narrowed;
  }

  /** The set from the beginning, which `initialize` names. */
  begin(sessions: Sessions): void {
    this.#choice = { ...this.#choice, sessions: heard(sessions) };
    this.#told = { sessions: heard(sessions), output: true };
  }

  hears(sessionId: string): boolean {
    return this.#choice.sessions === "all" || this.#choice.sessions.has(sessionId) || this.#added.has(sessionId);
  }

  /** Whether it is certain that all that is said in a session is told. */
  tells(sessionId: string): boolean {
    return this.#told !== undefined && [this.#told, ...this.#open].every((told) => tells(told, sessionId));
  }

  /** Does what adds a session when it is accepted. */
  async adding<T>(sessionId: string, request: () => Promise<T>): Promise<T> {
    const place = (this.#places += 1);
    this.#asked.set(sessionId, (this.#asked.get(sessionId) ?? 0) + 1);
    try {
      const answer = await request();
      this.#add(sessionId, place);
      this.#entered.set(sessionId, place);
      // A subscription that was asked for later has taken its place, with it or without.
      if (place > this.#last && this.#told?.sessions instanceof Set) this.#told.sessions.add(sessionId);
      return answer;
    } finally {
      const others = (this.#asked.get(sessionId) ?? 1) - 1;
      if (others > 0) this.#asked.set(sessionId, others);
      else this.#asked.delete(sessionId);
      this.#levelled();
    }
  }

  /** The client's own choice; it holds when it is accepted. */
  async choose(params: SubscribeParams, request: () => Promise<null>): Promise<null> {
    const place = (this.#last = this.#places += 1);
    try {
      const output = params.output ?? true;
      const answer = await this.#during(toldBy(params), request);
      if (place > this.#choice.place) {
        this.#choice = { place, sessions: heard(params.sessions), output };
        for (const those of [this.#added, this.#entered]) {
          for (const [sessionId, added] of [...those]) if (added < place) those.delete(sessionId);
        }
      }
      this.#took(place, heard(params.sessions), output);
      return answer;
    } catch (error) {
      // It may have been done all the same.
      this.#told = undefined;
      throw error;
    } finally {
      this.#levelled();
    }
  }

  /** Hears of one session more. */
  async also(sessionId: string): Promise<void> {
    if (!this.hears(sessionId)) this.#add(sessionId, (this.#places += 1));
    await this.#level();
  }

  /** Makes a new connection's set what it is to be. */
  async restore(subscribe: Subscribe): Promise<void> {
    this.#told = undefined;
    await this.#ask(subscribe);
  }

  /** While it is not answered, a subscription may hold or not. */
  async #during<T>(told: Told, request: () => Promise<T>): Promise<T> {
    const narrowed = () => this.#narrowed((sessionId) => tells(told, sessionId));
    this.#open.add(told);
    narrowed();
    try {
      return await request();
    } finally {
      this.#open.delete(told);
      narrowed();
    }
  }

  #add(sessionId: string, place: number): void {
    if (place > this.#choice.place) this.#added.set(sessionId, place);
  }

  /** A subscription was accepted; what was asked for since is not in it for certain. */
  #took(place: number, sessions: Heard, output: boolean): void {
    if (place !== this.#last) this.#told = undefined;
    else if (sessions === "all") this.#told = { sessions, output };
    else {
      const later = [...this.#entered].filter(([, added]) => added > place).map(([sessionId]) => sessionId);
      this.#told = { sessions: new Set([...sessions, ...later]), output };
    }
  }

  #isLevel(): boolean {
    const { sessions, output } = this.#choice;
    const told = this.#told;
    if (told?.output !== output) return false;
    if (sessions === "all" || told.sessions === "all") return sessions === told.sessions;
    const missing = [...sessions, ...this.#added.keys()].some((sessionId) => !has(told.sessions, sessionId));
    return !missing && [...told.sessions].every((sessionId) => this.hears(sessionId) || this.#asked.has(sessionId));
  }

  #levelled(): void {
    // Who is to be told that it failed is told by what waits for it.
    if (!this.#isLevel()) this.#level().catch(() => undefined);
  }

  #level(): Promise<void> {
    this.#levelling ??= this.#makeLevel().finally(() => (this.#levelling = undefined));
    return this.#levelling;
  }

  async #makeLevel(): Promise<void> {
    const before = this.#told;
    let again = false;
    while (!this.#isLevel()) {
      again = true;
      await this.#ask((params) => this.#during(toldBy(params), () => this.#subscribe(params)));
    }
    if (again) this.#regained((sessionId) => before === undefined || !has(before.sessions, sessionId));
  }

  /** Asks for what the set is to be, with what requests under way may add to it, and without what is no more. */
  async #ask(subscribe: Subscribe): Promise<void> {
    const gone = new Set<string>();
    for (;;) {
      const { sessions, output } = this.#choice;
      const all = sessions === "all" ? "all" : new Set([...sessions, ...this.#added.keys(), ...this.#asked.keys()]);
      if (all !== "all") gone.forEach((sessionId) => all.delete(sessionId));
      const place = (this.#last = this.#places += 1);
      try {
        await subscribe({ sessions: all === "all" ? all : [...all], output });
        this.#took(place, all, output);
        return;
      } catch (error) {
        if (!(error instanceof SessionNotFoundError) || sessions === "all") throw error;
        const { sessionId } = error.data;
        gone.add(sessionId);
        sessions.delete(sessionId);
        this.#added.delete(sessionId);
        this.#entered.delete(sessionId);
      }
    }
  }
}

const toldBy = ({ sessions, output }: SubscribeParams): Told => ({ sessions: heard(sessions), output: output ?? true });
const tells = ({ sessions, output }: Told, sessionId: string): boolean => output && has(sessions, sessionId);
const has = (sessions: Heard, sessionId: string): boolean => sessions === "all" || sessions.has(sessionId);
