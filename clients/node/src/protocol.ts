// Generated from schema/turnlane.schema.json by `npm run generate`. Not to be edited.

/**
 * How what is taken is acknowledged.
 */
export type AckMode = "manual" | "auto";
/**
 * How `session/open` names an agent: by name, or described.
 */
export type Agent = string | AgentDescription;
export type AgentKind = "acp" | "command" | "script" | "shell";
export type AgentSource = "builtIn" | "preset" | "configured";
/**
 * The word `all`.
 */
export type AllSessions = "all";
/**
 * Which of a session's runs a cancel covers.
 */
export type CancelScope = "all" | "queued";
export type CancelledFrom = "queued" | "starting" | "active" | "parked" | "stopping" | "ended" | "folded";
/**
 * A completion as an event: it has its `cursor`.
 */
export type CompletionEvent = Completion & Required<Pick<Completion, "cursor">>;
/**
 * A content block as in the Agent Client Protocol. Other fields of a block are handed on.
 */
export type ContentBlock =
  | {
      /**
       * What is said.
       */
      text: string;
      type: "text";
    }
  | {
      /**
       * In base64.
       */
      data: string;
      /**
       * Its media type.
       */
      mimeType: string;
      type: "image";
    }
  | {
      /**
       * In base64.
       */
      data: string;
      /**
       * Its media type.
       */
      mimeType: string;
      type: "audio";
    }
  | {
      /**
       * What it is called.
       */
      name: string;
      type: "resource_link";
      /**
       * Where it is.
       */
      uri: string;
    }
  | {
      /**
       * Its content, as in the Agent Client Protocol.
       */
      resource: {
        [k: string]: unknown;
      };
      type: "resource";
    };
export type ConversationBegun = "new" | "loaded" | "resumed";
export type DeadLetterWhy = "maxAttempts" | "parentPurged" | "parentAbsent";
/**
 * What an accepted run survives.
 */
export type Durability = "full" | "relaxed";
export type FailKind = "agent" | "refused" | "limit" | "start" | "incompleteInput" | "exitStatus";
export type FileAccess = "cwd" | "read" | "none";
export type IfBusy = "queue" | "reject" | "interrupt" | "steer";
export type Keep = "all" | "latestPerChild";
export type OnCompletion = "hold" | "wake" | "lastChild";
export type OnStall = "notify" | "cancel";
export type Outcome = "completed" | "failed" | "cancelled" | "timedOut" | "exited" | "interrupted" | "folded";
/**
 * A piece of a run's output.
 */
export type OutputChunk =
  | {
      /**
       * Of an update: where what follows begins.
       */
      next?: number;
      /**
       * Where it begins, in raw bytes of the run's output, all streams together.
       */
      offset: number;
      /**
       * Which stream.
       */
      stream: Stream;
      text: string;
    }
  | {
      /**
       * Of an update: where what follows begins.
       */
      next?: number;
      /**
       * Where it begins, in raw bytes of the run's output, all streams together.
       */
      offset: number;
      /**
       * Which stream.
       */
      stream: Stream;
      base64: string;
    }
  | {
      /**
       * Of an update: where what follows begins.
       */
      next?: number;
      /**
       * Where it begins, in raw bytes of the run's output, all streams together.
       */
      offset: number;
      /**
       * Which stream.
       */
      stream: Stream;
      update: {
        [k: string]: unknown;
      };
    };
/**
 * What an option of a permission request does.
 */
export type PermissionOptionKind = "allow" | "reject";
export type PermissionPolicy = "ask" | "allow" | "deny";
/**
 * What is asked of an agent: a text, or content blocks as in the Agent Client Protocol.
 */
export type PromptContent = string | ContentBlock[];
export type PromptInput = "stdin" | "argument";
export type Reason =
  "client" | "superseded" | "shutdown" | "sessionClosed" | "recover" | "stalled" | "agent" | "wake" | "nothingPending";
/**
 * What becomes of runs that are found queued when a session of an earlier life is opened.
 */
export type Recover = "run" | "cancel";
/**
 * A client's id of a request: any string or number, at most 256 bytes as written; echoed unchanged.
 */
export type RequestId = string | number;
/**
 * Whether the process that the client speaks to holds the store itself.
 */
export type Role = "owner" | "attached";
/**
 * the id of a run: 1 to 128 characters, no control characters, not `self`; compared byte for byte
 */
export type RunId = string;
export type RunKind = "prompt" | "wake";
/**
 * Where a list of runs goes on.
 */
export type RunListBefore = Seq | RunId;
/**
 * Content of `run/output`.
 */
export type RunOutput =
  | {
      /**
       * Output notifications that this connection missed before this one, since it read too slowly. Those that nothing follows are told by
       * one with an empty `text` whose `offset` is the end of the output.
       */
      dropped?: number;
      /**
       * Of an update: where what follows begins.
       */
      next?: number;
      /**
       * Where it begins, in raw bytes of the run's output, all streams together.
       */
      offset: number;
      /**
       * The run.
       */
      runId: RunId;
      /**
       * Its session.
       */
      sessionId: SessionId;
      /**
       * Which stream.
       */
      stream: Stream;
      text: string;
    }
  | {
      /**
       * Output notifications that this connection missed before this one, since it read too slowly. Those that nothing follows are told by
       * one with an empty `text` whose `offset` is the end of the output.
       */
      dropped?: number;
      /**
       * Of an update: where what follows begins.
       */
      next?: number;
      /**
       * Where it begins, in raw bytes of the run's output, all streams together.
       */
      offset: number;
      /**
       * The run.
       */
      runId: RunId;
      /**
       * Its session.
       */
      sessionId: SessionId;
      /**
       * Which stream.
       */
      stream: Stream;
      base64: string;
    }
  | {
      /**
       * Output notifications that this connection missed before this one, since it read too slowly. Those that nothing follows are told by
       * one with an empty `text` whose `offset` is the end of the output.
       */
      dropped?: number;
      /**
       * Of an update: where what follows begins.
       */
      next?: number;
      /**
       * Where it begins, in raw bytes of the run's output, all streams together.
       */
      offset: number;
      /**
       * The run.
       */
      runId: RunId;
      /**
       * Its session.
       */
      sessionId: SessionId;
      /**
       * Which stream.
       */
      stream: Stream;
      update: {
        [k: string]: unknown;
      };
    };
export type RunState = "queued" | "starting" | "active" | "parked" | "stopping" | "ended";
/**
 * the order of acceptance, store-wide, strictly rising
 */
export type Seq = number;
/**
 * How a session's agent is shown: its name, or its description without `env`.
 */
export type SessionAgent =
  | string
  | {
      [k: string]: unknown;
    };
/**
 * the id of a session: 1 to 128 characters, no control characters, not `self`; compared byte for byte
 */
export type SessionId = string;
export type SessionState = "idle" | "starting" | "active" | "parked" | "stopping" | "dormant" | "closed";
/**
 * A set of sessions: `"all"`, or a list of ids.
 */
export type Sessions = AllSessions | SessionId[];
/**
 * A stored prompt as it is shown.
 */
export type ShownPrompt =
  | string
  | {
      [k: string]: unknown;
    }[];
/**
 * What a shutdown does to runs under way.
 */
export type ShutdownMode = "stop" | "finish";
export type StopSignal = "SIGTERM" | "SIGINT" | "SIGHUP" | "SIGQUIT" | "SIGUSR1" | "SIGUSR2";
/**
 * Where output came from.
 */
export type Stream = "stdout" | "stderr";
/**
 * milliseconds since 1970 by the wall clock; informative
 */
export type Time = number;
/**
 * What a wait for a session is for.
 */
export type Until = "idle" | "settled";
/**
 * Which runs a wait needs.
 */
export type WaitMode = "all" | "any" | "atLeast";
export type WakeIfBusy = "queue" | "skip" | "interruptIfParked";
export type WakeSkip =
  "sessionBusy" | "nothingPending" | "budgetExhausted" | "coolingDown" | "sessionClosed" | "sessionDormant";
/**
 * What a wake came to.
 */
export type WakeStatus = "started" | "queued" | "coalesced" | "scheduled" | "cancelled" | "skipped";

/**
 * Every method, with its parameters and its result.
 */
export interface Methods {
  /**
   * Says who is there and what is served; at most once.
   */
  initialize: {
    params: InitializeParams | null;
    result: InitializeResult;
  };
  /**
   * This client's leave, with what becomes of runs under way.
   */
  shutdown: {
    params: ShutdownParams | null;
    result: ShutdownResult;
  };
  /**
   * Ends the connection.
   */
  exit: {
    params: NoParams | null;
    result: null;
  };
  /**
   * Accepts a run. The answer comes when the run is on disk, not when it ends.
   */
  prompt: {
    params: PromptParams;
    result: PromptResult;
  };
  /**
   * Cancels what a session has accepted so far, or one run.
   */
  cancel: {
    params: CancelParams;
    result: CancelResult;
  };
  /**
   * Waits until runs have ended.
   */
  "run/wait": {
    params: RunWaitParams;
    result: RunWaitResult;
  };
  /**
   * A run's record.
   */
  "run/get": {
    params: RunGetParams;
    result: RunRecord;
  };
  /**
   * Records of runs, newest first.
   */
  "run/list": {
    params: RunListParams | null;
    result: RunListResult;
  };
  /**
   * What a live run has said, from an offset.
   */
  "run/output": {
    params: RunOutputParams;
    result: RunOutputResult;
  };
  /**
   * Types into a run's terminal, or sets its size.
   */
  "run/input": {
    params: RunInputParams;
    result: null;
  };
  /**
   * Opens a session, or changes one that is open.
   */
  "session/open": {
    params: SessionOpenParams | null;
    result: SessionOpenResult;
  };
  /**
   * Closes a session. The answer comes when its processes are gone.
   */
  "session/close": {
    params: SessionCloseParams;
    result: SessionCloseResult;
  };
  /**
   * A session's record.
   */
  "session/get": {
    params: SessionGetParams;
    result: SessionRecord;
  };
  /**
   * Records of sessions, by id.
   */
  "session/list": {
    params: SessionListParams | null;
    result: SessionListResult;
  };
  /**
   * Waits until a session is idle or settled.
   */
  "session/wait": {
    params: SessionWaitParams;
    result: SessionWaitResult;
  };
  /**
   * Takes completions from an inbox, under a lease.
   */
  drain: {
    params: DrainParams;
    result: DrainResult;
  };
  /**
   * Settles what was delivered: it is taken care of, and never offered again.
   */
  "drain/ack": {
    params: DeliveryParams;
    result: AckResult;
  };
  /**
   * Gives back what was delivered: it is offered again, at once.
   */
  "drain/release": {
    params: DeliveryParams;
    result: ReleaseResult;
  };
  /**
   * Holds what was delivered for longer.
   */
  "drain/extend": {
    params: ExtendParams;
    result: ExtendResult;
  };
  /**
   * What an inbox holds. Nothing is taken.
   */
  "inbox/peek": {
    params: PeekParams;
    result: PeekResult;
  };
  /**
   * The completions that nobody took.
   */
  "deadLetter/list": {
    params: DeadLetterListParams | null;
    result: DeadLetterListResult;
  };
  /**
   * Puts dead letters back into an inbox.
   */
  "deadLetter/retry": {
    params: DeadLetterRetryParams;
    result: DeadLetterRetryResult;
  };
  /**
   * Removes dead letters for good.
   */
  "deadLetter/purge": {
    params: DeadLetterPurgeParams;
    result: DeadLetterPurgeResult;
  };
  /**
   * Lets a session look at its inbox, or at a reason, without a person typing.
   */
  wake: {
    params: WakeParams;
    result: WakeResult;
  };
  /**
   * Answers a permission request. The first answer counts.
   */
  "permission/respond": {
    params: PermissionRespondParams;
    result: null;
  };
  /**
   * Chooses what this connection hears of.
   */
  subscribe: {
    params: SubscribeParams;
    result: null;
  };
  /**
   * Durable events after a cursor.
   */
  "events/replay": {
    params: EventsReplayParams;
    result: EventsReplayResult;
  };
  /**
   * The agents that can be named.
   */
  "agent/list": {
    params: NoParams | null;
    result: AgentListResult;
  };
  /**
   * What the process that the client speaks to is doing.
   */
  stats: {
    params: NoParams | null;
    result: StatsResult;
  };
  /**
   * Gives up a request that waits: it is answered with -32800, and nothing was taken.
   */
  "$/cancelRequest": {
    params: GiveUpParams;
    result: null;
  };
}
/**
 * The answer to `drain/ack`: each run that was named, in one of the lists.
 */
export interface AckResult {
  /**
   * In no inbox any more, and nobody settled it: it was purged, or is a dead letter.
   */
  gone: RunId[];
  /**
   * Held by a newer delivery: whoever has that one settles it.
   */
  held: RunId[];
  /**
   * Settled, now or before.
   */
  settled: RunId[];
}
/**
 * An agent as described inline. The configuration has the same words in snake_case.
 */
export interface AgentDescription {
  /**
   * The way in which an `acp` agent authenticates, by its own name for it; default none: it is expected to be logged in.
   */
  authMethod?: string | null;
  /**
   * Program and arguments of a `command` or an `acp` agent.
   *
   * @minItems 1
   */
  command?: string[] | null;
  /**
   * Working directory, absolute, instead of the session's.
   */
  cwd?: string | null;
  /**
   * Variables set for the agent, over those of the session. Never written to disk.
   */
  env?: {
    [k: string]: string;
  } | null;
  /**
   * Which files turnlane serves to an `acp` agent: those below its session's directory (`cwd`, default), to read only, or none.
   */
  fileAccess?: FileAccess | null;
  /**
   * Milliseconds between asking a run to stop and killing its processes; default `limits.graceMs`.
   */
  graceMs?: number | null;
  /**
   * Milliseconds that its unused process is kept; default `limits.idleStopMs`. Not for a `shell`, which is never stopped.
   */
  idleStopMs?: number | null;
  /**
   * How a command gets its prompt; default `argument` where `{prompt}` stands in its arguments, else `stdin`.
   */
  input?: PromptInput | null;
  /**
   * What kind of agent: `acp`, `command`, `shell` or `script`.
   */
  kind: AgentKind;
  /**
   * The mode in which an `acp` agent begins, by its own name for it.
   */
  mode?: string | null;
  /**
   * The model that an `acp` agent uses, by its own name for it.
   */
  model?: string | null;
  /**
   * What a stall does; default `notify`.
   */
  onStall?: OnStall | null;
  /**
   * What a permission request does; default `ask`.
   */
  permissions?: PermissionPolicy | null;
  /**
   * Whether prose may be sent to it; default: what its input suggests. Always true for `acp` and `script`, never for `shell`.
   */
  prose?: boolean | null;
  /**
   * Whether a `shell` reads its startup files; default no.
   */
  rc?: boolean | null;
  /**
   * Whether what a `shell`'s runs write is recorded, one asciicast v2 file a run; default no.
   */
  record?: boolean | null;
  /**
   * Whether one process of an `acp` agent serves all its sessions; default no: one process a session.
   */
  shared?: boolean | null;
  /**
   * The program of a `shell`: `bash`, `zsh`, `sh`, or the path of one; default `bash`.
   */
  shell?: string | null;
  /**
   * Milliseconds without a word that count as stalled; default never.
   */
  stallMs?: number | null;
  /**
   * Milliseconds that a run may take to start; default `limits.startMs`.
   */
  startMs?: number | null;
  /**
   * The signal that asks a `command` to stop; default `SIGTERM`.
   */
  stopSignal?: StopSignal | null;
  /**
   * Whether an `acp` agent may ask turnlane for terminals; default yes.
   */
  terminals?: boolean | null;
  /**
   * Which part of a `command`'s output is its text: `output` (default), `stdout`, `lastLine`, or `json:` and a JSON pointer.
   */
  textFrom?: string | null;
}
/**
 * An agent that can be named.
 */
export interface AgentInfo {
  /**
   * The program that drives its sessions and its arguments, cut short where they are long; only in `agent/list`.
   */
  command?: string[];
  /**
   * Whether it is the one for sessions that name none.
   */
  default: boolean;
  /**
   * What kind of agent it is.
   */
  kind: AgentKind;
  /**
   * Its name.
   */
  name: string;
  /**
   * Whether prose may be sent to it.
   */
  prose: boolean;
  /**
   * Whether it is built in, known without configuration (its program may not be installed), or configured.
   */
  source: AgentSource;
  /**
   * Whether a run under way can take further text.
   */
  steers: boolean;
}
/**
 * The answer to `agent/list`.
 */
export interface AgentListResult {
  /**
   * The agents that can be named, as many as fit in a line.
   */
  agents: AgentInfo[];
  /**
   * Whether there are more.
   */
  more: boolean;
}
/**
 * Parameters of `cancel`: exactly one of `sessionId` and `runId`.
 */
export interface CancelParams {
  /**
   * The one run that is cancelled.
   */
  runId?: RunId | null;
  /**
   * Which of them; default all. Only with `sessionId`.
   */
  scope?: CancelScope | null;
  /**
   * The session whose runs are cancelled, and whose wakes that are not due yet.
   */
  sessionId?: SessionId | null;
}
/**
 * The answer to `cancel`.
 */
export interface CancelResult {
  /**
   * The session's mark: every run at or below it is cancelled. Only where the whole session was.
   */
  mark?: Seq;
  /**
   * Present and true when `runs` is only a part.
   */
  more?: boolean;
  /**
   * What was cancelled, as many as fit in a line.
   */
  runs: CancelledRun[];
}
/**
 * A run that was cancelled.
 */
export interface CancelledRun {
  /**
   * The run.
   */
  runId: RunId;
  /**
   * The state it was in, or `folded`.
   */
  was: CancelledFrom;
}
/**
 * Who the client is; informative.
 */
export interface ClientInfo {
  /**
   * Its name.
   */
  name: string;
  /**
   * Its version.
   */
  version?: string | null;
}
/**
 * A completion: the durable record of an ended run.
 */
export interface Completion {
  /**
   * When it was accepted.
   */
  acceptedAt: Time;
  /**
   * From an inbox: which attempt it is.
   */
  attempt?: number;
  /**
   * In an event: its position in the durable log.
   */
  cursor?: string;
  /**
   * When it ended.
   */
  endedAt: Time;
  /**
   * What went wrong.
   */
  error?: RunError;
  /**
   * A process's exit code; 128 + n for signal n. An agent that is no shell or command and ended with 0 before it was done has none.
   */
  exitCode?: number;
  /**
   * The run that took this one's text.
   */
  into?: RunId;
  /**
   * What made the run.
   */
  kind: RunKind;
  /**
   * Whose inbox gets it.
   */
  notify?: SessionId;
  /**
   * How it ended.
   */
  outcome: Outcome;
  /**
   * Why, when it was cancelled.
   */
  reason?: Reason;
  /**
   * The run.
   */
  runId: RunId;
  /**
   * Its number in the order of acceptance.
   */
  seq: Seq;
  /**
   * Its session.
   */
  sessionId: SessionId;
  /**
   * When its agent was told to start; absent if it never was.
   */
  startedAt?: Time;
  /**
   * The agent's own word for its stop.
   */
  stopReason?: string;
  /**
   * From an inbox: what it took the place of.
   */
  superseded?: Superseded;
  /**
   * The agent's final answer, the last 32 KiB as encoded; empty for `interrupted`.
   */
  text: string;
  /**
   * Whether `text` is only a part.
   */
  truncated: boolean;
  /**
   * The agent's own account of what it used; `{truncated, bytes}` in place of one over 4 KiB.
   */
  usage?: unknown;
  /**
   * What made it and what it carried, if it was a wake.
   */
  wake?: WakeFacts;
}
/**
 * What an agent keeps for a session over its own restarts: its own session.
 */
export interface Conversation {
  /**
   * How it began in the process that has it now: with nothing said, read again from where the agent keeps it, or gone on with.
   */
  begun: ConversationBegun;
  /**
   * The agent's name for it, cut at 1 KiB.
   */
  id: string;
  /**
   * Why the one before it could not be gone on with, if there was one.
   */
  lost?: string;
}
/**
 * A dead letter: the completion, and why nobody has it.
 */
export interface DeadLetter {
  /**
   * When it was accepted.
   */
  acceptedAt: Time;
  /**
   * Since when.
   */
  at: Time;
  /**
   * From an inbox: which attempt it is.
   */
  attempt?: number;
  /**
   * How often it was offered.
   */
  attempts: number;
  /**
   * In an event: its position in the durable log.
   */
  cursor?: string;
  /**
   * When it ended.
   */
  endedAt: Time;
  /**
   * What went wrong.
   */
  error?: RunError;
  /**
   * A process's exit code; 128 + n for signal n. An agent that is no shell or command and ended with 0 before it was done has none.
   */
  exitCode?: number;
  /**
   * The run that took this one's text.
   */
  into?: RunId;
  /**
   * What made the run.
   */
  kind: RunKind;
  /**
   * Whose inbox gets it.
   */
  notify?: SessionId;
  /**
   * How it ended.
   */
  outcome: Outcome;
  /**
   * The inbox that it was in, or was for.
   */
  parent: SessionId;
  /**
   * Why, when it was cancelled.
   */
  reason?: Reason;
  /**
   * The run.
   */
  runId: RunId;
  /**
   * Its number in the order of acceptance.
   */
  seq: Seq;
  /**
   * Its session.
   */
  sessionId: SessionId;
  /**
   * When its agent was told to start; absent if it never was.
   */
  startedAt?: Time;
  /**
   * The agent's own word for its stop.
   */
  stopReason?: string;
  /**
   * From an inbox: what it took the place of.
   */
  superseded?: Superseded;
  /**
   * The agent's final answer, the last 32 KiB as encoded; empty for `interrupted`.
   */
  text: string;
  /**
   * Whether `text` is only a part.
   */
  truncated: boolean;
  /**
   * The agent's own account of what it used; `{truncated, bytes}` in place of one over 4 KiB.
   */
  usage?: unknown;
  /**
   * What made it and what it carried, if it was a wake.
   */
  wake?: WakeFacts;
  /**
   * Why it is here.
   */
  why: DeadLetterWhy;
}
/**
 * Content of `deadLetter/added`.
 */
export interface DeadLetterAdded {
  /**
   * Its position in the durable log.
   */
  cursor: string;
  /**
   * The inbox that it was in, or was for.
   */
  parent: SessionId;
  /**
   * Whose completion.
   */
  runId: RunId;
  /**
   * Why.
   */
  why: DeadLetterWhy;
}
/**
 * Parameters of `deadLetter/list`.
 */
export interface DeadLetterListParams {
  /**
   * Where to go on: `next` of the page before.
   */
  after?: string | null;
  /**
   * At most so many; default and most `limits.list`.
   */
  limit?: number | null;
  /**
   * Only those that were for this session's inbox.
   */
  parent?: SessionId | null;
}
/**
 * The answer to `deadLetter/list`.
 */
export interface DeadLetterListResult {
  /**
   * In the order in which their runs ended, as many as were asked for and fit in a line.
   */
  deadLetters: DeadLetter[];
  /**
   * Whether there are more: ask again with `after`.
   */
  more: boolean;
  /**
   * With `more`: what `after` is then.
   */
  next?: string;
}
/**
 * Parameters of `deadLetter/purge`: exactly one of `runIds` and `all`.
 */
export interface DeadLetterPurgeParams {
  /**
   * True: all that there are.
   */
  all?: true | null;
  /**
   * The runs whose dead letters are meant; duplicates count once.
   *
   * @minItems 1
   */
  runIds?: RunId[] | null;
}
/**
 * The answer to `deadLetter/purge`. The runs themselves stay until they are past their retention.
 */
export interface DeadLetterPurgeResult {
  /**
   * Present and true when that is only a part of what was meant: ask again for the rest.
   */
  more?: boolean;
  /**
   * What is gone for good.
   */
  purged: RunId[];
}
/**
 * Parameters of `deadLetter/retry`: exactly one of `runIds` and `all`.
 */
export interface DeadLetterRetryParams {
  /**
   * True: all that there are.
   */
  all?: true | null;
  /**
   * Into this session's inbox; default the one that each was for.
   */
  parent?: SessionId | null;
  /**
   * The runs whose dead letters are meant; duplicates count once.
   *
   * @minItems 1
   */
  runIds?: RunId[] | null;
}
/**
 * The answer to `deadLetter/retry`.
 */
export interface DeadLetterRetryResult {
  /**
   * Present and true when that is only a part of what was meant: ask again for the rest.
   */
  more?: boolean;
  /**
   * What is back in an inbox.
   */
  retried: RunId[];
}
/**
 * Parameters of `drain/ack` and `drain/release`.
 */
export interface DeliveryParams {
  /**
   * The delivery.
   */
  deliveryId: string;
  /**
   * Which of its runs; default all. Duplicates count once.
   *
   * @minItems 1
   */
  runIds?: RunId[] | null;
}
/**
 * Parameters of `drain`.
 */
export interface DrainParams {
  /**
   * How what is taken is acknowledged; default `manual`.
   */
  ack?: AckMode | null;
  /**
   * Milliseconds that they are held, at most a day; default `limits.leaseMs`.
   */
  leaseMs?: number | null;
  /**
   * At most so many; default 100, most `limits.drain`.
   */
  max?: number | null;
  /**
   * Whose inbox.
   */
  sessionId: SessionId;
  /**
   * Waits until so many of these runs have ended, acknowledged or not, and takes what of them is pending; of others nothing.
   */
  until?: RunGroup | null;
  /**
   * Milliseconds to wait while there is nothing to take; 0 looks once. Default 0; with `until`, no limit of time.
   */
  waitMs?: number | null;
}
/**
 * The answer to `drain`.
 */
export interface DrainResult {
  /**
   * What was taken, oldest first.
   */
  completions: Completion[];
  /**
   * What they are acknowledged by; absent when nothing was taken.
   */
  deliveryId?: string;
  /**
   * Until when they are held; absent when nothing is, since it was settled at once.
   */
  expiresAt?: Time;
  /**
   * Completions that others hold.
   */
  leased: number;
  /**
   * Whether it was cut short since a line holds no more: drain again.
   */
  more: boolean;
  /**
   * Completions that another drain could take now.
   */
  remaining: number;
  /**
   * Present and true when it waited and the time was over first.
   */
  timedOut?: boolean;
}
/**
 * A durable event, as its notification had it.
 */
export interface Event {
  /**
   * The notification's method: `run/completed` or `deadLetter/added`.
   */
  method: "run/completed" | "deadLetter/added";
  /**
   * The notification's content.
   */
  params: CompletionEvent | DeadLetterAdded;
}
/**
 * Parameters of `events/replay`.
 */
export interface EventsReplayParams {
  /**
   * The cursor after which events are wanted.
   */
  after: string;
  /**
   * At most so many; default and most `limits.list`.
   */
  limit?: number | null;
}
/**
 * The answer to `events/replay`.
 */
export interface EventsReplayResult {
  /**
   * The cursor after the last of them: where to go on.
   */
  cursor: string;
  /**
   * The events, in order.
   */
  events: Event[];
  /**
   * Whether there are more.
   */
  more: boolean;
}
/**
 * Parameters of `drain/extend`.
 */
export interface ExtendParams {
  /**
   * The delivery.
   */
  deliveryId: string;
  /**
   * Milliseconds from now, at most a day.
   */
  leaseMs: number;
}
/**
 * The answer to `drain/extend`.
 */
export interface ExtendResult {
  /**
   * Until when it is held.
   */
  expiresAt: Time;
}
/**
 * Parameters of `$/cancelRequest`.
 */
export interface GiveUpParams {
  id: RequestId;
}
/**
 * A rhythm in which a session is woken.
 */
export interface HeartbeatPolicy {
  /**
   * Milliseconds from beat to beat.
   */
  everyMs: number;
  /**
   * Whether a beat that finds the inbox empty passes; default no.
   */
  onlyIfPending?: boolean | null;
  /**
   * What its agent is told to do, at most 32 KiB. Where its agent reads no prose, this is the command, and needed.
   */
  prompt?: string | null;
}
/**
 * In which rhythm a session is woken.
 */
export interface HeartbeatShown {
  /**
   * Milliseconds from beat to beat.
   */
  everyMs: number;
  /**
   * Whether a beat that finds the inbox empty passes.
   */
  onlyIfPending: boolean;
  /**
   * What its agent is told to do; cut at 4 KiB.
   */
  prompt?: string;
  /**
   * Present and true when `prompt` is only a part.
   */
  promptTruncated?: boolean;
}
/**
 * What a session's inbox holds.
 */
export interface Inbox {
  /**
   * Completions that somebody holds.
   */
  leased: number;
  /**
   * When the oldest of them ended.
   */
  oldest?: Time;
  /**
   * Completions that nobody has acknowledged or leased.
   */
  pending: number;
}
/**
 * Content of `inbox/changed`.
 */
export interface InboxChanged {
  /**
   * Completions that somebody holds.
   */
  leased: number;
  /**
   * Completions that nobody has acknowledged or leased.
   */
  pending: number;
  /**
   * Whose inbox.
   */
  sessionId: SessionId;
}
/**
 * What a session's inbox keeps.
 */
export interface InboxPolicy {
  /**
   * Every completion, or of each child the newest one: it takes the place of older ones that nobody holds. Default `all`.
   */
  keep?: Keep | null;
}
/**
 * What a session's inbox keeps, as it was opened with.
 */
export interface InboxPolicyShown {
  /**
   * Every completion, or of each child the newest one.
   */
  keep: Keep;
}
/**
 * Parameters of `initialize`.
 */
export interface InitializeParams {
  /**
   * Who the client is.
   */
  clientInfo?: ClientInfo | null;
  /**
   * The client's process; its death is the client's leave. `null` or absent: nobody watches.
   */
  processId?: number | null;
  /**
   * The version that the client speaks: 1.
   */
  protocolVersion?: number | null;
  /**
   * A cursor: every durable event after it is replayed. Only in a connection's first message.
   */
  resumeFrom?: string | null;
  /**
   * The sessions whose events are replayed and followed; default all.
   */
  sessions?: Sessions | null;
}
/**
 * The answer to `initialize`.
 */
export interface InitializeResult {
  /**
   * The agents that can be named, as many as fit in a line; `agent/list` shows all.
   */
  agents: AgentInfo[];
  /**
   * The position of the durable event log now.
   */
  cursor: string;
  /**
   * What an accepted run survives.
   */
  durability: Durability;
  /**
   * Names this life of the process.
   */
  instanceId: string;
  /**
   * Every limit by name.
   */
  limits: {
    /**
     * Days that completions wait for a parent that was never opened.
     */
    absentDays: number;
    /**
     * Runs under way in all sessions together.
     */
    activeRuns: number;
    /**
     * Calls in one batch.
     */
    batch: number;
    /**
     * Clients that one process serves over its store's socket; fewer where it may not have three descriptors for each.
     */
    clients: number;
    /**
     * Most completions of one delivery.
     */
    drain: number;
    /**
     * Milliseconds that a shutdown in mode `finish` may take before it becomes `stop`.
     */
    finishMs: number;
    /**
     * Milliseconds between asking a run to stop and killing its processes.
     */
    graceMs: number;
    /**
     * Milliseconds that an unused agent process is kept.
     */
    idleStopMs: number;
    /**
     * Completions that an inbox may hold or expect.
     */
    inbox: number;
    /**
     * Levels of nesting in a message.
     */
    jsonDepth: number;
    /**
     * Values in a message, by its brackets and commas: what is small as a text can be large once it is parsed.
     */
    jsonValues: number;
    /**
     * Keys of one `run/input`.
     */
    keys: number;
    /**
     * Milliseconds that a delivery's lease lasts unless it says so itself.
     */
    leaseMs: number;
    /**
     * Bytes of one outgoing line, batches aside.
     */
    lineBytes: number;
    /**
     * Rows of one page of a list.
     */
    list: number;
    /**
     * Failed deliveries after which a completion becomes a dead letter.
     */
    maxAttempts: number;
    /**
     * Bytes of one incoming frame.
     */
    maxFrameBytes: number;
    /**
     * Bytes of a live run's output that can be read again.
     */
    outputBytes: number;
    /**
     * Milliseconds without a word after which the process that holds a store is ended by those that are attached to it.
     */
    ownerTimeoutMs: number;
    /**
     * Bytes of a text in parameters as encoded in JSON, prompts and what is typed aside.
     */
    paramTextBytes: number;
    /**
     * Milliseconds until a permission request is denied while no client is attached.
     */
    permissionTimeoutMs: number;
    /**
     * Bytes of one prompt.
     */
    promptBytes: number;
    /**
     * Runs queued in one session.
     */
    queue: number;
    /**
     * Bytes of the parameters of one connection's requests under way, 64 more for each value in them. One alone may have more.
     */
    requestBytes: number;
    /**
     * Bytes of a request's id.
     */
    requestIdBytes: number;
    /**
     * Requests of one connection under way, waiting ones included.
     */
    requests: number;
    /**
     * Days that ended runs, and recordings, are kept.
     */
    retainDays: number;
    /**
     * Ended runs that are kept.
     */
    retainRuns: number;
    /**
     * Wakes of one session that wait for runs or for time.
     */
    scheduledWakes: number;
    /**
     * Bytes of a stored prompt as it is shown.
     */
    shownPromptBytes: number;
    /**
     * Milliseconds that a run may take to start.
     */
    startMs: number;
    /**
     * Milliseconds that a shutdown in mode `stop` may take.
     */
    stopMs: number;
    /**
     * Bytes of one line that is typed into a terminal, without the line's end.
     */
    terminalLineBytes: number;
    /**
     * Bytes of a text as encoded in JSON.
     */
    textBytes: number;
    /**
     * Bytes of unread answers at which a connection's requests are no longer read.
     */
    unreadAnswerBytes: number;
    /**
     * Bytes of answers and events that one connection may leave unread before lossy events are dropped.
     */
    unreadBytes: number;
    /**
     * Bytes of an agent's update before it is replaced by its size.
     */
    updateBytes: number;
    /**
     * Runs named by one wait.
     */
    waitRuns: number;
    /**
     * Milliseconds that they grow to.
     */
    wakeBackoffMaxMs: number;
    /**
     * Milliseconds until a session is woken again after a wake run that failed; each further failure doubles them.
     */
    wakeBackoffMs: number;
    /**
     * Wake runs of one session in `wakeBurstMs`.
     */
    wakeBurst: number;
    /**
     * Milliseconds in which at most `wakeBurst` wake runs of a session start.
     */
    wakeBurstMs: number;
    /**
     * Bytes of the completions' texts that one wake run carries.
     */
    wakeBytes: number;
    /**
     * Bytes of the reasons and prompts that join in one wake.
     */
    wakeJoinedBytes: number;
  };
  /**
   * The version that is spoken: 1.
   */
  protocolVersion: number;
  /**
   * Whether the events after `resumeFrom` follow.
   */
  resumed: boolean;
  /**
   * Whether it holds the store.
   */
  role: Role;
  /**
   * What this is.
   */
  serverInfo: ServerInfo;
  /**
   * The store's directory.
   */
  store: string;
}
/**
 * What became of a session's last wake in this life of the process.
 */
export interface LastWake {
  /**
   * When.
   */
  at: Time;
  /**
   * When it could be, where time helps.
   */
  retryAt?: Time;
  /**
   * Its run.
   */
  runId?: RunId;
  /**
   * Why it was skipped.
   */
  skipped?: WakeSkip;
  /**
   * What it came to.
   */
  status: WakeStatus;
}
/**
 * The parameters of a method that has none.
 */
export interface NoParams {}
/**
 * Parameters of `inbox/peek`.
 */
export interface PeekParams {
  /**
   * Where to go on: `next` of the page before.
   */
  after?: string | null;
  /**
   * At most so many; default and most `limits.list`.
   */
  limit?: number | null;
  /**
   * Whose inbox.
   */
  sessionId: SessionId;
}
/**
 * The answer to `inbox/peek`: nothing is taken.
 */
export interface PeekResult {
  /**
   * All of them, oldest first, as many as were asked for and fit in a line. `attempt` is how often each was offered so far.
   */
  completions: Completion[];
  /**
   * Completions that somebody holds.
   */
  leased: number;
  /**
   * Whether there are more: ask again with `after`.
   */
  more: boolean;
  /**
   * With `more`: what `after` is then.
   */
  next?: string;
  /**
   * Completions that a drain could take now.
   */
  pending: number;
}
/**
 * An open permission request.
 */
export interface Permission {
  /**
   * The options to choose from, as many as 8 KiB hold.
   */
  options: PermissionOption[];
  /**
   * What is asked, for a person; cut at 4 KiB.
   */
  question: string;
  /**
   * What `permission/respond` names.
   */
  requestId: string;
}
/**
 * An option of a permission request.
 */
export interface PermissionOption {
  /**
   * Whether the agent takes it as the answer to all such questions from then on.
   */
  always?: boolean;
  /**
   * What it does.
   */
  kind: PermissionOptionKind;
  /**
   * What a person reads.
   */
  name: string;
  /**
   * What `permission/respond` names.
   */
  optionId: string;
}
/**
 * Parameters of `permission/respond`.
 */
export interface PermissionRespondParams {
  /**
   * The chosen option.
   */
  optionId: string;
  /**
   * Its request.
   */
  requestId: string;
  /**
   * The run that asked.
   */
  runId: RunId;
}
/**
 * Parameters of `prompt`.
 */
export interface PromptParams {
  /**
   * What to do when the session is busy; default `queue`.
   */
  ifBusy?: IfBusy | null;
  /**
   * Whose inbox gets the completion; default the session's parent, `null` for nobody.
   */
  notify?: SessionId | null;
  /**
   * What its permission requests do; default the session's, then the agent's.
   */
  permissions?: PermissionPolicy | null;
  /**
   * What is asked of the agent.
   */
  prompt: PromptContent;
  /**
   * Milliseconds it may stay queued; default no limit.
   */
  queueTimeoutMs?: number | null;
  /**
   * A queued run whose place it takes; not together with another `ifBusy` than `queue`.
   */
  replaces?: RunId | null;
  /**
   * The caller's idempotency key, unique in the store; default a UUID v7.
   */
  runId?: RunId | null;
  /**
   * The session that runs it.
   */
  sessionId: SessionId;
  /**
   * Milliseconds it may take from `active`; default the session's.
   */
  timeoutMs?: number | null;
  /**
   * The caller's trace context (W3C), handed on to the agent; at most 512 bytes.
   */
  traceparent?: string | null;
}
/**
 * The answer to `prompt`: the run is on disk.
 */
export interface PromptResult {
  /**
   * Whether it had been accepted before.
   */
  duplicate: boolean;
  /**
   * How many runs of its session go before it, the one under way included.
   */
  position: number;
  /**
   * The run.
   */
  runId: RunId;
  /**
   * Its number in the order of acceptance.
   */
  seq: Seq;
  /**
   * Its session.
   */
  sessionId: SessionId;
  /**
   * Its state now.
   */
  state: RunState;
  /**
   * With `ifBusy: "steer"`: whether its text went into the run under way.
   */
  steered?: boolean;
}
/**
 * The answer to `drain/release`.
 */
export interface ReleaseResult {
  /**
   * What this delivery held and gave back.
   */
  released: RunId[];
}
/**
 * Content of `run/changed`.
 */
export interface RunChanged {
  /**
   * Its open question, when it is parked.
   */
  permission?: Permission;
  /**
   * The run.
   */
  runId: RunId;
  /**
   * Its session.
   */
  sessionId: SessionId;
  /**
   * Milliseconds for which its agent has not said a word, when that is too long.
   */
  stalledMs?: number;
  /**
   * Its state now.
   */
  state: RunState;
}
/**
 * How a run ended.
 */
export interface RunEnd {
  /**
   * When it ended.
   */
  endedAt: Time;
  /**
   * What went wrong.
   */
  error?: RunError;
  /**
   * A process's exit code; 128 + n for signal n. An agent that is no shell or command and ended with 0 before it was done has none.
   */
  exitCode?: number;
  /**
   * The run that took this one's text.
   */
  into?: RunId;
  /**
   * How it ended.
   */
  outcome: Outcome;
  /**
   * Why, when it was cancelled.
   */
  reason?: Reason;
  /**
   * The agent's own word for its stop.
   */
  stopReason?: string;
  /**
   * The agent's final answer, the last 32 KiB as encoded; empty for `interrupted`.
   */
  text: string;
  /**
   * Whether `text` is only a part.
   */
  truncated: boolean;
  /**
   * The agent's own account of what it used; `{truncated, bytes}` in place of one over 4 KiB.
   */
  usage?: unknown;
}
/**
 * What went wrong in a run.
 */
export interface RunError {
  /**
   * What kind of failure.
   */
  kind: FailKind;
  /**
   * What happened, and what to do; cut at 4 KiB.
   */
  message: string;
}
/**
 * Parameters of `run/get`.
 */
export interface RunGetParams {
  /**
   * The run.
   */
  runId: RunId;
}
/**
 * Runs of which so many must have ended. `n` goes with `mode: "atLeast"` only.
 */
export interface RunGroup {
  /**
   * How many of them must have ended; default all.
   */
  mode?: WaitMode | null;
  /**
   * With `atLeast`: how many, at most the number of runs.
   */
  n?: number | null;
  /**
   * The runs, 1 to `limits.waitRuns`; duplicates count once.
   *
   * @minItems 1
   */
  runIds: RunId[];
}
/**
 * Parameters of `run/input`: `text` or `keys`, a new size of the terminal, or both.
 */
export interface RunInputParams {
  /**
   * Columns of the terminal.
   */
  cols?: number | null;
  /**
   * Keys to press, such as `C-d`; at most `limits.keys`.
   *
   * @minItems 1
   * @maxItems 1024
   */
  keys?: string[] | null;
  /**
   * Rows of the terminal.
   */
  rows?: number | null;
  /**
   * The run.
   */
  runId: RunId;
  /**
   * A text to type, as it is: no line end is added. At most `limits.promptBytes`.
   */
  text?: string | null;
}
/**
 * Parameters of `run/list`.
 */
export interface RunListParams {
  /**
   * Only what is listed after this run: the `seq` of the last one of the page before, or its `runId` where it has none.
   */
  before?: RunListBefore | null;
  /**
   * At most so many; default and most `limits.list`.
   */
  limit?: number | null;
  /**
   * Only runs whose completion goes to this session's inbox.
   */
  parent?: SessionId | null;
  /**
   * Only this session's runs.
   */
  sessionId?: SessionId | null;
  /**
   * Only runs in this state.
   */
  state?: RunState | null;
}
/**
 * The answer to `run/list`.
 */
export interface RunListResult {
  /**
   * Whether there are more: ask again with `before`.
   */
  more: boolean;
  /**
   * Wakes that are not due yet, by their ids from the last to the first, and then the runs, newest first: as many as were asked for and fit in a line.
   */
  runs: RunRecord[];
}
/**
 * Parameters of `run/output`.
 */
export interface RunOutputParams {
  /**
   * The offset in raw bytes from which output is wanted; default 0.
   */
  from?: number | null;
  /**
   * The run.
   */
  runId: RunId;
}
/**
 * The answer to `run/output`.
 */
export interface RunOutputResult {
  /**
   * What is there from it on, in order, as much as fits in a line.
   */
  chunks: OutputChunk[];
  /**
   * Whether the run has ended: then nothing more comes, and its whole text is in `run/get`.
   */
  ended: boolean;
  /**
   * The offset that was asked for.
   */
  from: number;
  /**
   * How many bytes from `from` on are no longer kept.
   */
  lost?: number;
  /**
   * Whether there is more from `next` on already.
   */
  more: boolean;
  /**
   * The offset to ask for next.
   */
  next: number;
  /**
   * The run.
   */
  runId: RunId;
}
/**
 * A run. When it has ended, it has the fields of its completion.
 */
export interface RunRecord {
  /**
   * When it ended.
   */
  endedAt?: Time;
  /**
   * What went wrong.
   */
  error?: RunError;
  /**
   * A process's exit code; 128 + n for signal n. An agent that is no shell or command and ended with 0 before it was done has none.
   */
  exitCode?: number;
  /**
   * While it is live, the run that its text was handed to; an ended run has its completion's `into`.
   */
  into?: RunId;
  /**
   * How it ended.
   */
  outcome?: Outcome;
  /**
   * Why, when it was cancelled.
   */
  reason?: Reason;
  /**
   * The agent's own word for its stop.
   */
  stopReason?: string;
  /**
   * The text, the last 32 KiB as encoded.
   */
  text: string;
  /**
   * Whether `text` is only a part.
   */
  truncated: boolean;
  /**
   * The agent's own account of what it used; `{truncated, bytes}` in place of one over 4 KiB.
   */
  usage?: unknown;
  /**
   * When it was accepted; absent while a wake is not due yet.
   */
  acceptedAt?: Time;
  /**
   * What made it.
   */
  kind: RunKind;
  /**
   * Whose inbox gets its completion.
   */
  notify?: SessionId;
  /**
   * Its open question, while it is parked.
   */
  permission?: Permission;
  /**
   * How many runs of its session go before it; only while it is queued and due.
   */
  position?: number;
  /**
   * What was asked; a text when it had to be cut at 4 KiB.
   */
  prompt: ShownPrompt;
  /**
   * Present and true when `prompt` is only a part.
   */
  promptTruncated?: boolean;
  /**
   * Milliseconds it may stay queued.
   */
  queueTimeoutMs?: number;
  /**
   * Its id.
   */
  runId: RunId;
  /**
   * Its number in the order of acceptance. A wake that is not due yet has none, and a `position` neither.
   */
  seq?: Seq;
  /**
   * Its session.
   */
  sessionId: SessionId;
  /**
   * When its agent was told to start.
   */
  startedAt?: Time;
  /**
   * Its state.
   */
  state: RunState;
  /**
   * Milliseconds it may take from `active`.
   */
  timeoutMs?: number;
  /**
   * What made it and what it carries, if it is a wake.
   */
  wake?: WakeFacts;
}
/**
 * What a live run has said so far.
 */
export interface RunSoFar {
  /**
   * The text, the last 32 KiB as encoded.
   */
  text: string;
  /**
   * Whether `text` is only a part.
   */
  truncated: boolean;
}
/**
 * The run under way.
 */
export interface RunUnderWay {
  /**
   * The run.
   */
  runId: RunId;
  /**
   * Its state.
   */
  state: RunState;
}
/**
 * Parameters of `run/wait`: exactly one of `runId` and `runIds`, and `n` with `mode: "atLeast"` only.
 */
export interface RunWaitParams {
  /**
   * How many of them must have ended; default all.
   */
  mode?: WaitMode | null;
  /**
   * With `atLeast`: how many, at most the number of runs.
   */
  n?: number | null;
  /**
   * The one run.
   */
  runId?: RunId | null;
  /**
   * The runs, 1 to `limits.waitRuns`; duplicates count once.
   *
   * @minItems 1
   */
  runIds?: RunId[] | null;
  /**
   * Milliseconds after which the wait is over; 0 looks once; default never.
   */
  timeoutMs?: number | null;
}
/**
 * The answer to `run/wait`.
 */
export interface RunWaitResult {
  /**
   * Present and true when `runs` is only a part.
   */
  more?: boolean;
  /**
   * The runs' records, in the order asked for, as many as fit in a line; ask for the rest with `run/get`.
   */
  runs: RunRecord[];
  /**
   * Whether the time was over first. The runs go on.
   */
  timedOut: boolean;
}
/**
 * What this is.
 */
export interface ServerInfo {
  /**
   * `turnlane`.
   */
  name: string;
  /**
   * Its version.
   */
  version: string;
}
/**
 * Parameters of `session/close`.
 */
export interface SessionCloseParams {
  /**
   * Whether every trace of it goes; default no.
   */
  purge?: boolean | null;
  /**
   * The session.
   */
  sessionId: SessionId;
}
/**
 * The answer to `session/close`: the session's processes are gone.
 */
export interface SessionCloseResult {
  /**
   * The session.
   */
  sessionId: SessionId;
}
/**
 * Parameters of `session/get`.
 */
export interface SessionGetParams {
  /**
   * The session.
   */
  sessionId: SessionId;
}
/**
 * Parameters of `session/list`.
 */
export interface SessionListParams {
  /**
   * Only sessions whose id comes after this one: the last one's of the page before.
   */
  after?: SessionId | null;
  /**
   * At most so many; default and most `limits.list`.
   */
  limit?: number | null;
}
/**
 * The answer to `session/list`.
 */
export interface SessionListResult {
  /**
   * Whether there are more: ask again with `after`, the last one's id.
   */
  more: boolean;
  /**
   * The sessions by id, as many as were asked for and fit in a line.
   */
  sessions: SessionRecord[];
}
/**
 * Parameters of `session/open`. Omitted fields stay as they are.
 */
export interface SessionOpenParams {
  /**
   * What drives it; default, at the first opening, the default agent.
   */
  agent?: Agent | null;
  /**
   * Working directory, absolute; default that of the process that the client speaks to.
   */
  cwd?: string | null;
  /**
   * Variables for its agent; replaces the earlier ones. Values are never written to disk.
   */
  env?: {
    [k: string]: string;
  } | null;
  /**
   * In which rhythm it is woken; replaces what was said before, and `null` ends it. Off unless asked for.
   */
  heartbeat?: HeartbeatPolicy | null;
  /**
   * What its inbox keeps; replaces what was said before.
   */
  inbox?: InboxPolicy | null;
  /**
   * Who is told of its completions.
   */
  parent?: SessionId | null;
  /**
   * What its permission requests do; default the agent's.
   */
  permissions?: PermissionPolicy | null;
  /**
   * What becomes of runs found queued; default they start now.
   */
  recover?: Recover | null;
  /**
   * Its id; default a fresh one.
   */
  sessionId?: SessionId | null;
  /**
   * Default limit for its runs, in milliseconds from `active`.
   */
  timeoutMs?: number | null;
  /**
   * For people, at most 1 KiB as encoded.
   */
  title?: string | null;
  /**
   * How it is woken; replaces what was said before.
   */
  wake?: WakePolicy | null;
}
/**
 * The answer to `session/open`.
 */
export interface SessionOpenResult {
  /**
   * Whether it is new.
   */
  created: boolean;
  /**
   * How many runs were found queued.
   */
  recovered: number;
  /**
   * The session's record.
   */
  session: SessionRecord;
}
/**
 * A session.
 */
export interface SessionRecord {
  /**
   * What drives it.
   */
  agent: SessionAgent;
  /**
   * How many clients hear of it.
   */
  clients: number;
  /**
   * What its agent keeps for it, if it keeps something.
   */
  conversation?: Conversation;
  /**
   * When it was made.
   */
  createdAt: Time;
  /**
   * Working directory.
   */
  cwd: string;
  /**
   * The names of the variables that it was opened with, as many as 8 KiB hold.
   */
  envNames?: string[];
  /**
   * In which rhythm it is woken, if in any.
   */
  heartbeat?: HeartbeatShown;
  /**
   * What its inbox holds.
   */
  inbox: Inbox;
  /**
   * What its inbox keeps, where it was opened with something else than `all`.
   */
  inboxPolicy?: InboxPolicyShown;
  /**
   * Who is told of its completions.
   */
  parent?: SessionId;
  /**
   * What its permission requests do.
   */
  permissions?: PermissionPolicy;
  /**
   * How many runs are queued.
   */
  queued: number;
  /**
   * The run under way.
   */
  run?: RunUnderWay;
  /**
   * Its id.
   */
  sessionId: SessionId;
  /**
   * Whether it is idle, with nothing queued, nothing in its inbox, no wake due, and no run under way or queued that will notify it.
   */
  settled: boolean;
  /**
   * Its state.
   */
  state: SessionState;
  /**
   * Default limit for its runs, in milliseconds from `active`.
   */
  timeoutMs?: number;
  /**
   * For people.
   */
  title?: string;
  /**
   * How it may be woken now.
   */
  wake: SessionWake;
  /**
   * How it is woken, where it was opened with that.
   */
  wakePolicy?: WakePolicyShown;
}
/**
 * Parameters of `session/wait`.
 */
export interface SessionWaitParams {
  /**
   * The session.
   */
  sessionId: SessionId;
  /**
   * Milliseconds after which the wait is over; 0 looks once; default never.
   */
  timeoutMs?: number | null;
  /**
   * What is waited for.
   */
  until: Until;
}
/**
 * The answer to `session/wait`.
 */
export interface SessionWaitResult {
  /**
   * The session's state when the wait was over, whatever was asked after it; absent if the session was purged.
   */
  state?: SessionState;
  /**
   * Whether the time was over first.
   */
  timedOut: boolean;
}
/**
 * How a session may be woken.
 */
export interface SessionWake {
  /**
   * Wake runs that may still start before a client's prompt does.
   */
  budgetLeft: number;
  /**
   * What became of its last wake.
   */
  last?: LastWake;
}
/**
 * Parameters of `shutdown`.
 */
export interface ShutdownParams {
  /**
   * Whether it stops for every client, not only this one; default no.
   */
  everyone?: boolean | null;
  /**
   * What becomes of runs under way; default `stop`.
   */
  mode?: ShutdownMode | null;
  /**
   * Milliseconds that it may take; default `limits.stopMs` or `limits.finishMs`.
   */
  timeoutMs?: number | null;
}
/**
 * The answer to `shutdown`.
 */
export interface ShutdownResult {
  /**
   * Runs that were cancelled for it.
   */
  cancelled: number;
  /**
   * Runs that ended by themselves meanwhile.
   */
  completed: number;
  /**
   * Runs that stay queued on disk.
   */
  left: number;
}
/**
 * The answer to `stats`: what the process that the client speaks to is doing. Counts are since its start, unless a state is named.
 */
export interface StatsResult {
  /**
   * Runs accepted.
   */
  accepted: number;
  /**
   * Clients attached now.
   */
  clients: number;
  /**
   * Transactions committed.
   */
  commits: number;
  /**
   * `run/output` and `wake/skipped` notifications dropped for slow readers.
   */
  droppedEvents: number;
  /**
   * Lines of the log dropped since nobody read them.
   */
  droppedLogLines: number;
  /**
   * Bytes that agents said after their run had ended.
   */
  droppedOutputBytes: number;
  /**
   * Runs ended.
   */
  ended: number;
  /**
   * Names this life of the process.
   */
  instanceId: string;
  /**
   * The process that holds the store.
   */
  ownerPid: number;
  /**
   * Completions in inboxes that nobody has acknowledged.
   */
  pending: number;
  /**
   * Whether it holds the store.
   */
  role: Role;
  /**
   * Live runs, by state.
   */
  runs: {
    [k: string]: number;
  };
  /**
   * Wakes that wait for runs to end or for time to pass.
   */
  scheduledWakes: number;
  /**
   * Sessions known in this life, by state.
   */
  sessions: {
    [k: string]: number;
  };
  /**
   * Milliseconds since it started.
   */
  uptimeMs: number;
  /**
   * Requests that wait.
   */
  waiting: number;
}
/**
 * Parameters of `subscribe`. They replace what the connection heard of; later opens and prompts add to it.
 */
export interface SubscribeParams {
  /**
   * Whether `run/output` is wanted too; default yes.
   */
  output?: boolean | null;
  /**
   * The sessions.
   */
  sessions: Sessions;
}
/**
 * Older completions whose place a newer one of the same child took.
 */
export interface Superseded {
  /**
   * How many there are.
   */
  count: number;
  /**
   * The newest of their runs, newest last: at most 100, and as many as 12 KiB and the line hold.
   */
  runIds: RunId[];
}
/**
 * What made a wake run, and what it carries.
 */
export interface WakeFacts {
  /**
   * Wakes of one key join while they wait.
   */
  key?: string;
  /**
   * Why, all reasons that joined in it; cut at 1 KiB.
   */
  reason: string;
  /**
   * The runs whose completions it carries, once it has started; as many as 4 KiB hold.
   */
  runIds: RunId[];
}
/**
 * Parameters of `wake`.
 */
export interface WakeParams {
  /**
   * What to do when the session is busy; default `queue`.
   */
  ifBusy?: WakeIfBusy | null;
  /**
   * Wakes of one key join while they wait: at most 1 KiB, no control characters.
   */
  key?: string | null;
  /**
   * Whether it is skipped when nothing is pending in the inbox; default no.
   */
  onlyIfPending?: boolean | null;
  /**
   * What its agent is to do. Where its agent reads no prose, this is the command, and needed.
   */
  prompt?: string | null;
  /**
   * Why, for its agent: at most 1 KiB, no control characters.
   */
  reason: string;
  /**
   * The caller's idempotency key, unique in the store; default a UUID v7.
   */
  runId?: RunId | null;
  /**
   * Which session. It is never opened by this.
   */
  sessionId: SessionId;
  /**
   * It is due once so many of these runs have ended.
   */
  when?: RunGroup | null;
}
/**
 * How a session is woken. What is left out has its default: nothing of an earlier policy stays.
 */
export interface WakePolicy {
  /**
   * Wake runs in a row without a client's prompt between them; default 3.
   */
  maxConsecutive?: number | null;
  /**
   * Milliseconds between two wake runs; default 250. A completion that comes meanwhile lets the next one wait so long again, if it is to wake: at most four times as long after the last.
   */
  minIntervalMs?: number | null;
  /**
   * What a completion in its inbox does; default `hold`.
   */
  onCompletion?: OnCompletion | null;
  /**
   * What its agent is told to do, at most 32 KiB. Where its agent reads no prose, this is the command, and needed.
   */
  prompt?: string | null;
  /**
   * Bytes of each completion's text in what the agent is told; default 4096.
   */
  textBytes?: number | null;
}
/**
 * How a session is woken, as it was opened with.
 */
export interface WakePolicyShown {
  /**
   * Wake runs in a row without a client's prompt between them.
   */
  maxConsecutive: number;
  /**
   * Milliseconds between two wake runs, and for which the next one waits for further completions.
   */
  minIntervalMs: number;
  /**
   * What a completion in its inbox does.
   */
  onCompletion: OnCompletion;
  /**
   * What its agent is told to do; cut at 4 KiB.
   */
  prompt?: string;
  /**
   * Present and true when `prompt` is only a part.
   */
  promptTruncated?: boolean;
  /**
   * Bytes of each completion's text in what the agent is told.
   */
  textBytes: number;
}
/**
 * The answer to `wake`.
 */
export interface WakeResult {
  /**
   * When it will be due, or could be, where time helps.
   */
  retryAt?: Time;
  /**
   * The run that it is, will be, or joined.
   */
  runId?: RunId;
  /**
   * Why it was skipped.
   */
  skipped?: WakeSkip;
  /**
   * What it came to.
   */
  status: WakeStatus;
}
/**
 * Content of `wake/skipped`.
 */
export interface WakeSkipped {
  /**
   * Why it was to be woken; cut at 1 KiB.
   */
  reason: string;
  /**
   * When it could be, where time helps.
   */
  retryAt?: Time;
  /**
   * The session.
   */
  sessionId: SessionId;
  /**
   * Why it was not.
   */
  skipped: WakeSkip;
}
/**
 * Every notification, with its content.
 */
export interface Notifications {
  /**
   * A run's state changed, or its agent has been silent for too long.
   */
  "run/changed": RunChanged;
  /**
   * A run said something. A client that reads too slowly misses some, and is told how many.
   */
  "run/output": RunOutput;
  /**
   * A run ended. Durable, exactly one a run, after all of its output.
   */
  "run/completed": CompletionEvent;
  /**
   * An inbox is not what it was. Only the latest counts.
   */
  "inbox/changed": InboxChanged;
  /**
   * A session's record is not what it was. Only the latest counts.
   */
  "session/changed": SessionRecord;
  /**
   * A wake did not come to a run. A client that reads too slowly misses some.
   */
  "wake/skipped": WakeSkipped;
  /**
   * A completion became a dead letter. Durable; told to whoever hears of `parent`.
   */
  "deadLetter/added": DeadLetterAdded;
}
/**
 * Every kind of error, with its data.
 */
export interface ErrorData {
  /**
   * `initialize` came a second time on this connection. Go on without it.
   */
  alreadyInitialized: {
    kind: "alreadyInitialized";
  };
  /**
   * A parameter is missing, unknown, mistyped or out of bounds. A mistake of the client's: mend the field that is named.
   */
  invalidParams: {
    /**
     * The parameter's name or path; empty for the parameters as a whole.
     */
    field: string;
    kind: "invalidParams";
    /**
     * What could have been chosen.
     */
    options?: string[];
  };
  /**
   * The prompt says nothing. Ask for a text before you prompt.
   */
  emptyPrompt: {
    /**
     * `prompt`.
     */
    field: string;
    kind: "emptyPrompt";
  };
  /**
   * The prompt, or a text to type, is longer than it may be. Put the text in a file and name that, or send it in pieces.
   */
  promptTooLarge: {
    /**
     * How many bytes it has.
     */
    bytes: number;
    /**
     * Which parameter.
     */
    field: string;
    kind: "promptTooLarge";
    /**
     * How many it may have.
     */
    limit: number;
    /**
     * The limit's name in `initialize`.
     */
    limitName: string;
    /**
     * The session, where the limit is that of its terminal.
     */
    sessionId?: string;
  };
  /**
   * The chain of parents would close a circle. Choose a parent that is not itself a child of this session.
   */
  invalidParent: {
    /**
     * `parent`.
     */
    field: string;
    kind: "invalidParent";
    /**
     * The parent that it can't have.
     */
    parent: string;
    /**
     * The session.
     */
    sessionId: string;
  };
  /**
   * Too much is under way: requests of this connection, or what a terminal's program has not read. Read the answers that are due, or let the program read, then repeat it.
   */
  overloaded: {
    kind: "overloaded";
    /**
     * How many requests may be under way.
     */
    limit?: number;
    /**
     * The limit's name in `initialize`.
     */
    limitName?: string;
    /**
     * The run whose terminal is full.
     */
    runId?: string;
  };
  /**
   * The session's queue is full, or what is to wake it is too much. Wait for runs to end, or cancel some.
   */
  queueFull: {
    kind: "queueFull";
    /**
     * How many runs may be queued, or wakes may wait, or bytes may join in one wake.
     */
    limit: number;
    /**
     * The limit's name in `initialize`.
     */
    limitName: string;
    /**
     * The session.
     */
    sessionId: string;
  };
  /**
   * The inbox that would get the completion holds or expects as much as it may. Prompt with `notify: null`, or for another session's inbox.
   */
  inboxFull: {
    kind: "inboxFull";
    /**
     * How many completions it may hold or expect.
     */
    limit: number;
    /**
     * The limit's name in `initialize`.
     */
    limitName: string;
    /**
     * Whose inbox.
     */
    sessionId: string;
  };
  /**
   * There is no session of that id. Check the id, or open the session with `session/open`.
   */
  sessionNotFound: {
    kind: "sessionNotFound";
    /**
     * The id.
     */
    sessionId: string;
  };
  /**
   * There is no run of that id, or it was forgotten long after its end. Check the id.
   */
  runNotFound: {
    kind: "runNotFound";
    /**
     * The id.
     */
    runId: string;
  };
  /**
   * The run has no such open question. Ask `run/get` what it asks, if it still does.
   */
  permissionNotFound: {
    kind: "permissionNotFound";
    /**
     * The question's id.
     */
    requestId: string;
    /**
     * The run.
     */
    runId: string;
  };
  /**
   * There is no delivery of that id, or its lease is over and it can't be held for longer. Drain again: what nobody acknowledged is offered again.
   */
  deliveryNotFound: {
    /**
     * The id.
     */
    deliveryId: string;
    kind: "deliveryNotFound";
  };
  /**
   * There is no dead letter of that run. Look at `deadLetter/list`: it may be back in an inbox, or gone.
   */
  deadLetterNotFound: {
    kind: "deadLetterNotFound";
    /**
     * The run.
     */
    runId: string;
  };
  /**
   * There is no agent of that name; or none was named, and there is no default. Choose one that `agent/list` shows, or configure `default_agent`.
   */
  agentNotFound: {
    /**
     * The name that was given.
     */
    agent?: string;
    /**
     * `agent`.
     */
    field: string;
    kind: "agentNotFound";
  };
  /**
   * The session, or the run, is not what the request takes it for. Nothing happened. Look at `session/get` or `run/get`, then decide again.
   */
  sessionConflict: {
    /**
     * The parameter that does not fit.
     */
    field?: string;
    kind: "sessionConflict";
    /**
     * The run that differs.
     */
    runId?: string;
    /**
     * The session that differs.
     */
    sessionId?: string;
    /**
     * The run's state.
     */
    state?: string;
  };
  /**
   * The run id belongs to another session or another prompt. Use a new `runId`, or repeat the first request unchanged.
   */
  runIdConflict: {
    kind: "runIdConflict";
    /**
     * The id.
     */
    runId: string;
  };
  /**
   * The session is busy, and `ifBusy` is `reject`. Wait with `session/wait`, or prompt with another `ifBusy`.
   */
  sessionBusy: {
    kind: "sessionBusy";
    /**
     * The session.
     */
    sessionId: string;
  };
  /**
   * The session is closed, or is being purged. Open it again with `session/open`.
   */
  sessionClosed: {
    kind: "sessionClosed";
    /**
     * The session.
     */
    sessionId: string;
  };
  /**
   * The session is of an earlier life and must be opened with the variables that it had. Open it with `session/open`, giving `env`.
   */
  sessionDormant: {
    kind: "sessionDormant";
    /**
     * The names of its variables: their values are never stored.
     */
    missing: string[];
    /**
     * The session.
     */
    sessionId: string;
  };
  /**
   * The question has been answered, or its run was stopped. Nothing: the first answer counts.
   */
  alreadyAnswered: {
    kind: "alreadyAnswered";
    /**
     * The run.
     */
    runId: string;
  };
  /**
   * The events after this cursor are no longer kept, or it is another store's. Replay after `oldest`, and look at `run/list` for what came before.
   */
  cursorExpired: {
    kind: "cursorExpired";
    /**
     * The first cursor that can be replayed after.
     */
    oldest: string;
  };
  /**
   * turnlane is shutting down and takes no new work, or did not come to this request any more. Start it again, then repeat the request with the same `runId`.
   */
  shuttingDown: {
    kind: "shuttingDown";
  };
  /**
   * The process that held the store is gone; whether it did what was asked is not known. Another one takes its place. Repeat the request with the `runId` or `sessionId` that is named here: ids make that safe.
   */
  ownerLost: {
    kind: "ownerLost";
    /**
     * The run's id: the request's own, or the one that it was given.
     */
    runId?: string;
    /**
     * The session's id: the request's own, or the one that it was given.
     */
    sessionId?: string;
  };
  /**
   * The store can't be opened, read or written. The process ends. Show the message; start again when it is put right, and repeat the request with the same `runId`.
   */
  storeUnavailable: {
    kind: "storeUnavailable";
  };
  /**
   * The disk of the store is full. The process ends. Free some space, start again, and repeat the request with the same `runId`.
   */
  storeFull: {
    kind: "storeFull";
  };
  /**
   * The store is damaged. The process ends. Move it away, or restore a backup.
   */
  storeCorrupt: {
    kind: "storeCorrupt";
  };
  /**
   * A newer turnlane made the store. The process ends. Use the newer turnlane.
   */
  storeVersion: {
    /**
     * The version of the store.
     */
    found: number;
    kind: "storeVersion";
    /**
     * The newest that this turnlane knows.
     */
    known: number;
  };
  /**
   * Another process holds the store, and this one can't attach to it: it is of another version, or this is a second `serve`. The process ends. Use the same version, stop that process (`turnlane stop`), or choose another `--store`.
   */
  storeLocked: {
    kind: "storeLocked";
    /**
     * The other process; 0 when it can't be told.
     */
    pid: number;
    /**
     * The store's directory.
     */
    store: string;
  };
  /**
   * The agent could not do what was asked. Not answered by this version: a run's failure is in its completion. Show the message.
   */
  agentFailed: {
    kind: "agentFailed";
  };
  /**
   * Known, but not served: by this version, or by this kind of agent. Leave the parameter out, or use another kind of agent.
   */
  unsupported: {
    /**
     * Which parameter.
     */
    field: string;
    kind: "unsupported";
  };
  /**
   * A message was longer than it may be and was skipped; the answer's id is null. Send less, or start turnlane with a larger `--max-frame`.
   */
  frameTooLarge: {
    kind: "frameTooLarge";
    /**
     * How many bytes it may have.
     */
    limit: number;
    /**
     * The limit's name in `initialize`.
     */
    limitName: string;
  };
}
