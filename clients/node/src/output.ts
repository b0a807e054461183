import type { OutputChunk, RunOutput, Stream } from "./protocol.js";

/** Roughly the bytes of output that a run keeps for a reader that has not come yet, or is slow. */
export const OUTPUT_KEPT = 4 * 1024 * 1024;
/** What a piece takes beside its text. */
const PIECE = 64;

/** What an agent tells of its work: the `update` of a `session/update` of the Agent Client Protocol. */
export type Update = Record<string, unknown>;

/** What was said; an update has as many raw bytes as its JSON had. */
type Content = { text: string } | { base64: string } | { update: Update; bytes: number };

function bytesOf(content: Content): Buffer {
  if ("text" in content) return Buffer.from(content.text);
  return "base64" in content ? Buffer.from(content.base64, "base64") : Buffer.alloc(0);
}

const byteLength = (content: Content): number => ("update" in content ? content.bytes : bytesOf(content).length);

/** A piece of a run's output. */
export class Chunk {
  /** Where it begins, in raw bytes of the run's output, all streams together. */
  readonly offset: number;
  readonly stream: Stream;
  /** Pieces that were left out before this one, since somebody read too slowly: the client, or the reader of this run. */
  readonly dropped: number;
  readonly #content: Content;

  /** @internal */
  constructor(offset: number, stream: Stream, content: Content, dropped: number) {
    this.offset = offset;
    this.stream = stream;
    this.dropped = dropped;
    this.#content = content;
  }

  /** As text; what is not UTF-8 is replaced by U+FFFD, as decoders do. Empty for an update. */
  get text(): string {
    return "text" in this.#content ? this.#content.text : new TextDecoder().decode(this.bytes);
  }

  /** As it was said. Empty for an update. */
  get bytes(): Uint8Array {
    return bytesOf(this.#content);
  }

  /** What the agent tells of its work, if this is that: a thought, a tool call, a plan. */
  get update(): Update | undefined {
    return "update" in this.#content ? this.#content.update : undefined;
  }

  /** Whether it is UTF-8, so that `text` is all of it. */
  get isText(): boolean {
    return "text" in this.#content;
  }

  toString(): string {
    return this.text;
  }
}

interface Piece {
  offset: number;
  stream: Stream;
  content: Content;
  dropped: number;
  weight: number;
}

function contentOf(output: OutputChunk | RunOutput): Content {
  if ("text" in output) return { text: output.text };
  if ("base64" in output) return { base64: output.base64 };
  return { update: output.update, bytes: (output.next ?? output.offset) - output.offset };
}

function piece(output: OutputChunk | RunOutput): Piece {
  const content = contentOf(output);
  const weight = PIECE + byteLength(content);
  const dropped = "dropped" in output ? (output.dropped ?? 0) : 0;
  return { offset: output.offset, stream: output.stream, content, dropped, weight };
}

/** What of a piece lies at or after an offset. */
function from(offset: number, whole: Piece): Piece | undefined {
  if (whole.offset >= offset) return whole;
  if ("update" in whole.content) return undefined;
  const bytes = bytesOf(whole.content);
  const rest = bytes.subarray(offset - whole.offset);
  if (rest.length === 0) return undefined;
  const text = rest.toString();
  const content = Buffer.from(text).equals(rest) ? { text } : { base64: rest.toString("base64") };
  return { ...whole, offset, content };
}

/** A run's output on its way to its reader: bounded, the oldest is left out first, and counted. It never holds up who brings it. */
export class Output {
  #pieces: Piece[] = [];
  /** How many at the beginning of `#pieces` have been taken. */
  #taken = 0;
  #weight = 0;
  #dropped = 0;
  #end: { error?: Error } | undefined;
  #waiting: (() => void)[] = [];
  /** What comes while earlier output is still being read; absent otherwise. */
  #aside: Piece[] | undefined;
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  push(output: RunOutput): void {
    if (this.#aside === undefined) this.#keep(piece(output));
    else this.#aside.push(piece(output));
  }

  /** What comes from here on waits for what was before it. */
  hold(): void {
    this.#aside ??= [];
  }

  /** What was before what is held: nothing of it comes twice. */
  release(before: OutputChunk[]): void {
    const aside = this.#aside ?? [];
    this.#aside = undefined;
    let next = 0;
    for (const chunk of before) {
      this.#keep(piece(chunk));
      next = chunk.offset + byteLength(contentOf(chunk));
    }
    for (const later of aside) {
      const rest = from(next, later);
      if (rest !== undefined) this.#keep(rest);
    }
    if (this.#end !== undefined) this.#wake();
  }

  end(error?: Error): void {
    this.#end ??= error === undefined ? {} : { error };
    this.#wake();
  }

  reader(): AsyncIterator<Chunk, undefined> {
    return { next: () => this.#next(), return: () => Promise.resolve({ done: true, value: undefined }) };
  }

  #keep(kept: Piece): void {
    this.#pieces.push(kept);
    this.#weight += kept.weight;
    while (this.#weight > this.#limit) this.#dropped += 1 + (this.#take()?.dropped ?? 0);
    this.#wake();
  }

  #take(): Piece | undefined {
    const first = this.#pieces[this.#taken];
    if (first === undefined) return undefined;
    this.#taken += 1;
    this.#weight -= first.weight;
    // Moving what remains once for as many as were taken costs each of them the same.
    if (this.#taken * 2 >= this.#pieces.length) {
      this.#pieces = this.#pieces.slice(this.#taken);
      this.#taken = 0;
    }
    return first;
  }

  async #next(): Promise<IteratorResult<Chunk, undefined>> {
    for (;;) {
      const first = this.#take();
      if (first !== undefined) {
        const dropped = this.#dropped + first.dropped;
        this.#dropped = 0;
        return { done: false, value: new Chunk(first.offset, first.stream, first.content, dropped) };
      }
      if (this.#end !== undefined && this.#aside === undefined) {
        if (this.#end.error !== undefined) throw this.#end.error;
        return { done: true, value: undefined };
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** A chunk for a callback, which takes it as it comes. */
export function chunkOf(output: RunOutput): Chunk {
  const { offset, stream, content, dropped } = piece(output);
  return new Chunk(offset, stream, content, dropped);
}
