import { StringDecoder } from "node:string_decoder";
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

function byteLength(content: Content): number {
  if ("update" in content) return content.bytes;
  return "text" in content ? Buffer.byteLength(content.text) : bytesOf(content).length;
}

/** A piece of a run's output. */
export class Chunk {
  /** Where it begins, in raw bytes of the run's output, all streams together. */
  readonly offset: number;
  readonly stream: Stream;
  /** Bytes of the run's output that were left out before this one, at least: somebody read too slowly, the client or the reader of this run. */
  readonly dropped: number;
  /**
   * As text: a character that is split between chunks is in the one that completes it, and what is not UTF-8 is replaced by U+FFFD, as decoders
   * do. Empty for an update.
   */
  readonly text: string;
  readonly #content: Content;

  /** @internal */
  constructor(offset: number, stream: Stream, content: Content, text: string, dropped: number) {
    this.offset = offset;
    this.stream = stream;
    this.text = text;
    this.dropped = dropped;
    this.#content = content;
  }

  /** As it was said. Empty for an update. */
  get bytes(): Uint8Array {
    return bytesOf(this.#content);
  }

  /** What the agent tells of its work, if this is that: a thought, a tool call, a plan. */
  get update(): Update | undefined {
    return "update" in this.#content ? this.#content.update : undefined;
  }

  /** Whether its bytes are UTF-8 by themselves. */
  get isText(): boolean {
    return "text" in this.#content;
  }

  toString(): string {
    return this.text;
  }
}

interface Piece {
  offset: number;
  /** Where what follows begins. */
  end: number;
  stream: Stream;
  content: Content;
  /** Pieces that turnlane left out before it. */
  skipped: number;
}

const weightOf = ({ offset, end }: Piece): number => PIECE + end - offset;

function pieceOf(output: OutputChunk | RunOutput): Piece {
  const { offset, stream } = output;
  const content: Content =
    "text" in output
      ? { text: output.text }
      : "base64" in output
        ? { base64: output.base64 }
        : { update: output.update, bytes: (output.next ?? offset) - offset };
  const skipped = "dropped" in output ? (output.dropped ?? 0) : 0;
  return { offset, end: offset + byteLength(content), stream, content, skipped };
}

/** What of a piece lies at or after an offset. */
function from(offset: number, whole: Piece): Piece | undefined {
  // A piece without content says that its end is missing.
  if (whole.offset >= offset) return whole.end > offset || whole.skipped > 0 ? whole : undefined;
  if (whole.end <= offset || "update" in whole.content) return undefined;
  const rest = bytesOf(whole.content).subarray(offset - whole.offset);
  const text = rest.toString();
  const content = Buffer.from(text).equals(rest) ? { text } : { base64: rest.toString("base64") };
  return { ...whole, offset, content, skipped: 0 };
}

/** The text of a run's chunks, one after the other: a character may be split between those of one stream. */
class Text {
  readonly #begun = new Map<Stream, StringDecoder>();

  of({ stream, content }: Piece, gap: boolean): string {
    const before = this.#begun.get(stream);
    // What is missing may have been the rest of a character.
    let text = "base64" in content && !gap ? "" : (before?.end() ?? "");
    if (gap) this.#begun.clear();
    if ("text" in content) text += content.text;
    if ("base64" in content) {
      const decoder = this.#begun.get(stream) ?? new StringDecoder();
      this.#begun.set(stream, decoder);
      text += decoder.write(bytesOf(content));
    }
    return text;
  }

  /** A character that nobody will complete, if there is one: once. */
  rest(): { stream: Stream; text: string } | undefined {
    for (const [stream, decoder] of this.#begun) {
      const text = decoder.end();
      if (text !== "") return { stream, text };
    }
    return undefined;
  }
}

/**
 * A run's output on its way to its reader: once, and in the order of its offsets, whoever brings what of it how often. Where something is missing
 * it is asked for, and what came after it waits. It is bounded: the oldest is left out first, and what is left out is counted. It never holds up
 * who brings it.
 */
export class Output {
  #pieces: Piece[] = [];
  /** How many at the beginning of `#pieces` have been taken. */
  #taken = 0;
  #weight = 0;
  /** Where what was brought ends. */
  #next = 0;
  /** Where what the reader has been given ends. */
  #read = 0;
  #dropped = 0;
  readonly #text = new Text();
  #end: { error?: Error } | undefined;
  /** Whether the end is known to come after everything that was told. */
  #sure = false;
  #judging = false;
  /** Whether nothing was left out, be it before it came or here. */
  #whole = true;
  #followed = false;
  #breaks = 0;
  #waiting: (() => void)[] = [];
  /** What comes while what is missing before it is being read; absent otherwise. */
  #aside: Piece[] | undefined;
  #asideWeight = 0;
  #sink: ((chunk: Chunk) => void) | undefined;
  readonly #limit: number;
  readonly #missing: () => void;

  /** `missing` is called for a piece that does not follow what there is: it begins a `hold`. */
  constructor(limit: number, missing: () => void = () => undefined) {
    this.#limit = limit;
    this.#missing = missing;
  }

  /** Where what is not there yet begins. */
  get next(): number {
    return this.#next;
  }

  /** Bytes that the reader was not given of what it has read so far, at least. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Whether all that was said came here, to its end: known once it has ended and what was missing has been asked for. */
  get complete(): boolean {
    return this.#ended && this.#end?.error === undefined && this.#sure && this.#followed && this.#whole;
  }

  /** How often it may have happened so far that something was said and not told. */
  get breaks(): number {
    return this.#breaks;
  }

  /** Whether everything from `next` on is told. */
  get followed(): boolean {
    return this.#followed;
  }

  /** From `next` on everything is told, unless something may have gone untold since there were so many `breaks`. */
  follow(breaks: number): void {
    if (breaks === this.#breaks) this.#followed = true;
  }

  /** What is said from here on may not be told. */
  unheard(): void {
    this.#breaks += 1;
    this.#followed = false;
  }

  /** The connection that told it is over. What was asked for meanwhile is answered by the next one, and holds for that. */
  cut(): void {
    this.#followed = false;
  }

  push(output: RunOutput): void {
    const piece = pieceOf(output);
    if (this.#aside === undefined && piece.offset > this.#next) this.#missing();
    if (this.#aside === undefined) this.#keep(piece);
    else this.#setAside(piece);
  }

  /** What comes from here on waits for what is before it. */
  hold(): void {
    this.#aside ??= [];
  }

  /** What was missing, or follows; of what is there already nothing comes twice. */
  fill(chunks: OutputChunk[]): void {
    for (const chunk of chunks) this.#keep(pieceOf(chunk));
  }

  /** What is missing still is nowhere any more. */
  release(): void {
    this.#asideWeight = 0;
    // Until all of it is kept this is not the end.
    for (const piece of this.#aside ?? []) this.#keep(piece);
    this.#aside = undefined;
    this.#pour();
    this.#wake();
  }

  /** Gives it to a function from here on, and what no reader has taken. */
  to(sink: (chunk: Chunk) => void): void {
    this.#sink = sink;
    this.#pour();
  }

  /** It has ended; `sure` says whether everything that was told came before. A reader is told of the end once that is known. */
  end(error?: Error, sure: boolean | Promise<boolean> = false): void {
    this.#end ??= error === undefined ? {} : { error };
    if (typeof sure === "boolean") this.#sure = sure;
    else {
      this.#judging = true;
      void sure.then((said) => {
        [this.#sure, this.#judging] = [said, false];
        this.#pour();
        this.#wake();
      });
    }
    this.#pour();
    this.#wake();
  }

  reader(): AsyncIterator<Chunk, undefined> {
    return { next: () => this.#await(), return: () => Promise.resolve({ done: true, value: undefined }) };
  }

  #setAside(piece: Piece): void {
    const aside = (this.#aside ??= []);
    aside.push(piece);
    this.#asideWeight += weightOf(piece);
    this.#bound();
    // What is being read catches up with what is left out here, so far as it can.
    if (this.#asideWeight <= this.#limit) return;
    for (const old of aside.splice(0, aside.length / 2)) this.#asideWeight -= weightOf(old);
  }

  /** Leaves out the oldest. */
  #bound(): void {
    while (this.#weight + this.#asideWeight > this.#limit && this.#take() !== undefined) this.#whole = false;
  }

  #keep(whole: Piece): void {
    const kept = from(this.#next, whole);
    if (kept === undefined) return;
    if (kept.offset > this.#next || (kept.skipped > 0 && kept.end === kept.offset)) this.#whole = false;
    this.#next = kept.end;
    this.#pieces.push(kept);
    this.#weight += weightOf(kept);
    this.#bound();
    this.#pour();
    this.#wake();
  }

  #take(): Piece | undefined {
    const first = this.#pieces[this.#taken];
    if (first === undefined) return undefined;
    this.#taken += 1;
    this.#weight -= weightOf(first);
    // Moving what remains once for as many as were taken costs each of them the same.
    if (this.#taken * 2 >= this.#pieces.length) {
      this.#pieces = this.#pieces.slice(this.#taken);
      this.#taken = 0;
    }
    return first;
  }

  #chunk(): Chunk | undefined {
    const first = this.#take();
    if (first === undefined) return this.#ended ? this.#last() : undefined;
    const { offset, end, stream, content } = first;
    const gap = offset - this.#read;
    // At the end of the output it is known only that something is missing.
    const dropped = end > offset ? gap : Math.max(gap, first.skipped);
    this.#dropped += dropped;
    this.#read = end;
    return new Chunk(offset, stream, content, this.#text.of(first, dropped > 0), dropped);
  }

  #pour(): void {
    if (this.#sink === undefined) return;
    for (let chunk = this.#chunk(); chunk !== undefined; chunk = this.#chunk()) this.#sink(chunk);
  }

  /** Whether nothing more will be kept. */
  get #ended(): boolean {
    return this.#end !== undefined && this.#aside === undefined && !this.#judging;
  }

  #last(): Chunk | undefined {
    const rest = this.#text.rest();
    return rest && new Chunk(this.#next, rest.stream, { text: "" }, rest.text, 0);
  }

  async #await(): Promise<IteratorResult<Chunk, undefined>> {
    for (;;) {
      const chunk = this.#chunk();
      if (chunk !== undefined) return { done: false, value: chunk };
      if (this.#ended) {
        if (this.#end?.error !== undefined) throw this.#end.error;
        return { done: true, value: undefined };
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
