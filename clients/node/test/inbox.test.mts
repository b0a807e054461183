import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { LeaseLostError, type Batch, type Turnlane } from "turnlane";
import { folder, start } from "./support.mjs";

/** A parent with these completions of a child in its inbox. */
async function filled(t: Turnlane, ...runIds: string[]): Promise<void> {
  await t.openSession("parent");
  await t.openSession("child", { parent: "parent" });
  const runs = await Promise.all(runIds.map((runId) => t.prompt("child", `say ${runId}`, { runId })));
  await Promise.all(runs.map((run) => run.completion));
}

const ids = (batch: Batch): string[] => [...batch].map(({ runId }) => runId);

async function holds(t: Turnlane): Promise<{ pending: number; leased: number }> {
  const { pending, leased } = await t.peek("parent");
  return { pending, leased };
}

void test("what_was_dealt_with_is_settled_when_the_callback_returns", async () => {
  using own = folder();
  await using t = await start(own.path);
  await filled(t, "a", "b");
  const taken = await t.drained("parent", async (batch) => {
    assert.deepEqual(await holds(t), { pending: 0, leased: 2 });
    return ids(batch);
  });
  assert.deepEqual(taken, ["a", "b"]);
  assert.deepEqual(await holds(t), { pending: 0, leased: 0 });
  assert.equal(await t.drained("parent", (batch) => batch.length), 0);
});

void test("what_failed_is_given_back_and_the_error_comes_out_as_it_was", async () => {
  using own = folder();
  await using t = await start(own.path);
  await filled(t, "a", "b");
  const why = new Error("no");
  const failing = t.drained("parent", async (batch) => {
    await batch.ack(["a"]);
    throw why;
  });
  await assert.rejects(failing, (error) => error === why);
  await using batch = await t.drain("parent");
  assert.deepEqual(ids(batch), ["b"]);
  assert.equal(batch.completions[0]?.attempt, 2);
});

void test("a_batch_gives_back_at_the_end_of_its_scope_what_is_not_settled", async () => {
  using own = folder();
  await using t = await start(own.path);
  await filled(t, "a", "b", "c");
  {
    await using batch = await t.drain("parent");
    assert.deepEqual(await batch.ack(["a"]), { settled: ["a"], held: [], gone: [] });
    assert.deepEqual(await batch.release(["b"]), { released: ["b"] });
    assert.deepEqual(await holds(t), { pending: 1, leased: 1 });
  }
  assert.deepEqual(await holds(t), { pending: 2, leased: 0 });
  {
    await using batch = await t.drain("parent");
    await batch.ack();
  }
  assert.deepEqual(await holds(t), { pending: 0, leased: 0 });
});

void test("a_lease_is_extended_for_as_long_as_its_batch_is_held", async () => {
  using own = folder();
  await using t = await start(own.path);
  await using other = await start(own.path);
  await filled(t, "a");
  await t.drained(
    "parent",
    async (batch) => {
      // Three times as long as the lease, and nobody else is given it.
      const theirs = await other.drain("parent", { waitMs: 900 });
      assert.deepEqual([theirs.length, theirs.timedOut], [0, true]);
      assert.equal(batch.signal.aborted, false);
    },
    { leaseMs: 300 },
  );
  assert.deepEqual(await holds(t), { pending: 0, leased: 0 });
});

void test("a_lease_that_is_not_extended_comes_back_and_its_batch_says_so", async () => {
  using own = folder();
  await using t = await start(own.path);
  await using other = await start(own.path);
  await filled(t, "a");
  const batch = await t.drain("parent", { leaseMs: 30, extend: false });
  const theirs = await other.drain("parent", { waitMs: 60_000 });
  assert.deepEqual(ids(theirs), ["a"]);
  await assert.rejects(batch.extend(1000), LeaseLostError);
  assert(batch.signal.reason instanceof LeaseLostError);
  assert.deepEqual((await batch.ack()).held, ["a"]);
  assert.deepEqual(await batch.release(), { released: [] });
  await theirs.ack();
});

void test("what_was_dealt_with_longer_than_its_lease_is_settled_or_it_is_told", async () => {
  using own = folder();
  await using t = await start(own.path);
  await using other = await start(own.path);
  await filled(t, "a");
  const blocked = async (batch: Batch) => {
    // Nothing of this program runs meanwhile, so nothing is extended.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    while (!batch.signal.aborted) await new Promise((resolve) => setImmediate(resolve));
    return ids(batch);
  };
  assert.deepEqual(await t.drained("parent", blocked, { leaseMs: 30 }), ["a"]);
  assert.deepEqual(await holds(t), { pending: 0, leased: 0 });
  await filled(t, "b");
  const taken: Batch[] = [];
  const late = t.drained(
    "parent",
    async (batch) => {
      taken.push(await other.drain("parent", { waitMs: 60_000 }));
      // It is known here too that the lease is over.
      while (!batch.signal.aborted) await new Promise((resolve) => setImmediate(resolve));
      assert(batch.signal.reason instanceof LeaseLostError);
    },
    { leaseMs: 30, extend: false },
  );
  await assert.rejects(late, (error) => error instanceof LeaseLostError && error.message.includes("b"));
  for (const batch of taken) assert.deepEqual((await batch.ack()).settled, ["b"]);
});

void test("an_aborted_drain_takes_nothing_even_if_its_answer_was_on_the_way", async () => {
  using own = folder();
  await using t = await start(own.path);
  await filled(t, "a");
  const giveUp = new AbortController();
  const drain = t.drain("parent", { signal: giveUp.signal });
  giveUp.abort();
  await assert.rejects(drain, { name: "AbortError" });
  await using batch = await t.drain("parent", { waitMs: 60_000 });
  assert.deepEqual(ids(batch), ["a"]);
});

void test("dead_letters_are_listed_put_back_and_removed", async () => {
  using own = folder();
  await using t = await start(own.path);
  await filled(t, "a", "b");
  await t.closeSession("parent", { purge: true });
  const letters: string[] = [];
  for await (const { runId, why } of t.deadLetters({ parent: "parent" })) letters.push(`${runId} ${why}`);
  assert.deepEqual(letters, ["a parentPurged", "b parentPurged"]);
  await t.openSession("heir");
  assert.deepEqual(await t.retryDeadLetters(["a"], { parent: "heir" }), { retried: ["a"] });
  assert.deepEqual(await t.purgeDeadLetters("all"), { purged: ["b"] });
  await t.drained("heir", (batch) => assert.deepEqual(ids(batch), ["a"]));
  await assert.rejects(t.retryDeadLetters(["b"]), { kind: "deadLetterNotFound" });
});

void test("a_batch_that_was_settled_as_it_was_taken_is_not_kept", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  using own = folder();
  await using t = await start(own.path);
  await filled(t, "a", "b");
  const take = async (): Promise<WeakRef<Batch>> => {
    const batch = await t.drain("parent", { ack: "auto", max: 1 });
    assert.equal(batch.length, 1);
    return new WeakRef(batch);
  };
  const first = await take();
  await take();
  // What has just been waited for may be held by that for a turn.
  for (let turn = 0; turn < 100 && first.deref() !== undefined; turn += 1) {
    await nextTurn();
    collect();
  }
  assert.equal(first.deref(), undefined);
});
