import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";
import {
  CancellationTokenSource,
  createMessageConnection,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
  type DataCallback,
  type Disposable,
  type Message,
  type MessageConnection,
} from "vscode-jsonrpc/node";
import { onAbort } from "./abort.js";
import { rpcError } from "./errors.js";
import type { Logger } from "./log.js";
import type { Methods, Notifications } from "./protocol.js";

/** Lines of the sidecar's standard error that an error message repeats. */
const LAST_WORDS = 5;
/** Milliseconds that a process may take to end after its output has: one that stays for other clients does not end. */
const PARTING_MS = 5000;
/** Turns of the event loop without a further message after which everything that was read has been dealt with. */
const QUIET_TURNS = 4;

/** How a sidecar's process is started. */
export interface Command {
  binary: string;
  args: string[];
  cwd?: string;
  env?: Record<string, string | undefined>;
}

/** How a life of the sidecar ended. */
export interface Ending {
  /** Its exit status; absent if a signal ended it, it was not started at all, or it lives on for others. */
  code?: number;
  /** The signal that ended it. */
  signal?: string;
  /** Why it could not be started. */
  error?: Error;
  /** For a person: how it ended and what it said last. */
  words: string;
}

/** Takes every notification, in order. */
export type Listener = <M extends keyof Notifications>(method: M, params: Notifications[M]) => void;

/** A request that this life has not answered and will not: it is over. */
export class LifeOver extends Error {}

/** Counts what was read, so that the end of the stream can wait until all of it has been dealt with. */
class CountingReader extends StreamMessageReader {
  arrived = 0;

  override listen(callback: DataCallback): Disposable {
    return super.listen((message) => {
      this.arrived += 1;
      callback(message);
    });
  }
}

/** One process of turnlane, from its start to its end, and the connection over its pipes. */
export class Sidecar {
  /** When it has ended and everything that it said has been dealt with. It never rejects. */
  readonly ended: Promise<Ending>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #connection: MessageConnection;
  readonly #reader: CountingReader;
  readonly #said: string[] = [];
  #handled = 0;
  #stays = false;
  #closed = false;

  constructor(command: Command, log: Required<Logger>, listener: Listener) {
    // A group of its own: an interrupt typed at the client's terminal is the client's to deal with.
    this.#child = spawn(command.binary, command.args, {
      cwd: command.cwd,
      env: { ...process.env, ...command.env },
      stdio: "pipe",
      detached: process.platform !== "win32",
      windowsHide: true,
    });
    // Always read, whoever looks at it.
    createInterface(this.#child.stderr).on("line", (line) => {
      this.#said.push(line);
      if (this.#said.length > LAST_WORDS) this.#said.shift();
      log.warn(`turnlane: ${line}`);
    });
    this.#reader = new CountingReader(this.#child.stdout);
    // Half a message is for as long as its life lasts, and no reason for a timer that keeps the program from ending.
    this.#reader.partialMessageTimeout = 0;
    const quiet = { error: log.debug, warn: log.debug, info: log.debug, log: log.debug };
    this.#connection = createMessageConnection(this.#reader, new StreamMessageWriter(this.#child.stdin), quiet, {
      messageStrategy: {
        handleMessage: (message: Message, next: (message: Message) => void) => {
          this.#handled += 1;
          next(message);
        },
      },
    });
    this.#connection.onClose(() => (this.#closed = true));
    this.#connection.onError(([error]) => log.debug(`the connection: ${error.message}`));
    this.#connection.onNotification((method: string, params: unknown) => {
      // What a notification holds is as the schema says; methods of a later version are nobody's here.
      (listener as (method: string, params: unknown) => void)(method, params);
    });
    this.ended = this.#end();
    this.#connection.listen();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Asks; rejects with the error that was answered, or with `LifeOver`. An abort only gives the request up: its answer still comes. */
  async request<M extends keyof Methods>(
    method: M,
    params: Methods[M]["params"],
    signal?: AbortSignal,
  ): Promise<Methods[M]["result"]> {
    const giveUp = new CancellationTokenSource();
    if (signal?.aborted) giveUp.cancel();
    // A connection that is closed can't be told, and the library would complain.
    const deaf = onAbort(signal, () => {
      if (!this.#closed) giveUp.cancel();
    });
    try {
      return await this.#connection.sendRequest<Methods[M]["result"]>(method, params ?? undefined, giveUp.token);
    } catch (error) {
      // The library's own failures are those of the pipe.
      const own = error instanceof ResponseError && !(error.code <= -32090 && error.code >= -32099);
      throw own ? rpcError(error.code, error.message, error.data) : new LifeOver(String(error));
    } finally {
      deaf();
    }
  }

  /** The client's leave. The process ends by itself, unless other clients still need it (`stays`): then its end is not waited for. */
  leave(stays: boolean): void {
    this.#stays = stays;
    // The end of its input alone is the leave; the word makes it one that nobody can take for a crash of the client's.
    const said = async () => this.#connection.sendNotification("exit");
    void said()
      .catch(() => undefined)
      .finally(() => this.#child.stdin.end());
  }

  /** Ends it at once, as a crash would, with whatever else is in its group: a program that only starts another one is not what holds the pipes. */
  kill(): void {
    const { pid } = this.#child;
    // It was never started, and that number is nobody's.
    if (pid === undefined) return;
    // Once it is gone and waited for, its number may be somebody else's.
    const gone = this.#child.exitCode !== null || this.#child.signalCode !== null;
    try {
      if (process.platform === "win32") this.#child.kill("SIGKILL");
      else if (!gone) process.kill(-pid, "SIGKILL");
    } catch {
      // All of it has ended.
    }
    this.#child.stdout.destroy();
  }

  /** Resolves when everything that it said has been dealt with; what remains then is thrown away unread. */
  async #drained(): Promise<void> {
    let seen = -1;
    for (let turns = 0; turns < QUIET_TURNS;) {
      await new Promise((resolve) => setImmediate(resolve));
      const now = this.#reader.arrived + this.#handled;
      turns = now === seen && this.#reader.arrived === this.#handled ? turns + 1 : 0;
      seen = now;
    }
    this.#connection.dispose();
    this.#reader.dispose();
  }

  async #end(): Promise<Ending> {
    const child = this.#child;
    const ending: Partial<Ending> = {};
    const silent = new Promise((resolve) => child.stderr.once("close", resolve));
    const exited = new Promise<void>((resolve) => {
      child.once("exit", (code, signal) => {
        if (code !== null) ending.code = code;
        if (signal !== null) ending.signal = signal;
        resolve();
      });
      child.on("error", (error) => {
        ending.error ??= error;
        resolve();
      });
    });
    child.stdin.on("error", () => undefined);
    await new Promise((resolve) => child.stdout.once("close", resolve));
    if (!this.#stays) {
      let timer;
      await Promise.race([
        Promise.all([exited, silent]),
        new Promise((resolve) => (timer = setTimeout(resolve, PARTING_MS))),
      ]);
      clearTimeout(timer);
    }
    // A process that lives on for others is no reason for this one to.
    child.stdin.destroy();
    child.stderr.destroy();
    child.unref();
    await this.#drained();
    return { ...ending, words: this.#words(ending) };
  }

  #words({ code, signal, error }: Partial<Ending>): string {
    const status =
      code === undefined ? (signal === undefined ? "left" : `was ended by ${signal}`) : `ended with status ${code}`;
    const how = error === undefined ? status : `could not be run (${error.message})`;
    return this.#said.length === 0 ? how : `${how}; its last words: ${this.#said.join(" | ")}`;
  }
}
