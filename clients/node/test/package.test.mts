import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join, relative } from "node:path";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { folder, root } from "./support.mjs";

const own = folder();
const user = join(own.path, "user");

/** Runs a program in the folder of somebody who has installed the package, with a store of its own. */
function run(program: string, ...args: string[]): string {
  const env = { ...process.env, TURNLANE_STORE: join(own.path, "store") };
  return execFileSync(program, args, { cwd: user, env, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
}

const tool = (path: string): string => join(root, "node_modules", path);

/** The programs of the README, by the name in their first line. */
function written(): Map<string, string> {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const blocks = readme.matchAll(/^```(?:js|ts)\n\/\/ (\S+\.[cm]?[jt]s)\n([^]*?)^```$/gm);
  return new Map([...blocks].map(([, name = "", text = ""]) => [name, text]));
}

before(() => {
  mkdirSync(user);
  const npm = (...args: string[]) =>
    execFileSync("npm", args, { cwd: user, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  npm("pack", root, "--ignore-scripts", "--silent");
  const [archive = ""] = readdirSync(user).filter((name) => name.endsWith(".tgz"));
  npm("init", "--yes");
  npm("install", "--prefer-offline", "--no-audit", "--no-fund", `./${archive}`);
  for (const [name, text] of written()) writeFileSync(join(user, name), text);
});

after(() => own[Symbol.dispose]());

void test("the_package_holds_what_it_needs_and_nothing_else", () => {
  const there = readdirSync(join(user, "node_modules/turnlane")).sort();
  assert.deepEqual(there, ["LICENSE", "README.md", "dist", "examples", "package.json"]);
  assert.deepEqual(
    readdirSync(join(user, "node_modules")).filter((name) => !name.startsWith(".")),
    ["turnlane", "vscode-jsonrpc"],
  );
});

void test("the_readme_links_to_what_is_in_the_package", () => {
  const there = join(user, "node_modules/turnlane");
  const links = [...readFileSync(join(there, "README.md"), "utf8").matchAll(/\]\(([^)\s]+)\)/g)].map(
    ([, link = ""]) => link,
  );
  assert(links.length > 0);
  for (const link of links) {
    assert(!relative(there, join(there, link)).startsWith(".."), link);
    assert(existsSync(join(there, link)), link);
  }
});

void test("a_folder_that_is_installed_is_built", () => {
  const checkout = join(own.path, "checkout");
  const made = ["node_modules", "dist", "build"].map((name) => join(root, name));
  cpSync(root, checkout, { recursive: true, filter: (path) => !made.includes(path) });
  const other = join(own.path, "other");
  mkdirSync(other);
  writeFileSync(join(other, "package.json"), "{}");
  const install = ["install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error", checkout];
  execFileSync("npm", install, { cwd: other, stdio: ["ignore", "ignore", "inherit"] });
  const use = `import { version } from "turnlane"; console.log(version);`;
  const said = execFileSync(process.execPath, ["--input-type=module", "-e", use], { cwd: other, encoding: "utf8" });
  assert.match(said, /^\d+\.\d+\.\d+\n$/);
});

void test("the_programs_of_the_readme_do_what_it_says", () => {
  const said: Record<string, string> = {
    "hello.mjs": "hello\nworld\ncompleted 0\n",
    "hello.cjs": "completed with exit code 0\n",
    "patience.mjs": "TimeoutError\nstill under way\ncancelled\n",
    "parent.mjs": "worker completed with exit code 0\n",
    "errors.mjs": "sessionNotFound dve\nthere is no session `dve`: check the id, or open it with session/open\n",
  };
  const names = [...written().keys()].filter((name) => !name.endsWith(".mts"));
  assert.deepEqual(names.sort(), Object.keys(said).sort());
  for (const name of names) assert.equal(run(process.execPath, name), said[name], name);
});

void test("the_types_are_those_of_a_strict_program_of_every_kind", () => {
  const types = join(user, "node_modules/@types");
  cpSync(tool("@types/node"), join(types, "node"), { recursive: true });
  symlinkSync(tool("undici-types"), join(user, "node_modules/undici-types"));
  const common = "Turnlane, SessionNotFoundError, type Completion";
  const use = `
    export async function main(): Promise<Completion> {
      await using t = await Turnlane.spawn({ logger: console });
      const run = await t.prompt("demo", "make", { ifBusy: "reject" });
      for await (const { text, bytes } of run) console.log(text.length + bytes.length);
      // @ts-expect-error: no parameter has this name
      await t.prompt("demo", "make", { timeout: 5 }).catch((e: unknown) => e instanceof SessionNotFoundError && e.data.sessionId);
      // @ts-expect-error: a completion has no such field
      void (await run.completion).result;
      return await t.drained("demo", (batch) => [...batch][0] ?? run.completion);
    }`;
  writeFileSync(join(user, "esm.mts"), `import { ${common} } from "turnlane";${use}`);
  writeFileSync(join(user, "cjs.cts"), `import { ${common} } from "turnlane";${use}`);
  const strict = [
    "--strict",
    "--exactOptionalPropertyTypes",
    "--noUncheckedIndexedAccess",
    "--target",
    "es2022",
    "--types",
    "node",
  ];
  const tsc = (...args: string[]) => run(process.execPath, tool("typescript/bin/tsc"), ...strict, ...args);
  assert.equal(tsc("--module", "esnext", "--moduleResolution", "bundler", "--noEmit", "esm.mts"), "");
  // With them the README's own, which is then run as well.
  assert.equal(tsc("--module", "nodenext", "--outDir", "out", "esm.mts", "cjs.cts", "hello.mts"), "");
  writeFileSync(join(user, "Makefile"), "test:\n\t@echo tested\n");
  assert.equal(run(process.execPath, "out/hello.mjs"), "tested\ncompleted 0\n");
});

void test("no_any_is_in_what_the_package_declares", () => {
  const dist = join(user, "node_modules/turnlane/dist");
  const declarations = readdirSync(dist).filter((name) => /\.d\.m?ts$/.test(name));
  assert(declarations.length > 10);
  for (const name of declarations) {
    const code = readFileSync(join(dist, name), "utf8").replace(/\/\*[^]*?\*\/|\/\/.*$|"[^"]*"/gm, "");
    assert.doesNotMatch(code, /\bany\b/, name);
  }
});

void test("a_vs_code_extension_is_bundled_and_works", async () => {
  copyFileSync(join(root, "examples/vscode-extension.cjs"), join(user, "vscode-extension.cjs"));
  const { warnings } = await build({
    absWorkingDir: user,
    entryPoints: ["vscode-extension.cjs"],
    bundle: true,
    platform: "node",
    external: ["vscode"],
    outfile: "bundle/extension.js",
  });
  assert.deepEqual(warnings, []);
  // As much of the editor as that extension uses.
  mkdirSync(join(user, "bundle/node_modules/vscode"), { recursive: true });
  writeFileSync(
    join(user, "bundle/node_modules/vscode/index.js"),
    `const said = [];
     const channel = (name) => ({ append: (text) => said.push(name + ": " + text.trim()), dispose() {}, debug() {}, info() {}, warn() {}, error() {} });
     exports.said = said;
     exports.commands = { registered: {}, registerCommand(name, run) { this.registered[name] = run; return { dispose() {} }; } };
     exports.workspace = { getConfiguration: () => ({ get: (name, other) => other }), workspaceFolders: undefined };
     exports.window = {
       createOutputChannel: channel,
       showInputBox: async () => "echo from the editor",
       showInformationMessage: async (text) => said.push("message: " + text),
       showErrorMessage: async (text) => said.push("error: " + text),
     };`,
  );
  writeFileSync(
    join(user, "bundle/host.js"),
    `const vscode = require("vscode");
     const extension = require("./extension.js");
     (async () => {
       extension.activate({ subscriptions: [] });
       await vscode.commands.registered["turnlane.run"]();
       await extension.deactivate();
       console.log(vscode.said.join("\\n"));
     })();`,
  );
  // The packages themselves are not there any more: all of it is in the bundle.
  cpSync(join(user, "bundle"), join(own.path, "alone"), { recursive: true });
  const said = run(process.execPath, join(own.path, "alone/host.js"));
  assert.equal(said, "Runs: from the editor\nmessage: completed with exit code 0\n");
});
