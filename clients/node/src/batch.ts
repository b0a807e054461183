import { after } from "./after.js";
import { DeliveryNotFoundError, LeaseLostError } from "./errors.js";
import type { Logger } from "./log.js";
import type { AckResult, Completion, DrainResult, ExtendResult, ReleaseResult } from "./protocol.js";
import type { RunOwner } from "./run.js";

/** Milliseconds that a lease lasts when the limits of turnlane do not say. */
const LEASE_MS = 30_000;

/**
 * What a drain took from an inbox, under a lease that is extended for as long as the batch is held. `ack` settles it; leaving its scope
 * (`await using`) or `release` gives back what was not settled.
 */
export class Batch implements Iterable<Completion>, AsyncDisposable {
  /** What was taken, oldest first. */
  readonly completions: readonly Completion[];
  /** What it is acknowledged by; absent when nothing was taken. */
  readonly deliveryId: string | undefined;
  /** Completions that another drain could take now. */
  readonly remaining: number;
  /** Completions that others hold. */
  readonly leased: number;
  /** Whether it was cut short: drain again. */
  readonly more: boolean;
  /** Whether it waited and the time was over first. */
  readonly timedOut: boolean;
  readonly #owner: RunOwner;
  readonly #log: Required<Logger>;
  readonly #lost = new AbortController();
  readonly #held: Set<string>;
  readonly #ended: (batch: Batch) => void;
  #expiresAt: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #extends: boolean;

  /** @internal */
  constructor(
    owner: RunOwner,
    log: Required<Logger>,
    taken: DrainResult,
    options: { leaseMs: number | undefined; extend: boolean; ended: (batch: Batch) => void },
  ) {
    this.#owner = owner;
    this.#log = log;
    this.#ended = options.ended;
    this.completions = taken.completions;
    this.deliveryId = taken.deliveryId;
    this.remaining = taken.remaining;
    this.leased = taken.leased;
    this.more = taken.more;
    this.timedOut = taken.timedOut ?? false;
    this.#expiresAt = taken.expiresAt;
    // Without a time nothing is held: it was settled as it was taken.
    this.#held = new Set(taken.expiresAt === undefined ? [] : taken.completions.map(({ runId }) => runId));
    this.#extends = options.extend;
    if (this.#held.size === 0) return;
    if (options.extend) this.#keep(options.leaseMs ?? LEASE_MS);
    else this.#lapse(options.leaseMs ?? LEASE_MS);
  }

  /** Until when it is held, in milliseconds since 1970; absent when nothing is. */
  get expiresAt(): number | undefined {
    return this.#expiresAt;
  }

  /** Aborts when the lease is lost, with a `LeaseLostError`: what is not settled is offered again. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  /** Whether something of it is held under the lease. @internal */
  get isHeld(): boolean {
    return this.#held.size > 0;
  }

  get length(): number {
    return this.completions.length;
  }

  [Symbol.iterator](): Iterator<Completion> {
    return this.completions[Symbol.iterator]();
  }

  /** Settles what was taken, or these runs of it: never offered again. Tells what somebody else holds by now. */
  async ack(runIds?: readonly string[]): Promise<AckResult> {
    if (this.deliveryId === undefined) return { settled: [], held: [], gone: [] };
    try {
      const answer = await this.#owner.request("drain/ack", {
        deliveryId: this.deliveryId,
        runIds: runIds && [...runIds],
      });
      this.#let(runIds);
      return answer;
    } catch (error) {
      throw this.#lostOr(error);
    }
  }

  /** Settles what neither `ack` nor `release` has named. @internal */
  async ackRest(): Promise<void> {
    if (this.#held.size === 0) return;
    // Also after the lease: what nobody else has been given since is settled.
    const { held } = await this.ack([...this.#held]);
    if (held.length === 0) return;
    const why = `the lease was over before it was acknowledged, and somebody else holds ${held.join(", ")}`;
    throw new LeaseLostError(why);
  }

  /** Gives back what was taken, or these runs of it: offered again at once. */
  async release(runIds?: readonly string[]): Promise<ReleaseResult> {
    if (this.deliveryId === undefined) return { released: [] };
    const { deliveryId } = this;
    this.#let(runIds);
    try {
      return await this.#owner.request("drain/release", { deliveryId, runIds: runIds && [...runIds] });
    } catch (error) {
      // Its lease is over: it has been given back already.
      if (error instanceof DeliveryNotFoundError) return { released: [] };
      throw error;
    }
  }

  /** Holds it for so long from now. */
  async extend(leaseMs: number): Promise<ExtendResult> {
    if (this.deliveryId === undefined) throw new LeaseLostError("nothing was taken, so nothing is held");
    try {
      const answer = await this.#owner.request("drain/extend", { deliveryId: this.deliveryId, leaseMs });
      this.#expiresAt = answer.expiresAt;
      if (!this.#extends && this.#held.size > 0) this.#lapse(leaseMs);
      return answer;
    } catch (error) {
      throw this.#lostOr(error);
    }
  }

  /** Gives back what is not settled. It never rejects: what can't be given back now comes back when its lease is over. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#held.size === 0) return;
    try {
      await this.release([...this.#held]);
    } catch (error) {
      this.#log.warn(`a batch could not be given back before its lease is over: ${String(error)}`);
    }
  }

  /** The lease is over, or the connection that held it is gone. What it held may still be acknowledged. @internal */
  lose(why: string): void {
    if (this.#held.size === 0) return;
    this.#stop();
    this.#lost.abort(new LeaseLostError(why));
  }

  #lostOr(error: unknown): unknown {
    if (!(error instanceof DeliveryNotFoundError)) return error;
    const why = "the lease is over, and what it held is offered again";
    this.lose(why);
    return new LeaseLostError(why, { cause: error });
  }

  #let(runIds: readonly string[] | undefined): void {
    for (const runId of runIds ?? [...this.#held]) this.#held.delete(runId);
    if (this.#held.size === 0) this.#stop();
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#ended(this);
  }

  /** Nobody extends it. */
  #lapse(leaseMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = after(leaseMs, () => this.lose("the lease is over, and what it held is offered again"));
    this.#timer?.unref();
  }

  /** Extends the lease three times in its length. */
  #keep(leaseMs: number): void {
    const extend = () => {
      this.extend(leaseMs).catch((error: unknown) => this.#log.warn(`a lease could not be extended: ${String(error)}`));
    };
    this.#timer = setInterval(extend, Math.max(1, Math.floor(leaseMs / 3)));
    // Holding a batch is no reason for a program to go on.
    this.#timer.unref();
  }
}
