// Runs the tests against the real program, which TURNLANE_BIN names. Arguments go to node's test runner.
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = `${root}node_modules/typescript/bin/tsc`;
rmSync(`${root}build`, { recursive: true, force: true });
execFileSync(process.execPath, [`${root}scripts/generate.mjs`, "--check"], { cwd: root, stdio: "inherit" });
execFileSync(process.execPath, [tsc, "-p", "tsconfig.test.json"], { cwd: root, stdio: "inherit" });
const files = readdirSync(`${root}build/test`).filter((name) => name.endsWith(".test.mjs"));
const tests = files.map((name) => `build/test/${name}`);
// The runner's own variables would make it a part of another run.
const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
const options = ["--test", "--test-timeout=600000", "--enable-source-maps", ...process.argv.slice(2)];
const { status } = spawnSync(process.execPath, [...options, ...tests], { cwd: root, stdio: "inherit", env });
process.exitCode = status ?? 1;
