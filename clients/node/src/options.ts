import type { PermissionHandler, RunListeners } from "./live.js";
import type { LineSink, Logger } from "./log.js";
import type { DrainParams, PromptParams, SessionOpenParams, Sessions, WakeParams } from "./protocol.js";

/** How a sidecar is started and kept. All of it is optional. */
export interface SpawnOptions {
  /** The program: a path, or a name that is on the PATH. Default: what `TURNLANE_BIN` names, else `turnlane` on the PATH. */
  binary?: string;
  /** The store's directory (`--store`); default that of `turnlane`. `:memory:` keeps nothing. */
  store?: string;
  /** The configuration file (`--config`). */
  config?: string;
  /** The agent of sessions that are opened without one, also by a prompt (`--default-agent`). */
  defaultAgent?: string;
  /** What an accepted run survives: `full` the machine's death, `relaxed` the process's (`--durability`). */
  durability?: "full" | "relaxed";
  /** What becomes of runs under way when the last client has gone (`--on-last-disconnect`); default `stop`. */
  onLastDisconnect?: "stop" | "finish";
  /** What the sidecar says on its standard error, and so to the logger (`--log-level`); default `warn`. */
  logLevel?: string;
  /** Further arguments of `turnlane stdio`. */
  args?: readonly string[];
  /** The sidecar's working directory, which is the default one of sessions. */
  cwd?: string;
  /** Variables of the sidecar's environment beside those of this process; `undefined` takes one away. */
  env?: Record<string, string | undefined>;
  /** Who this client is, for others to see. */
  clientInfo?: { name: string; version: string };
  /**
   * A cursor that was kept: every durable event after it is told again, first of all, to the first `events()`. `info.resumed` is false when it is
   * not known any more: then nothing is told again.
   */
  resumeFrom?: string;
  /** The sessions that are heard of from the beginning; default none, with `resumeFrom` all. */
  sessions?: Sessions;
  /** Answers the questions of agents, unless a prompt brings a callback of its own. */
  onPermission?: PermissionHandler;
  /** Where remarks and the sidecar's standard error go: `console`, a `LogOutputChannel` or an `OutputChannel` of VS Code. Default nowhere. */
  logger?: Logger | LineSink;
  /** Whether a sidecar that died is started again; default yes. */
  restart?: boolean;
  /** Milliseconds that a sidecar may take to answer for the first time; default 30,000. */
  startTimeoutMs?: number;
  /** Gives the start up. */
  signal?: AbortSignal;
}

/** For any request. */
export interface CallOptions {
  /** Gives the request up, and rejects with the signal's reason. What it waited for goes on. */
  signal?: AbortSignal;
}

/** How a prompt is run. */
export interface PromptOptions extends Omit<PromptParams, "sessionId" | "prompt">, RunListeners, CallOptions {}

/** What a session is to be. */
export interface OpenOptions extends Omit<SessionOpenParams, "sessionId">, CallOptions {}

/** What a wake is for, beside its reason. */
export interface WakeOptions extends Omit<WakeParams, "sessionId" | "reason">, CallOptions {}

/** What of an inbox is taken, and how it is held. */
export interface DrainOptions extends Omit<DrainParams, "sessionId">, CallOptions {
  /** Whether the lease is extended for as long as the batch is held; default yes. */
  extend?: boolean;
}

/** How a client leaves. */
export interface CloseOptions {
  /** What becomes of runs under way when this is the last client; default `stop`. */
  mode?: "stop" | "finish";
  /** Milliseconds that this may take; default turnlane's limits. */
  timeoutMs?: number;
  /** Whether it stops for every client, not only this one; default no. */
  everyone?: boolean;
}
