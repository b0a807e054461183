// Builds dist for whoever installs this folder, or packs it. npm does not install what that takes into a folder that is another package's
// dependency; then it is installed here. Nothing of this is in the package that is published.
import { execSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const there = () => existsSync(`${root}node_modules/typescript/bin/tsc`);
// Somebody who leaves out what it is built with (`npm ci --omit=dev`) knows that.
const without = (process.env.npm_config_omit ?? "").split(/\s+/).includes("dev");
if (!there() && !without) {
  // Of this folder, whatever the installation around it is of; and without scripts, of which this is one.
  const how = "--ignore-scripts --include=dev --global=false --workspaces=false --dry-run=false --no-audit --no-fund";
  execSync(`npm ci ${how} --prefer-offline --loglevel=error`, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
}
if (there()) await import("./build.mjs");
else console.error("turnlane: dist is not built, since what builds it was left out");
