import { DeliveryNotFoundError, SessionNotFoundError } from "./errors.js";
import type { Methods } from "./protocol.js";

/** A request of a client that may have to be asked again. */
export interface Asked {
  readonly method: keyof Methods;
  readonly params: Methods[keyof Methods]["params"];
  /** Its place among this client's requests. */
  readonly place: number;
  /** Milliseconds on the monotonic clock when it was first asked. */
  readonly since: number;
  /** How often it was written to a sidecar. */
  times: number;
}

/** What later requests of this client did to a session, as the places of the last of each kind. */
interface Later {
  work: number;
  open: number;
  close: number;
}

type Rule = "yes" | "no" | ((asked: Asked, later: Later) => boolean);

const followedByWork = (asked: Asked, later: Later): boolean => later.work > asked.place;

/**
 * Whether a request without an answer may be asked again of the sidecar's next life, or of a store's next owner. What may not is told to the
 * caller as not known. Complete by its type: each method has its rule.
 */
const rules: { [M in keyof Methods]: Rule } = {
  initialize: "no",
  shutdown: "no",
  exit: "no",
  // Its run id makes it the same run; without one it would be another.
  prompt: (asked) => has(asked, "runId"),
  wake: (asked) => has(asked, "runId"),
  // A second cancel of a session would hit what this client prompted after the first.
  cancel: (asked, later) => has(asked, "runId") || !followedByWork(asked, later),
  "run/wait": "yes",
  "run/get": "yes",
  "run/list": "yes",
  "run/output": "yes",
  // A text would be typed twice.
  "run/input": "no",
  "session/open": (asked, later) => later.close < asked.place,
  "session/close": (asked, later) => !followedByWork(asked, later) && later.open < asked.place,
  "session/get": "yes",
  "session/list": "yes",
  "session/wait": "yes",
  // What was taken without a lease, in an answer that is lost, is gone; taking more would hide that.
  drain: (asked) => !has(asked, "ack", "auto"),
  "drain/ack": "yes",
  "drain/release": "yes",
  "drain/extend": "yes",
  "inbox/peek": "yes",
  "deadLetter/list": "yes",
  "deadLetter/retry": (asked) => has(asked, "all", true),
  "deadLetter/purge": (asked) => has(asked, "all", true),
  "permission/respond": "yes",
  subscribe: "yes",
  "events/replay": "yes",
  "agent/list": "yes",
  stats: "yes",
  "$/cancelRequest": "no",
};

function has(asked: Asked, name: string, value?: unknown): boolean {
  const found: unknown = (asked.params as Record<string, unknown> | null)?.[name];
  return value === undefined ? found !== undefined && found !== null : found === value;
}

/** Knows in which order this client asked what of which session. */
export class Order {
  readonly #later = new Map<string, Later>();
  #places = 0;

  /** Takes the next place. */
  next(method: keyof Methods, params: Asked["params"], now: number): Asked {
    this.#places += 1;
    const sessionId = sessionOf(params);
    if (sessionId !== undefined) this.#note(sessionId, method);
    return { method, params, place: this.#places, since: now, times: 0 };
  }

  /** Where runs are not `kept`, there is none that a prompt could be the same as. */
  mayRepeat(asked: Asked, kept = true): boolean {
    if (!kept && (asked.method === "prompt" || asked.method === "wake")) return false;
    const rule = rules[asked.method];
    if (typeof rule === "string") return rule === "yes";
    return rule(asked, this.#later.get(sessionOf(asked.params) ?? "") ?? { work: 0, open: 0, close: 0 });
  }

  #note(sessionId: string, method: keyof Methods): void {
    const kinds: Partial<Record<keyof Methods, keyof Later>> = {
      prompt: "work",
      wake: "work",
      "session/open": "open",
      "session/close": "close",
    };
    const kind = kinds[method];
    if (kind === undefined) return;
    const later = this.#later.get(sessionId) ?? { work: 0, open: 0, close: 0 };
    later[kind] = this.#places;
    this.#later.set(sessionId, later);
  }
}

function sessionOf(params: Asked["params"]): string | undefined {
  if (params !== null && "sessionId" in params && typeof params.sessionId === "string") return params.sessionId;
  return undefined;
}

/** The parameters for asking now: a wait has the time that is left of it. */
export function paramsNow(asked: Asked, now: number): Asked["params"] {
  const { method, params } = asked;
  const name =
    method === "drain" ? "waitMs" : method === "run/wait" || method === "session/wait" ? "timeoutMs" : undefined;
  if (name === undefined || asked.times === 0) return params;
  const whole = (params as Record<string, unknown>)[name];
  if (typeof whole !== "number") return params;
  return { ...params, [name]: Math.max(0, Math.ceil(whole - (now - asked.since))) };
}

/** What an error says of a request that was asked before: that the first time did it. */
export function doneBefore(asked: Asked, error: unknown): Methods[keyof Methods]["result"] | undefined {
  if (asked.times < 2) return undefined;
  // The lease ended with the life that held it.
  if (asked.method === "drain/release" && error instanceof DeliveryNotFoundError) return { released: [] };
  if (asked.method === "session/close" && has(asked, "purge", true) && error instanceof SessionNotFoundError) {
    return { sessionId: error.data.sessionId };
  }
  return undefined;
}
