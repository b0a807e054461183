import { isDeepStrictEqual } from "node:util";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Fields = Record<string, unknown>;

const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Puts the values of earlier results, and repeated texts, in their places. */
export function filled(given: unknown, results: Map<string, unknown>, index?: number): unknown {
  if (typeof given === "string") return index === undefined ? given : given.replaceAll("${i}", String(index));
  if (Array.isArray(given)) return given.map((one) => filled(one, results, index));
  if (!isObject(given)) return given;
  if (typeof given.$ref === "string") return looked(given.$ref, results);
  if (Array.isArray(given.$repeat)) {
    const [text, times] = given.$repeat as [string, number];
    return text.repeat(times);
  }
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, filled(value, results, index)]));
}

function looked(path: string, results: Map<string, unknown>): unknown {
  const [name = "", ...steps] = path.split(".");
  if (!results.has(name)) throw new Error(`no step is called ${name}`);
  return steps.reduce<unknown>((value, step) => (value as Fields | undefined)?.[step], results.get(name));
}

const operators: Record<string, (value: unknown, operand: never) => boolean> = {
  $absent: (value) => value === undefined || value === null,
  $min: (value, least: number) => typeof value === "number" && value >= least,
  $max: (value, most: number) => typeof value === "number" && value <= most,
  $contains: (value, text: string) => typeof value === "string" && value.includes(text),
  $startsWith: (value, text: string) => typeof value === "string" && value.startsWith(text),
  $endsWith: (value, text: string) => typeof value === "string" && value.endsWith(text),
  $minLength: (value, least: number) => typeof value === "string" && Array.from(value).length >= least,
  $maxLength: (value, most: number) => typeof value === "string" && Array.from(value).length <= most,
  $unordered: (value, items: unknown[]) =>
    Array.isArray(value) && isDeepStrictEqual(sorted(value as unknown[]), sorted(items)),
};

const sorted = (items: unknown[]): string[] => items.map((item) => JSON.stringify(item)).sort();

/** Where a result does not match what is expected; nothing when it does. */
export function mismatch(value: unknown, expected: unknown, at = "result"): string | undefined {
  const said = `${at} is ${(JSON.stringify(value) as string | undefined)?.slice(0, 300)}, not ${JSON.stringify(expected).slice(0, 300)}`;
  if (expected === null) return value === null || value === undefined ? undefined : said;
  if (Array.isArray(expected)) {
    if (!Array.isArray(value) || value.length !== expected.length) return said;
    return first(expected.map((one, index) => mismatch(value[index], one, `${at}.${index}`)));
  }
  if (!isObject(expected)) return value === expected ? undefined : said;
  const names = Object.keys(expected);
  if (names.length > 0 && names.every((name) => name.startsWith("$"))) {
    const holds = names.every((name) => {
      const operator = operators[name];
      if (operator === undefined) throw new Error(`${name} is not known`);
      return operator(value, expected[name] as never);
    });
    return holds ? undefined : said;
  }
  if (!isObject(value)) return said;
  return first(names.map((name) => mismatch(value[name], expected[name], `${at}.${name}`)));
}

const first = (found: (string | undefined)[]): string | undefined => found.find((one) => one !== undefined);
