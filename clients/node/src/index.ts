export { Batch } from "./batch.js";
export { Turnlane } from "./client.js";
export { exitStatus, isOk, summary } from "./completion.js";
export * from "./errors.js";
export { EventStream, type DurableEvent, type EventOf, type TurnlaneEvent } from "./events.js";
export { findBinary } from "./find.js";
export type { PermissionHandler, PermissionRequest, RunListeners } from "./live.js";
export type { LineSink, Logger } from "./log.js";
export type {
  CallOptions,
  CloseOptions,
  DrainOptions,
  OpenOptions,
  PromptOptions,
  SpawnOptions,
  WakeOptions,
} from "./options.js";
export { Chunk } from "./output.js";
export type * from "./protocol.js";
export { Run, type WaitOptions } from "./run.js";
export { PROTOCOL_VERSION, version } from "./version.js";
