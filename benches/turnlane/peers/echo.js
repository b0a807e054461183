// Answers every request with its parameters, by way of vscode-jsonrpc.
"use strict";
const rpc = require("vscode-jsonrpc/node");

const connection = rpc.createMessageConnection(
  new rpc.StreamMessageReader(process.stdin),
  new rpc.StreamMessageWriter(process.stdout),
);
connection.onRequest((_method, params) => params);
connection.onClose(() => process.exit(0));
connection.listen();
