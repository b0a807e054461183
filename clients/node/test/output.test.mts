import assert from "node:assert/strict";
import { test } from "node:test";
import type { Chunk, Run } from "turnlane";
import { folder, kill, settled, start } from "./support.mjs";

/** Reads a run to its end; each chunk is to begin where the one before ended, less what is counted. */
async function whole(run: Run): Promise<string> {
  let [text, end] = ["", 0];
  for await (const chunk of run) {
    assert.equal(chunk.offset, end + chunk.dropped);
    end = chunk.offset + chunk.bytes.length;
    text += chunk.text;
  }
  return text;
}

/** Reads a run in the background; `heard` resolves when a text has come. */
function reading(run: Run, text: string): { heard: Promise<void>; all: Promise<string> } {
  const heard = settled<undefined>();
  const all = (async () => {
    let read = "";
    for await (const chunk of run) {
      read += chunk.text;
      if (read.includes(text)) heard.resolve(undefined);
    }
    return read;
  })();
  return { heard: heard.promise, all };
}

void test("a_run_that_is_prompted_or_attached_to_again_is_read_once", async () => {
  using own = folder();
  await using t = await start(own.path);
  const prompt = "say one\nhold door\nsay two";
  const first = await t.prompt("demo", prompt, { runId: "x" });
  const { heard, all } = reading(first, "one");
  await heard;
  const again = await t.prompt("demo", prompt, { runId: "x" });
  assert.equal(again.duplicate, true);
  await t.attach("x");
  await t.prompt("demo", "release door", { ifBusy: "steer" });
  assert.equal(await all, "one\ntwo\n");
  const [three] = await Promise.all([1, 2, 3].map(() => t.prompt("other", "say one\nsay two", { runId: "y" })));
  assert(three !== undefined);
  assert.equal(await whole(three), "one\ntwo\n");
  assert.equal(first.dropped, 0);
});

void test("runs_that_are_attached_to_and_prompted_at_once_are_all_heard", async () => {
  using own = folder();
  await using t = await start(own.path);
  await using other = await start(own.path);
  const names = ["a", "b", "c", "d"];
  for (const name of names) await t.prompt(name, "say before\nhold door\nsay after", { runId: name });
  await using third = await start(own.path);
  const attached = (await Promise.all(names.map((name) => third.attach(name)))).map(whole);
  const begun = names.map((name) => other.attach(name));
  const fresh = ["e", "f"].map((name) => other.prompt(name, "say before\nhold door\nsay after"));
  const runs = await Promise.all([...begun, ...fresh]);
  const texts = runs.map(whole);
  // Of these somebody chooses another set while all is under way.
  await Promise.all([other.subscribe("all"), other.attach("a"), other.prompt("g", "say seven")]);
  for (const { sessionId } of runs) await t.prompt(sessionId, "release door", { ifBusy: "steer" });
  for (const text of [...texts, ...attached]) assert.equal(await text, "before\nafter\n");
});

void test("what_was_chosen_while_prompts_were_under_way_is_what_is_heard", async () => {
  using own = folder();
  await using t = await start(own.path);
  await t.openSession("chosen");
  const ended: string[] = [];
  t.on("run/completed", ({ sessionId }) => ended.push(sessionId));
  // In the order of asking: one before the choice, which takes it away, one after it, which adds it.
  const asked = [t.prompt("before", "hold door"), t.subscribe(["chosen"]), t.prompt("after", "say one")] as const;
  const [before, , after] = await Promise.all(asked);
  await after.completion;
  await before.cancel();
  assert.equal((await before.completion).outcome, "cancelled");
  await (
    await t.prompt("chosen", "say two")
  ).completion;
  assert.deepEqual(ended, ["after", "chosen"]);
  await assert.rejects(t.subscribe(["nobody"]), { kind: "sessionNotFound" });
  assert.equal(await (await t.prompt("after", "say three")).read(), "three\n");
});

void test("a_prompt_that_was_refused_takes_nothing_from_whom_it_attaches_to_next", async () => {
  using own = folder();
  await using t = await start(own.path);
  await using other = await start(own.path);
  const run = await t.prompt("demo", "say one\nhold door\nsay two", { runId: "x" });
  await reading(run, "one").heard;
  await assert.rejects(other.prompt("demo", "say no", { ifBusy: "reject" }), { kind: "sessionBusy" });
  const theirs = await other.attach("x");
  await t.prompt("demo", "release door", { ifBusy: "steer" });
  assert.equal(await whole(theirs), "one\ntwo\n");
});

void test("characters_that_are_split_between_chunks_are_whole_in_their_text", async () => {
  using own = folder();
  await using t = await start(own.path, { defaultAgent: "sh" });
  const bytes = String.raw`printf 'a\342'; read -r _ < 1; printf 'e' >&2; printf '\202'; read -r _ < 2; printf '\254b'; read -r _ < 3; printf '\360\237'`;
  const run = await t.prompt("demo", `cd ${own.path}; mkfifo 1 2 3; printf r; ${bytes}`);
  const texts: string[] = [];
  const said: Uint8Array[] = [];
  const go = async (gate: number) =>
    assert.equal((await (await t.prompt("gate", `: > ${own.path}/${gate}`)).completion).outcome, "completed");
  const gates = new Map([
    ["ra", 1],
    ["rae", 2],
    ["rae€b", 3],
  ]);
  for await (const chunk of run) {
    texts.push(chunk.text);
    said.push(chunk.bytes);
    const gate = gates.get(texts.join("")) ?? 0;
    // What was begun is there before the gate opens.
    const open = { 1: "\xe2", 2: "\x82", 3: "b" }[gate];
    if (open === undefined || !Buffer.concat(said).toString("latin1").includes(open)) continue;
    gates.delete(texts.join(""));
    await go(gate);
  }
  assert.equal(Buffer.concat(said).length, Buffer.from("rae\xe2\x82\xacb\xf0\x9f", "latin1").length);
  // The last is nobody's beginning any more.
  assert.equal(texts.join(""), "rae€b\ufffd");
  const long = await t.prompt("long", "for i in $(seq 10000); do printf 'é€😀'; done");
  const text = await long.read();
  if (long.dropped === 0) assert.equal(text, "é€😀".repeat(10000));
});

void test("callbacks_hear_all_of_a_run_and_hurt_nobody", async () => {
  using own = folder();
  const errors: string[] = [];
  const log = { info: () => undefined, warn: () => undefined, error: (line: string) => errors.push(line) };
  await using t = await start(own.path, { logger: log });
  let told = 0;
  t.on("run/output", () => (told += 1));
  const broken = await t.prompt("demo", "say one", {
    onOutput: () => {
      throw new Error("no room");
    },
  });
  await broken.completion;
  assert.equal(told, 1);
  assert.match(errors.join(), /no room/);
  const run = await t.prompt("demo", "say one\nhold door\nask May I?", { runId: "x" });
  const heard: string[] = [];
  const begun = settled<undefined>();
  const onOutput = (chunk: Chunk) => {
    heard.push(chunk.text);
    begun.resolve(undefined);
  };
  // The callbacks of the last who was accepted count.
  await assert.rejects(t.prompt("demo", "say other", { runId: "x", onOutput: () => assert.fail() }), {
    kind: "runIdConflict",
  });
  await t.attach("x", { onOutput, onPermission: () => "yes" });
  await begun.promise;
  await t.prompt("demo", "release door", { ifBusy: "steer" });
  await run.completion;
  assert.equal(heard.join(""), "one\nyes\n");
});

void test("a_run_that_its_reader_outlives_a_sidecar_with_is_read_on", async () => {
  using own = folder();
  await using owner = await start(own.path);
  await using t = await start(own.path);
  assert.equal(t.info.role, "attached");
  const run = await t.prompt("demo", "say one\nhold door\nsay two\nhold gate", { runId: "x" });
  const { heard, all } = reading(run, "one");
  await heard;
  const two = reading(await owner.attach("x"), "two");
  await kill(t);
  // Said while nobody was there to hear it, or shortly after: it is read all the same.
  await owner.prompt("demo", "release door", { ifBusy: "steer" });
  await two.heard;
  await t.stats();
  await owner.prompt("demo", "release gate", { ifBusy: "steer" });
  assert.equal(await all, "one\ntwo\n");
});
