// A whole VS Code extension: one command that runs a line in the workspace and shows what it says. Bundle it as extensions are bundled:
//
//     esbuild vscode-extension.cjs --bundle --platform=node --external:vscode --outfile=extension.js
const { createHash } = require("node:crypto");
const { homedir } = require("node:os");
const vscode = require("vscode");
const { summary, Turnlane } = require("turnlane");

/** @type {Promise<import("turnlane").Turnlane> | undefined} */
let turnlane;

/** @param {vscode.ExtensionContext} context */
function activate(context) {
  const log = vscode.window.createOutputChannel("turnlane", { log: true });
  const output = vscode.window.createOutputChannel("Runs");
  /** @type {string | undefined} */
  const binary = vscode.workspace.getConfiguration("turnlane").get("path");

  const client = () => {
    // Started when it is first needed; a start that failed is tried again the next time.
    turnlane ??= Turnlane.spawn({ binary, logger: log, onPermission }).catch((/** @type {unknown} */ error) => {
      turnlane = undefined;
      throw error;
    });
    return turnlane;
  };

  const command = vscode.commands.registerCommand("turnlane.run", async () => {
    const line = await vscode.window.showInputBox({ prompt: "What shall be run?" });
    if (line === undefined) return;
    try {
      const t = await client();
      // A session keeps its directory, so each folder has its own.
      const cwd = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? homedir();
      const session = `vscode-${createHash("sha256").update(cwd).digest("hex").slice(0, 16)}`;
      await t.openSession(session, { agent: "sh", cwd });
      const run = await t.prompt(session, line);
      for await (const chunk of run) output.append(chunk.text);
      void vscode.window.showInformationMessage(summary(await run.completion));
    } catch (error) {
      void vscode.window.showErrorMessage(error instanceof Error ? error.message : String(error));
    }
  });
  context.subscriptions.push(log, output, command);
}

/** @type {import("turnlane").PermissionHandler} */
async function onPermission({ question, options }) {
  const items = options.map(({ optionId, name }) => ({ label: name, optionId }));
  return (await vscode.window.showQuickPick(items, { title: question }))?.optionId;
}

async function deactivate() {
  await (await turnlane)?.close();
}

module.exports = { activate, deactivate };
