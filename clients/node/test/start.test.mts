import assert from "node:assert/strict";
import { chmodSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { test } from "node:test";
import {
  BinaryNotFoundError,
  findBinary,
  ProtocolMismatchError,
  StartError,
  StoreUnavailableError,
  Turnlane,
  type SpawnOptions,
} from "turnlane";
import { folder, start } from "./support.mjs";

const real = findBinary();

/** Sets variables of this process for as long as something is done. */
async function with_<T>(variables: Record<string, string | undefined>, work: () => T | Promise<T>): Promise<T> {
  const before = Object.fromEntries(Object.keys(variables).map((name) => [name, process.env[name]]));
  const set = (values: Record<string, string | undefined>) => {
    for (const [name, value] of Object.entries(values)) {
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
    }
  };
  set(variables);
  try {
    return await work();
  } finally {
    set(before);
  }
}

function program(folder: string, name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return path;
}

/** A program that answers the first request, in headers, with what is given. */
const answering = (answer: string) => `#!${process.execPath}
process.stdin.once("data", () => {
  const text = JSON.stringify({ jsonrpc: "2.0", id: 0, ${answer} });
  process.stdout.write("Content-Length: " + Buffer.byteLength(text) + "\\r\\n\\r\\n" + text);
});
process.stdin.on("end", () => process.exit(0));
`;

void test("the_program_is_what_the_option_says_else_the_variable_else_what_is_on_the_path", async () => {
  using own = folder();
  const [one, two, three] = ["one", "two", "turnlane"].map((name) => {
    const path = join(own.path, name);
    symlinkSync(real, path);
    return path;
  });
  await with_({ TURNLANE_BIN: two, PATH: own.path }, () => {
    assert.equal(findBinary(one), one);
    assert.equal(findBinary("one"), one);
    assert.equal(findBinary(), two);
  });
  await with_({ TURNLANE_BIN: undefined, PATH: `/nowhere:${own.path}` }, () => assert.equal(findBinary(), three));
});

void test("a_relative_folder_of_the_path_is_this_process_s_and_not_the_sidecar_s", async () => {
  using own = folder();
  const path = join(own.path, "turnlane");
  symlinkSync(real, path);
  await with_({ TURNLANE_BIN: undefined, PATH: `:${relative(process.cwd(), own.path)}` }, async () => {
    assert.equal(findBinary(), path);
    await using t = await start(own.path, { cwd: tmpdir() });
    assert.equal((await t.stats()).role, "owner");
  });
});

void test("what_is_named_and_not_there_is_told_and_nothing_else_is_taken", async () => {
  using own = folder();
  const plain = join(own.path, "plain");
  writeFileSync(plain, "no program");
  await with_({ TURNLANE_BIN: join(own.path, "gone") }, async () => {
    assert.throws(() => findBinary(), { kind: "binaryNotFound", message: /TURNLANE_BIN names .*gone/ });
    assert.throws(() => findBinary(plain), { message: /the option `binary` names .*plain/ });
    await assert.rejects(Turnlane.spawn(), BinaryNotFoundError);
  });
  await with_({ TURNLANE_BIN: undefined, PATH: own.path }, () => {
    assert.throws(() => findBinary(), { kind: "binaryNotFound", message: /TURNLANE_BIN/ });
    assert.throws(() => findBinary("turnlane"), { message: /on the PATH/ });
  });
});

void test("a_program_that_is_no_turnlane_is_told_with_its_last_words", async () => {
  using own = folder();
  const refuses = async (text: string, message: RegExp, options: SpawnOptions = {}) => {
    const binary = program(own.path, "fake", text);
    await assert.rejects(Turnlane.spawn({ binary, ...options }), (error) => {
      assert(error instanceof StartError);
      assert.match(error.message, message);
      assert.match(error.message, /fake/);
      return true;
    });
  };
  await refuses("#!/bin/sh\necho the disk is on fire >&2\nexit 7\n", /ended with status 7.*the disk is on fire/);
  await refuses("#!/bin/sh\nkill -9 $$\n", /was ended by SIGKILL/);
  await refuses("#!/nowhere/interpreter\n", /could not be run/);
  await refuses("#!/bin/sh\nexec cat\n", /does not know how to begin/);
  await refuses("#!/bin/sh\nexec sleep 1000\n", /did not answer within 50 ms/, { startTimeoutMs: 50 });
});

void test("what_no_program_can_be_given_is_told", async () => {
  using own = folder();
  const given: [SpawnOptions, RegExp][] = [
    [{ binary: `${real}\0` }, /the option `binary`, ".*\\u0000", has a NUL/],
    [{ cwd: `${own.path}\0` }, /the option `cwd`, ".*\\u0000", has a NUL/],
    [{ args: ["--log-level", "a\0b"] }, /an argument, "a\\u0000b", has a NUL/],
    [{ config: "\0" }, /an argument, "\\u0000", has a NUL/],
    [{ env: { TOKEN: "secret\0" } }, /^the variable "TOKEN" of the option `env` has a NUL/],
    [{ env: { "a\0": "b" } }, /the variable "a\\u0000" /],
    // More than the system takes is found out by trying.
    [{ args: ["x".repeat(10_000_000)] }, /could not be run .*E2BIG/],
  ];
  for (const [options, message] of given) {
    await assert.rejects(start(own.path, options), (error) => {
      assert(error instanceof StartError, String(error));
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  }
  await using t = await start(own.path, { env: { GONE: undefined } });
  assert.equal((await t.stats()).clients, 1);
});

void test("another_version_of_the_protocol_is_told_with_both", async () => {
  using own = folder();
  const newer = `result: { protocolVersion: 2, serverInfo: { name: "turnlane", version: "9.0.0" } }`;
  const older = `error: { code: -32602, message: "version 1 is not spoken here", data: { kind: "invalidParams", field: "protocolVersion" } }`;
  for (const [answer, words] of [
    [newer, /turnlane 9\.0\.0 and speaks version 2 .* this client speaks 1/],
    [older, /version 1 is not spoken here; this client speaks 1/],
    [`result: "hello"`, /a program of no version and speaks version undefined/],
  ] as const) {
    const binary = program(own.path, "fake", answering(answer));
    await assert.rejects(Turnlane.spawn({ binary }), (error) => {
      assert(error instanceof ProtocolMismatchError);
      assert.match(error.message, words);
      return true;
    });
  }
});

void test("a_store_that_can_not_be_opened_is_told_by_its_kind_and_in_the_log", async () => {
  using own = folder();
  writeFileSync(join(own.path, "store"), "a file");
  const lines: string[] = [];
  const warned: string[] = [];
  const { info, error } = console;
  await assert.rejects(start(own.path, { logger: { appendLine: (line) => lines.push(line) } }), {
    kind: "storeUnavailable",
  });
  await assert.rejects(
    start(own.path, { logger: { info, error, warn: (line) => warned.push(line) } }),
    StoreUnavailableError,
  );
  assert.match(lines.join(), /^\[warn\] turnlane: .*the store is not available/);
  assert.match(warned.join(), /^turnlane: .*the store is not available/);
});

void test("a_start_can_be_given_up", async () => {
  using own = folder();
  const binary = program(own.path, "fake", "#!/bin/sh\nexec sleep 1000\n");
  const giveUp = new AbortController();
  const starting = Turnlane.spawn({ binary, signal: giveUp.signal });
  giveUp.abort();
  await assert.rejects(starting, { name: "AbortError" });
  await assert.rejects(Turnlane.spawn({ signal: AbortSignal.abort() }), { name: "AbortError" });
});
