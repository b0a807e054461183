import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import * as turnlane from "turnlane";
import { PROTOCOL_VERSION, Turnlane, version } from "turnlane";
import { repository, root } from "./support.mjs";

interface Definition {
  properties?: { data?: { properties: { kind: { const: string } } }; method?: { const: string } };
}

const schema = JSON.parse(readFileSync(join(repository, "schema/turnlane.schema.json"), "utf8")) as {
  $defs: Record<string, Definition>;
};

void test("every_kind_of_error_has_a_class_of_its_name", () => {
  const kinds = Object.values(schema.$defs).flatMap(({ properties }) => properties?.data?.properties.kind.const ?? []);
  assert(kinds.length > 30);
  const classes = turnlane as unknown as Record<string, new (...args: unknown[]) => Error>;
  for (const kind of kinds) {
    const name = `${kind.charAt(0).toUpperCase()}${kind.slice(1)}Error`;
    const made = classes[name];
    assert(made !== undefined, name);
    const error = new made(kind, "what to do", -32000, { kind });
    assert(error instanceof turnlane.RpcError && error instanceof turnlane.TurnlaneError && error instanceof Error);
    assert.deepEqual([error.name, error.kind, error.code, error.data], [name, kind, -32000, { kind }]);
  }
});

void test("every_method_of_the_protocol_has_one_of_the_client", () => {
  const methods = Object.values(schema.$defs).flatMap(({ properties }) => properties?.method?.const ?? []);
  const named: Record<string, string> = {
    initialize: "info",
    "run/wait": "wait",
    "run/get": "getRun",
    "run/list": "listRuns",
    "session/open": "openSession",
    "session/close": "closeSession",
    "session/get": "getSession",
    "session/list": "listSessions",
    "session/wait": "waitSession",
    "drain/ack": "ack",
    "drain/release": "release",
    "drain/extend": "extend",
    "inbox/peek": "peek",
    "deadLetter/list": "listDeadLetters",
    "deadLetter/retry": "retryDeadLetters",
    "deadLetter/purge": "purgeDeadLetters",
    "permission/respond": "respond",
    "events/replay": "replay",
    "agent/list": "listAgents",
    exit: "close",
  };
  const elsewhere = ["run/output", "run/input", "$/cancelRequest"];
  const notifications = /^(run\/(changed|completed)|inbox\/changed|session\/changed|wake\/skipped|deadLetter\/added)$/;
  for (const method of methods.filter((one) => !notifications.test(one) && !elsewhere.includes(one))) {
    const name = named[method] ?? method;
    assert(name in Turnlane.prototype, `${method} has no ${name}`);
  }
  assert("output" in turnlane.Run.prototype && "input" in turnlane.Run.prototype);
});

void test("the_versions_are_those_of_the_package_and_the_schema", () => {
  const text = readFileSync(join(root, "package.json"), "utf8");
  assert.equal(version, (JSON.parse(text) as { version: string }).version);
  assert.equal(PROTOCOL_VERSION, 1);
});
