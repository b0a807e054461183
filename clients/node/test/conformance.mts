import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  Turnlane,
  TurnlaneError,
  RpcError,
  type DurableEvent,
  type EventStream,
  type Methods,
  type Permission,
  type PromptParams,
  type RpcError as AnyRpcError,
  type Run,
} from "turnlane";
import { filled, mismatch } from "./matching.mjs";
import { kill, settled } from "./support.mjs";

/** Milliseconds after which a step has failed. */
const STEP_MS = 60_000;

export interface Step {
  do: string;
  client?: string;
  with?: Record<string, unknown>;
  expect?: unknown;
  error?: unknown;
  as?: string;
  later?: boolean;
  steps?: Step[];
  fails?: boolean;
}

export interface Case {
  name: string;
  steps: Step[];
  sidecar?: { config?: string };
  needs?: string[];
}

/** One client of a case, with what its user keeps. */
interface Client {
  t: Turnlane;
  runs: Map<string, { run: Run; chunks: AsyncIterator<Chunk, undefined>; read: Chunk[] }>;
  events: EventStream;
  told: DurableEvent[];
  questions: Map<string, ReturnType<typeof settled<Permission>>>;
  answer: string | undefined;
}

type Chunk = Run extends AsyncIterable<infer C> ? C : never;

interface Begun {
  result: Promise<unknown>;
  abort: AbortController;
}

/** Plays one case against clients of this package. */
export class Player {
  readonly #store: string;
  readonly #config: string;
  readonly #clients = new Map<string, Promise<Client>>();
  readonly #results = new Map<string, unknown>();
  readonly #begun = new Map<string, Begun>();

  constructor(folder: string, config: string) {
    this.#store = join(folder, "store");
    this.#config = join(folder, "turnlane.toml");
    writeFileSync(this.#config, config);
  }

  async close(): Promise<void> {
    for (const client of this.#clients.values()) await (await client).t.close();
  }

  async play(steps: Step[], index?: number): Promise<void> {
    for (const step of steps) {
      const said = `${step.do} ${JSON.stringify(step.with ?? {})}`;
      try {
        await this.#step(step, index);
      } catch (error) {
        throw new Error(`${said}: ${(error as Error).message}`, { cause: error });
      }
    }
  }

  async #step(step: Step, index: number | undefined): Promise<void> {
    const given = filled(step.with ?? {}, this.#results, index) as Record<string, unknown>;
    if (step.do === "repeat") {
      for (let i = 0; i < (given.times as number); i += 1) await this.play(step.steps ?? [], i);
      return;
    }
    const client = await this.#client(step.client ?? "main");
    const abort = new AbortController();
    const result = this.#do(step, given, client, abort.signal);
    if (step.later === true) {
      result.catch(() => undefined);
      this.#begun.set(step.as ?? "", { result, abort });
      return;
    }
    await this.#check(step, result, index);
  }

  async #check(step: Step, result: Promise<unknown>, index?: number): Promise<void> {
    const late = new Promise<never>((_, reject) => {
      setTimeout(() => reject(new Error(`took longer than ${STEP_MS} ms`)), STEP_MS).unref();
    });
    let value: unknown;
    try {
      value = await Promise.race([result, late]);
    } catch (error) {
      if (step.error === undefined || !(error instanceof TurnlaneError)) throw error;
      const { kind, message } = error;
      const { code, data } = error instanceof RpcError ? (error as AnyRpcError) : { code: undefined, data: undefined };
      const wrong = mismatch({ kind, code, data, message }, filled(step.error, this.#results, index), "error");
      assert.equal(wrong, undefined);
      return;
    }
    assert.equal(step.error, undefined, `did not fail: ${JSON.stringify(value)}`);
    if (step.as !== undefined) this.#results.set(step.as, value);
    if (step.expect !== undefined) assert.equal(mismatch(value, filled(step.expect, this.#results, index)), undefined);
  }

  #client(name: string): Promise<Client> {
    const known = this.#clients.get(name);
    if (known !== undefined) return known;
    const started = this.#start();
    this.#clients.set(name, started);
    return started;
  }

  async #start(): Promise<Client> {
    const questions: Client["questions"] = new Map();
    const t = await Turnlane.spawn({
      store: this.#store,
      config: this.#config,
      onPermission: (request) => {
        asked(client, request.runId).resolve(request);
        return client.answer;
      },
    });
    const events = t.events({ only: ["run/completed", "deadLetter/added"] });
    const client: Client = { t, runs: new Map(), events, told: [], questions, answer: undefined };
    return client;
  }

  async #do(step: Step, given: Record<string, unknown>, client: Client, signal: AbortSignal): Promise<unknown> {
    const { t } = client;
    const id = (name: string) => given[name] as string;
    const { sessionId: _session, runId: _run, ...rest } = given;
    switch (step.do) {
      case "hello":
        return t.info;
      case "prompt":
        return prompt(client, given as unknown as PromptParams, signal);
      case "completion":
        // What may be given up is a wait; the promise is simply left alone.
        return step.later === true
          ? of(client, id("runId")).run.wait({ signal })
          : of(client, id("runId")).run.completion;
      case "output":
        return output(of(client, id("runId")));
      case "readUntil":
        return readUntil(of(client, id("runId")), id("text"));
      case "question":
        return asked(client, id("runId")).promise;
      case "answerQuestions":
        client.answer = id("optionId");
        return undefined;
      case "events":
        return events(client, given.until);
      case "lease":
        return this.#lease(step, t, given, signal);
      case "join":
        await this.#check({ do: "join", as: id("step") }, this.#later(id("step")).result);
        return this.#later(id("step")).result;
      case "giveUp": {
        const begun = this.#later(id("step"));
        begun.abort.abort();
        await assert.rejects(begun.result, { name: "AbortError" });
        return undefined;
      }
      case "kill":
        return kill(t);
      case "leave":
        return t.close();
      case "session/open":
        return t.openSession(given.sessionId as string | undefined, { ...rest, signal });
      case "session/get":
        return t.getSession(id("sessionId"), { signal });
      case "session/wait":
        return t.waitSession(id("sessionId"), given.until as "idle", { timeoutMs: given.timeoutMs as number, signal });
      case "session/close":
        await t.closeSession(id("sessionId"), { ...rest, signal });
        return { sessionId: given.sessionId };
      case "run/get":
        return t.getRun(id("runId"), { signal });
      case "run/wait":
        return given.runIds === undefined
          ? t.request("run/wait", given, { signal })
          : t.wait(given.runIds as string[], { ...given, signal });
      case "cancel":
        return given.runId === undefined
          ? t.cancel(id("sessionId"), { ...rest, signal })
          : t.cancelRun(id("runId"), { signal });
      case "drain":
        return t.drain(id("sessionId"), { ...rest, extend: false, signal });
      case "wake":
        return t.wake(id("sessionId"), id("reason"), { ...given, sessionId: undefined, signal } as object);
      case "drain/ack":
        return t.ack(id("deliveryId"), given.runIds as string[] | undefined, { signal });
      case "drain/release":
        return t.release(id("deliveryId"), given.runIds as string[] | undefined, { signal });
      case "drain/extend":
        return t.extend(id("deliveryId"), given.leaseMs as number, { signal });
      case "run/list":
        return t.listRuns({ ...given, signal });
      case "session/list":
        return t.listSessions({ ...given, signal });
      case "deadLetter/list":
        return t.listDeadLetters({ ...given, signal });
      case "agent/list":
        return t.listAgents({ signal });
      case "stats":
        return t.stats({ signal });
      case "events/replay":
        return t.replay(id("after"), { ...given, after: undefined, signal } as object);
      case "inbox/peek":
        return t.peek(id("sessionId"), { ...rest, signal });
      case "permission/respond":
        return t.respond(id("runId"), id("requestId"), id("optionId"), { signal });
      case "subscribe":
        return t.subscribe(given.sessions as "all", { ...rest, signal });
      case "shutdown":
        return t.shutdown(given, { signal });
      default:
        // What has no idiom beside the method itself.
        return t.request(step.do as keyof Methods, given, { signal });
    }
  }

  #later(name: string): Begun {
    const begun = this.#begun.get(name);
    assert(begun !== undefined, `${name} was not begun`);
    return begun;
  }

  async #lease(step: Step, t: Turnlane, given: Record<string, unknown>, signal: AbortSignal): Promise<unknown> {
    const { sessionId, ...rest } = given;
    const own = new Error("the work went wrong");
    let taken: unknown;
    const inside = t.drained(
      sessionId as string,
      async (batch) => {
        taken = batch;
        if (step.as !== undefined) this.#results.set(step.as, batch);
        await this.play(step.steps ?? []);
        if (step.fails === true) throw own;
      },
      { ...rest, signal },
    );
    if (step.fails === true) await assert.rejects(inside, (error) => error === own);
    else await inside;
    return taken;
  }
}

async function prompt(client: Client, params: PromptParams, signal: AbortSignal): Promise<unknown> {
  const { sessionId, prompt, ...options } = params;
  const run = await client.t.prompt(sessionId, prompt, { ...options, signal });
  client.runs.set(run.runId, { run, chunks: run[Symbol.asyncIterator](), read: [] });
  return run.accepted;
}

function of(client: Client, runId: string) {
  const known = client.runs.get(runId);
  assert(known !== undefined, `this client has not prompted ${runId}`);
  return known;
}

function asked(client: Client, runId: string): ReturnType<typeof settled<Permission>> {
  const known = client.questions.get(runId) ?? settled<Permission>();
  client.questions.set(runId, known);
  return known;
}

type Reading = ReturnType<typeof of>;

async function output({ chunks, read }: Reading): Promise<unknown> {
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) read.push(next.value);
  let end = 0;
  let missed = 0;
  let inOrder = true;
  for (const chunk of read) {
    if (chunk.offset < end) inOrder = false;
    missed += Math.max(0, chunk.offset - end);
    end = chunk.offset + chunk.bytes.length;
  }
  const bytes = Buffer.concat(read.map((chunk) => chunk.bytes));
  const text = read.every((chunk) => chunk.isText) ? bytes.toString() : undefined;
  return { text, base64: bytes.toString("base64"), bytes: bytes.length, missed, inOrder };
}

async function readUntil({ chunks, read }: Reading, text: string): Promise<void> {
  while (!read.map(String).join("").includes(text)) {
    const next = await chunks.next();
    assert(next.done !== true, `its output ended without ${JSON.stringify(text)}`);
    read.push(next.value);
  }
}

async function events(client: Client, until: unknown): Promise<unknown> {
  for (;;) {
    const next = await client.events.next();
    assert(next.done !== true, "the events ended");
    const event = next.value as DurableEvent;
    client.told.push(event);
    if (mismatch(event, until) !== undefined) continue;
    const completed = client.told.filter(({ method }) => method === "run/completed");
    return { runIds: completed.map(({ params }) => params.runId), last: event };
  }
}
