import { after } from "./after.js";
import { onAbort } from "./abort.js";
import {
  NotRunningError,
  ConnectionLostError,
  OwnerLostError,
  StartError,
  StoppedError,
  ProtocolMismatchError,
} from "./errors.js";
import { InvalidParamsError, JsonRpcError, RpcError, ShuttingDownError, type TurnlaneError } from "./errors.js";
import type { Logger } from "./log.js";
import type { InitializeParams, InitializeResult, Methods, ServerInfo } from "./protocol.js";
import { doneBefore, Order, paramsNow, type Asked } from "./repeat.js";
import { shapeOf, tooMuch, type Shape } from "./shape.js";
import { PROTOCOL_VERSION } from "./version.js";
import { LifeOver, Sidecar, type Command, type Ending, type Listener } from "./sidecar.js";

/** Lives in a row that may end without an answer to anything but `initialize`. */
const VAIN_LIVES = 5;
/** Milliseconds after which a life was none in vain, whatever was asked of it. */
const FULL_LIFE_MS = 30_000;
/** Milliseconds before the second attempt to start in vain; each further one waits twice as long. */
const BACKOFF_MS = 100;
/** Milliseconds that a sidecar which could not begin may take to end. */
const PARTING_MS = 2000;
/** Milliseconds that any attempt to start waits at most. */
const BACKOFF_MAX_MS = 10_000;
/** How often a request is repeated for a store's next owner, which is there within a second. */
const OWNERS = 20;

/** What the link asks of whoever keeps the client's state. */
export interface Keeper {
  /** The parameters of `initialize`; those of a later life resume where the one before ended. */
  hello(again: boolean): InitializeParams;
  /** Makes a new life as the one before was: what it hears of, which sessions are open. What waits is asked after it. */
  restore(life: Sidecar, info: InitializeResult, again: boolean): Promise<void>;
  /** A life ended; what was tied to its connection is gone. */
  lost(): void;
  /** There will be no further life. */
  over(error: TurnlaneError): void;
  heard: Listener;
}

interface Flight extends Asked {
  readonly signal: AbortSignal | undefined;
  readonly resolve: (result: Methods[keyof Methods]["result"]) => void;
  readonly reject: (error: unknown) => void;
  /** What it takes on the wire. */
  readonly shape: Shape;
  /** Its place among what was written to the present life. */
  written: number;
  /** Lives in a row that ended soon after it was asked, and without an answer to anything that was asked later: it may be what ends them. */
  vain: number;
  /** Not written to the present life. */
  waiting: boolean;
  /** Takes back what waits for the signal. */
  deaf: () => void;
}

/** Keeps a sidecar alive, and brings every request to its one answer, over the deaths of processes. */
export class Link {
  readonly #command: Command;
  readonly #startMs: number;
  readonly #log: Required<Logger>;
  readonly #keeper: Keeper;
  readonly #restarts: boolean;
  readonly #order = new Order();
  /** In the order in which they were asked, which is that in which they are asked again. */
  readonly #flights = new Set<Flight>();
  #life: Sidecar | undefined;
  #up = false;
  #leaving = false;
  #over: TurnlaneError | undefined;
  #vain = 0;
  #lives = 0;
  /** Requests that were written to the present life, and the last of them that was answered. */
  #written = 0;
  #answered = 0;
  #limits: Partial<InitializeResult["limits"]> = {};
  /** Whether what a life accepted is known to the next. */
  #kept = true;
  #since = 0;
  #retry: NodeJS.Timeout | undefined;

  constructor(command: Command, options: { startMs: number; restart: boolean }, log: Required<Logger>, keeper: Keeper) {
    this.#command = command;
    this.#startMs = options.startMs;
    this.#restarts = options.restart;
    this.#log = log;
    this.#keeper = keeper;
  }

  /** The process that is spoken to now. */
  get pid(): number | undefined {
    return this.#life?.pid;
  }

  /** Starts the first life; what keeps it from coming up is the caller's to see. */
  async start(): Promise<InitializeResult> {
    try {
      return await this.#live();
    } catch (error) {
      this.#finish(error as TurnlaneError);
      throw error;
    }
  }

  /** Asks, over as many lives as it takes. An abort gives the request up and rejects with the signal's reason. */
  request<M extends keyof Methods>(
    method: M,
    params: Methods[M]["params"],
    signal?: AbortSignal,
  ): Promise<Methods[M]["result"]> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#over !== undefined) throw this.#over;
      const flight: Flight = {
        ...this.#order.next(method, params, performance.now()),
        signal,
        resolve: resolve,
        reject,
        // What can't be written is told at once, as the error that it is.
        shape: shapeOf({ jsonrpc: "2.0", id: Number.MAX_SAFE_INTEGER, method, params }),
        written: 0,
        vain: 0,
        waiting: true,
        deaf: () => undefined,
      };
      this.#flights.add(flight);
      flight.deaf = onAbort(signal, () => this.#settle(flight, () => reject(signal?.reason as Error)));
      if (this.#up && this.#life !== undefined) this.#ask(flight, this.#life);
    });
  }

  /** Whether there is a sidecar that answers. */
  get up(): boolean {
    return this.#up;
  }

  /** From here on no sidecar is started again. */
  parting(): void {
    this.#leaving = true;
  }

  /**
   * Ends the last life in order. Resolves when the sidecar has said all that it had to say, and its process has ended, unless it `stays` for
   * other clients.
   */
  async leave(stays: boolean): Promise<void> {
    this.parting();
    const life = this.#life;
    if (life !== undefined) {
      life.leave(stays);
      await life.ended;
    }
    this.#finish(new NotRunningError());
  }

  /** Ends everything at once. */
  abandon(error: TurnlaneError): void {
    this.#finish(error);
    this.#life?.kill();
  }

  /** Starts a process and makes it ready, or says why it is not. */
  async #live(): Promise<InitializeResult> {
    const life = this.#begin();
    this.#life = life;
    const again = this.#lives > 0;
    let info: InitializeResult;
    try {
      info = await this.#greet(life, again);
      await this.#keeper.restore(life, info, again);
    } catch (error) {
      // One that says what is wrong ends by itself, and writes that to its log.
      if (error instanceof RpcError) life.leave(false);
      else life.kill();
      const insist = setTimeout(() => life.kill(), PARTING_MS);
      const ending = await life.ended;
      clearTimeout(insist);
      throw error instanceof LifeOver ? this.#startFailed(ending) : error;
    }
    this.#lives += 1;
    [this.#written, this.#answered] = [0, 0];
    this.#kept = info.store !== ":memory:";
    this.#limits = info.limits;
    this.#up = true;
    this.#since = performance.now();
    void life.ended.then((ending) => this.#died(ending));
    for (const flight of [...this.#flights]) this.#ask(flight, life);
    return info;
  }

  /** Starts a process. What the system can't be given at all is told as what it did not start is. */
  #begin(): Sidecar {
    try {
      return new Sidecar(this.#command, this.#log, (method, params) => this.#keeper.heard(method, params));
    } catch (error) {
      throw new StartError(`${this.#command.binary} could not be run (${(error as Error).message})`, { cause: error });
    }
  }

  async #greet(life: Sidecar, again: boolean): Promise<InitializeResult> {
    const { binary } = this.#command;
    const update = "use versions of turnlane and of this package that belong together";
    let timer;
    const late = new Promise<never>((_, reject) => {
      const silent = new StartError(`${binary} did not answer within ${this.#startMs} ms: is it turnlane?`);
      timer = after(this.#startMs, () => reject(silent));
    });
    try {
      const info = await Promise.race([life.request("initialize", this.#keeper.hello(again)), late]);
      // The type is that of this version of the protocol; the program may be of another.
      const said = Object(info) as { protocolVersion?: unknown; serverInfo?: Partial<ServerInfo> };
      if (said.protocolVersion === PROTOCOL_VERSION) return info;
      const who = `${said.serverInfo?.name ?? "a program"} ${said.serverInfo?.version ?? "of no version"}`;
      throw new ProtocolMismatchError(
        `${binary} is ${who} and speaks version ${String(said.protocolVersion)} of the protocol; this client speaks ${PROTOCOL_VERSION}: ${update}`,
      );
    } catch (error) {
      if (error instanceof InvalidParamsError && error.data.field === "protocolVersion") {
        throw new ProtocolMismatchError(
          `${binary} says: ${error.message}; this client speaks ${PROTOCOL_VERSION}: ${update}`,
        );
      }
      if (error instanceof JsonRpcError) {
        throw new StartError(`${binary} does not know how to begin (${error.message}): is it turnlane?`, {
          cause: error,
        });
      }
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #startFailed(ending: Ending): StartError {
    const { binary } = this.#command;
    return new StartError(`${binary} ${ending.words}, before it answered`, { cause: ending.error });
  }

  #ask(flight: Flight, life: Sidecar): void {
    const refused = tooMuch(flight.method, flight.shape, this.#limits);
    if (refused !== undefined) {
      this.#settle(flight, () => flight.reject(refused));
      return;
    }
    const params = paramsNow(flight, performance.now());
    flight.times += 1;
    flight.written = this.#written += 1;
    flight.waiting = false;
    void life.request(flight.method, params as never, flight.signal).then(
      (result) => {
        this.#vain = 0;
        this.#answered = Math.max(this.#answered, flight.written);
        if (!this.#settle(flight, () => flight.resolve(result))) this.#late(flight, result);
      },
      (error: unknown) => this.#failed(flight, error),
    );
  }

  /** Who asked has given up, and the answer came all the same: what it took is given back. */
  #late(flight: Flight, result: Methods[keyof Methods]["result"]): void {
    if (flight.method !== "drain" || this.#over !== undefined) return;
    const { deliveryId } = result as Methods["drain"]["result"];
    if (deliveryId === undefined) return;
    this.request("drain/release", { deliveryId }).catch((error: unknown) =>
      this.#log.debug(`an unwanted delivery: ${String(error)}`),
    );
  }

  #failed(flight: Flight, error: unknown): void {
    // Its end has been noticed, or will be: there it is asked again, or told.
    if (error instanceof LifeOver) return;
    const done = doneBefore(flight, error);
    if (done !== undefined) {
      this.#settle(flight, () => flight.resolve(done));
      return;
    }
    if (error instanceof OwnerLostError && flight.times < OWNERS && this.#order.mayRepeat(flight)) {
      flight.waiting = true;
      this.#log.debug(`${flight.method}: the store's owner is gone; it is asked again`);
      this.#retry ??= setTimeout(() => this.#again(), BACKOFF_MS);
      return;
    }
    if (!(error instanceof ShuttingDownError)) this.#vain = 0;
    this.#answered = Math.max(this.#answered, flight.written);
    this.#settle(flight, () => flight.reject(error));
  }

  /** Brings a request to its end, unless it has one. */
  #settle(flight: Flight, how: () => void): boolean {
    if (!this.#flights.delete(flight)) return false;
    flight.deaf();
    how();
    return true;
  }

  /** Asks what waits, in its order. */
  #again(): void {
    this.#retry = undefined;
    if (!this.#up || this.#life === undefined) return;
    for (const flight of [...this.#flights]) {
      if (!flight.waiting) continue;
      if (flight.times === 0 || this.#order.mayRepeat(flight)) this.#ask(flight, this.#life);
      else this.#unknown(flight, "the process that held the store is gone");
    }
  }

  #unknown(flight: Flight, why: string): void {
    const message = `${why}, and whether it did what ${flight.method} asked is not known: look, before you ask again`;
    this.#settle(flight, () => flight.reject(new ConnectionLostError(message)));
  }

  #died(ending: Ending): void {
    this.#up = false;
    if (this.#over !== undefined) return;
    if (this.#leaving) return this.#finish(new NotRunningError());
    const full = performance.now() - this.#since > FULL_LIFE_MS;
    if (full) this.#vain = 0;
    this.#keeper.lost();
    for (const flight of [...this.#flights]) {
      if (!flight.waiting) flight.vain = full || flight.written < this.#answered ? 0 : flight.vain + 1;
      flight.waiting = true;
      const often = flight.vain >= VAIN_LIVES;
      if (flight.times > 0 && (often || !this.#order.mayRepeat(flight, this.#kept)))
        this.#unknown(flight, `turnlane ${ending.words}`);
    }
    // Status 0, or an end of its output alone, is an orderly stop that this client did not ask for.
    if (ending.signal === undefined && (ending.code ?? 0) === 0) {
      return this.#finish(
        new StoppedError("turnlane was stopped by somebody else: spawn another client when it is to run again"),
      );
    }
    if (!this.#restarts) return this.#finish(new ConnectionLostError(`turnlane ${ending.words}`));
    this.#log.warn(`turnlane ${ending.words}; it is started again`);
    void this.#revive();
  }

  async #revive(): Promise<void> {
    for (;;) {
      this.#vain += 1;
      if (this.#vain > 1) {
        const pause = Math.min(BACKOFF_MS * 2 ** (this.#vain - 2), BACKOFF_MAX_MS);
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
      if (this.#leaving || this.#over !== undefined) return;
      try {
        await this.#live();
        return;
      } catch (error) {
        this.#log.error(`turnlane does not come up again: ${String(error)}`);
        if (error instanceof ProtocolMismatchError || this.#vain >= VAIN_LIVES) {
          const why = `turnlane died and does not come up again: ${(error as Error).message}`;
          this.#finish(error instanceof RpcError ? error : new ConnectionLostError(why, { cause: error }));
          return;
        }
      }
    }
  }

  /** The end of everything: each waiter is told why. */
  #finish(error: TurnlaneError): void {
    if (this.#over !== undefined) return;
    this.#over = error;
    clearTimeout(this.#retry);
    for (const flight of [...this.#flights]) this.#settle(flight, () => flight.reject(error));
    this.#keeper.over(error);
  }
}
