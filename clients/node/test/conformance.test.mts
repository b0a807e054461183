import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Player, type Case } from "./conformance.mjs";
import { mismatch } from "./matching.mjs";
import { folder, repository } from "./support.mjs";

const { cases } = JSON.parse(readFileSync(join(repository, "schema/examples/conformance.json"), "utf8")) as {
  cases: Case[];
};

const there = (program: string): boolean => {
  try {
    execFileSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
};

assert(cases.length > 30);
for (const { name, steps, sidecar, needs = [] } of cases) {
  const missing = needs.filter((program) => !there(program));
  const skip = missing.length > 0 && process.env.CI !== "true" ? `without ${missing.join(", ")}` : false;
  void test(`conformance: ${name}`, { skip }, async () => {
    using own = folder();
    const player = new Player(own.path, sidecar?.config ?? "");
    try {
      await player.play(steps);
    } finally {
      await player.close();
    }
  });
}

void test("what a conformance case expects is looked at", () => {
  const given = { a: 1, list: [{ b: "text" }], empty: null };
  const matches: unknown[] = [
    { a: 1 },
    { a: { $min: 1, $max: 1 }, list: [{ b: { $contains: "ex", $startsWith: "t", $endsWith: "xt" } }] },
    { list: [{ b: { $minLength: 4, $maxLength: 4 } }], nothing: { $absent: true }, empty: null },
    { list: { $unordered: [{ b: "text" }] } },
  ];
  const others: unknown[] = [
    { a: 2 },
    { a: { $min: 2 } },
    { a: { $max: 0 } },
    { a: { $absent: true } },
    { list: [] },
    { list: [{ b: "other" }] },
    { list: [{ b: { $contains: "y" } }] },
    { list: [{ b: { $startsWith: "x" } }] },
    { list: [{ b: { $endsWith: "x" } }] },
    { list: [{ b: { $minLength: 5 } }] },
    { list: [{ b: { $maxLength: 3 } }] },
    { list: { $unordered: [] } },
    { nothing: 1 },
  ];
  for (const one of matches) assert.equal(mismatch(given, one), undefined, JSON.stringify(one));
  for (const one of others) assert.notEqual(mismatch(given, one), undefined, JSON.stringify(one));
});
