import { summary } from "./completion.js";
import type { Completion, ErrorData } from "./protocol.js";

/** A kind of error that turnlane answers with: `data.kind` of the protocol. */
export type ErrorKind = keyof ErrorData;

/** A kind of error that JSON-RPC itself has a code for. */
export type JsonRpcErrorKind =
  "parseError" | "invalidRequest" | "methodNotFound" | "internalError" | "requestCancelled";

/** A kind of error that this client finds by itself. */
export type ClientErrorKind =
  | "binaryNotFound"
  | "startFailed"
  | "protocolMismatch"
  | "connectionLost"
  | "stopped"
  | "notRunning"
  | "leaseLost"
  | "runFailed";

/** The base of every error of this package. Decide by its class or its `kind`; show its `message`. */
export class TurnlaneError extends Error {
  /** Stable, for programs. A later turnlane may have kinds that this client has no class for. */
  readonly kind: ErrorKind | JsonRpcErrorKind | ClientErrorKind | (string & {});

  constructor(kind: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
    this.name = new.target.name;
  }
}

/** An error that turnlane answered a request with. */
export class RpcError<Data extends object = object> extends TurnlaneError {
  /** JSON-RPC's code. */
  readonly code: number;
  /** What the error is about: which field, id or limit. */
  readonly data: Data;

  constructor(kind: string, message: string, code: number, data: Data) {
    super(kind, message);
    this.code = code;
    this.data = data;
  }
}

/** An error that has a code of JSON-RPC and no kind of turnlane's, among them a method that is not known. */
export class JsonRpcError extends RpcError {}

/** The request was given up (-32800): nothing was taken. */
export class RequestCancelledError extends JsonRpcError {}

export class AlreadyInitializedError extends RpcError<ErrorData["alreadyInitialized"]> {}
export class InvalidParamsError extends RpcError<ErrorData["invalidParams"]> {}
export class EmptyPromptError extends RpcError<ErrorData["emptyPrompt"]> {}
export class PromptTooLargeError extends RpcError<ErrorData["promptTooLarge"]> {}
export class InvalidParentError extends RpcError<ErrorData["invalidParent"]> {}
export class OverloadedError extends RpcError<ErrorData["overloaded"]> {}
export class QueueFullError extends RpcError<ErrorData["queueFull"]> {}
export class InboxFullError extends RpcError<ErrorData["inboxFull"]> {}
export class SessionNotFoundError extends RpcError<ErrorData["sessionNotFound"]> {}
export class RunNotFoundError extends RpcError<ErrorData["runNotFound"]> {}
export class PermissionNotFoundError extends RpcError<ErrorData["permissionNotFound"]> {}
export class DeliveryNotFoundError extends RpcError<ErrorData["deliveryNotFound"]> {}
export class DeadLetterNotFoundError extends RpcError<ErrorData["deadLetterNotFound"]> {}
export class AgentNotFoundError extends RpcError<ErrorData["agentNotFound"]> {}
export class SessionConflictError extends RpcError<ErrorData["sessionConflict"]> {}
export class RunIdConflictError extends RpcError<ErrorData["runIdConflict"]> {}
export class SessionBusyError extends RpcError<ErrorData["sessionBusy"]> {}
export class SessionClosedError extends RpcError<ErrorData["sessionClosed"]> {}
export class SessionDormantError extends RpcError<ErrorData["sessionDormant"]> {}
export class AlreadyAnsweredError extends RpcError<ErrorData["alreadyAnswered"]> {}
export class CursorExpiredError extends RpcError<ErrorData["cursorExpired"]> {}
export class ShuttingDownError extends RpcError<ErrorData["shuttingDown"]> {}
export class OwnerLostError extends RpcError<ErrorData["ownerLost"]> {}
export class StoreUnavailableError extends RpcError<ErrorData["storeUnavailable"]> {}
export class StoreFullError extends RpcError<ErrorData["storeFull"]> {}
export class StoreCorruptError extends RpcError<ErrorData["storeCorrupt"]> {}
export class StoreVersionError extends RpcError<ErrorData["storeVersion"]> {}
export class StoreLockedError extends RpcError<ErrorData["storeLocked"]> {}
export class AgentFailedError extends RpcError<ErrorData["agentFailed"]> {}
export class UnsupportedError extends RpcError<ErrorData["unsupported"]> {}
export class FrameTooLargeError extends RpcError<ErrorData["frameTooLarge"]> {}

/** The program was not found: neither where the option says, nor where `TURNLANE_BIN` does, nor on the PATH. */
export class BinaryNotFoundError extends TurnlaneError {
  constructor(message: string) {
    super("binaryNotFound", message);
  }
}

/** The program was found and did not come up. The message has what it said last. */
export class StartError extends TurnlaneError {
  constructor(message: string, options?: ErrorOptions, kind = "startFailed") {
    super(kind, message, options);
  }
}

/** The program speaks another version of the protocol than this client. */
export class ProtocolMismatchError extends StartError {
  constructor(message: string) {
    super(message, undefined, "protocolMismatch");
  }
}

/** The sidecar died before it answered, and asking again could do a thing twice: whether it was done is not known. Or it can't be started again. */
export class ConnectionLostError extends TurnlaneError {
  constructor(message: string, options?: ErrorOptions, kind = "connectionLost") {
    super(kind, message, options);
  }
}

/** Somebody else stopped the sidecar in order (`turnlane stop`, SIGTERM): it is not started again against their will. */
export class StoppedError extends ConnectionLostError {
  constructor(message: string) {
    super(message, undefined, "stopped");
  }
}

/** The client has been closed. */
export class NotRunningError extends TurnlaneError {
  constructor(message = "this client is closed: spawn another one") {
    super("notRunning", message);
  }
}

/** A lease ended before what it held was settled: it is offered again, here or to somebody else. */
export class LeaseLostError extends TurnlaneError {
  constructor(message: string, options?: ErrorOptions) {
    super("leaseLost", message, options);
  }
}

/** A run did not end well; thrown by `run.success()` only. */
export class RunFailedError extends TurnlaneError {
  /** How it ended. */
  readonly completion: Completion;

  constructor(completion: Completion) {
    super("runFailed", `the run ${completion.runId} is ${summary(completion)}`);
    this.completion = completion;
  }
}

type Classes = {
  [Kind in ErrorKind]: new (
    kind: string,
    message: string,
    code: number,
    data: ErrorData[Kind],
  ) => RpcError<ErrorData[Kind]>;
};

/** Complete by its type: a kind that the schema gains does not compile until it has its class. */
const classes: Classes = {
  alreadyInitialized: AlreadyInitializedError,
  invalidParams: InvalidParamsError,
  emptyPrompt: EmptyPromptError,
  promptTooLarge: PromptTooLargeError,
  invalidParent: InvalidParentError,
  overloaded: OverloadedError,
  queueFull: QueueFullError,
  inboxFull: InboxFullError,
  sessionNotFound: SessionNotFoundError,
  runNotFound: RunNotFoundError,
  permissionNotFound: PermissionNotFoundError,
  deliveryNotFound: DeliveryNotFoundError,
  deadLetterNotFound: DeadLetterNotFoundError,
  agentNotFound: AgentNotFoundError,
  sessionConflict: SessionConflictError,
  runIdConflict: RunIdConflictError,
  sessionBusy: SessionBusyError,
  sessionClosed: SessionClosedError,
  sessionDormant: SessionDormantError,
  alreadyAnswered: AlreadyAnsweredError,
  cursorExpired: CursorExpiredError,
  shuttingDown: ShuttingDownError,
  ownerLost: OwnerLostError,
  storeUnavailable: StoreUnavailableError,
  storeFull: StoreFullError,
  storeCorrupt: StoreCorruptError,
  storeVersion: StoreVersionError,
  storeLocked: StoreLockedError,
  agentFailed: AgentFailedError,
  unsupported: UnsupportedError,
  frameTooLarge: FrameTooLargeError,
};

const codes: Record<number, JsonRpcErrorKind> = {
  [-32700]: "parseError",
  [-32600]: "invalidRequest",
  [-32601]: "methodNotFound",
  [-32603]: "internalError",
  [-32800]: "requestCancelled",
};

/** The error for an answer of turnlane's, of the class that its `data.kind` names. */
export function rpcError(code: number, message: string, data: unknown): RpcError {
  const facts = typeof data === "object" && data !== null ? data : {};
  const kind = "kind" in facts && typeof facts.kind === "string" ? facts.kind : undefined;
  if (kind === undefined) {
    const plain = code === -32800 ? RequestCancelledError : JsonRpcError;
    return new plain(codes[code] ?? "internalError", message, code, facts);
  }
  if (!Object.hasOwn(classes, kind)) return new RpcError(kind, message, code, facts);
  // What an answer holds is as its schema says: checked by turnlane's own tests, not again by each client.
  const known = classes[kind as ErrorKind] as new (
    kind: string,
    message: string,
    code: number,
    data: object,
  ) => RpcError;
  return new known(kind, message, code, facts);
}
