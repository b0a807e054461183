import { FrameTooLargeError, JsonRpcError, type RpcError } from "./errors.js";
import type { InitializeResult } from "./protocol.js";

/** What a message takes: bytes, levels of nesting, and values, as turnlane counts them. */
export interface Shape {
  size: number;
  depth: number;
  values: number;
}

interface Message {
  jsonrpc: "2.0";
  id: number;
  method: string;
  params: unknown;
}

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [OPEN, CLOSE, BEGIN, END] = [0x5b, 0x5d, 0x7b, 0x7d];

/** What it would take on the wire. Throws what `JSON.stringify` does where something is no JSON, and `JsonRpcError` where it is nested too deep for it. */
export function shapeOf(message: Message): Shape {
  const text = written(message);
  let [depth, deepest, values] = [0, 0, 0];
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    else if (code === COMMA) values += 1;
    else if (code === CLOSE || code === END) depth -= 1;
    else if (code === OPEN || code === BEGIN) {
      values += 1;
      depth += 1;
      deepest = Math.max(deepest, depth);
    }
  }
  return { size: Buffer.byteLength(text), depth: deepest, values };
}

/** Why turnlane would not read it. It would say so of a message that it has not read: to nobody's request. */
export function tooMuch(
  method: string,
  shape: Shape,
  { maxFrameBytes, jsonDepth, jsonValues }: Partial<InitializeResult["limits"]>,
): RpcError | undefined {
  if (maxFrameBytes !== undefined && shape.size > maxFrameBytes) {
    const facts = { kind: "frameTooLarge", limit: maxFrameBytes, limitName: "maxFrameBytes" } as const;
    const message = `${method} has ${shape.size} bytes, and a message may have ${maxFrameBytes}`;
    return new FrameTooLargeError(facts.kind, message, -32015, facts);
  }
  if (jsonDepth !== undefined && shape.depth > jsonDepth)
    return unreadable(method, `nested deeper than ${jsonDepth} levels`);
  if (jsonValues !== undefined && shape.values > jsonValues) {
    return unreadable(method, `${shape.values} values in one message, and it may hold ${jsonValues}`);
  }
  return undefined;
}

/** As turnlane itself says it. */
const unreadable = (method: string, why: string): RpcError =>
  new JsonRpcError("parseError", `what ${method} was given can't be sent: ${why}`, -32700, {});

function written(message: Message): string {
  try {
    return JSON.stringify(message);
  } catch (error) {
    if (error instanceof RangeError) throw unreadable(message.method, `it is nested too deep (${error.message})`);
    throw error;
  }
}

/** Where a string of JSON ends that begins here. */
function endOfString(text: string, begin: number): number {
  for (let end = text.indexOf('"', begin + 1); ; end = text.indexOf('"', end + 1)) {
    let escapes = 0;
    while (text.charCodeAt(end - 1 - escapes) === BACKSLASH) escapes += 1;
    if (escapes % 2 === 0) return end;
  }
}
