// Writes src/protocol.ts, the types of the protocol, from its JSON Schema. With `--check` it only says whether they are fresh.
import { readFile, writeFile } from "node:fs/promises";
import { compile } from "json-schema-to-typescript";

const from = new URL("../../../schema/turnlane.schema.json", import.meta.url);
const to = new URL("../src/protocol.ts", import.meta.url);
const schema = JSON.parse(await readFile(from, "utf8"));
const definitions = schema.$defs;

const nameOf = (reference) => reference.replace("#/$defs/", "");
const quoted = (names) => names.map((name) => JSON.stringify(name)).join(" | ");

/** Alternatives that only say which names go together are no types of their own. */
const onlyRules = (branches) => branches?.every((branch) => !branch.type && !branch.$ref) ?? false;

/** A record of several shapes: what some of them lack may be absent. */
function merged({ anyOf, ...record }) {
  const shapes = anyOf.map((branch) => definitions[nameOf(branch.$ref)]);
  const always = shapes[0].required.filter((name) => shapes.every((shape) => shape.required.includes(name)));
  return {
    ...record,
    properties: Object.assign({}, ...shapes.map((shape) => shape.properties), record.properties),
    required: [...record.required, ...always],
  };
}

/** A record with alternatives is one of several whole records. */
function spread({ oneOf, description, ...record }) {
  const whole = (branch) => ({
    type: "object",
    properties: { ...record.properties, ...branch.properties },
    required: [...(record.required ?? []), ...branch.required],
  });
  return { description, oneOf: oneOf.map(whole) };
}

/** Makes a schema one of types alone: each reference is the name that it leads to, so that each type is written once. */
function typed(node) {
  if (Array.isArray(node)) return node.map(typed);
  if (node === null || typeof node !== "object") return node;
  if (node.$ref) return { description: node.description, tsType: nameOf(node.$ref) };
  if (Object.keys(node).join() === "description") return { ...node, tsType: "unknown" };
  // `^_` would let every misspelt name through.
  const { if: _if, then: _then, else: _else, not: _not, patternProperties: _own, ...kept } = node;
  if (kept.properties) {
    if (onlyRules(kept.anyOf)) delete kept.anyOf;
    if (onlyRules(kept.oneOf)) delete kept.oneOf;
    if (onlyRules(kept.allOf) || !kept.allOf?.length) delete kept.allOf;
    if (kept.anyOf?.every((branch) => branch.$ref)) return typed(merged(kept));
    if (kept.oneOf) return typed(spread(kept));
  }
  if (kept.allOf?.[0]?.$ref && kept.allOf[1]?.required) {
    const base = nameOf(kept.allOf[0].$ref);
    return {
      description: kept.description,
      tsType: `${base} & Required<Pick<${base}, ${quoted(kept.allOf[1].required)}>>`,
    };
  }
  // A name with a default of its own, `properties`, is a map from names to schemas.
  return Object.fromEntries(Object.entries(kept).map(([key, value]) => [key, typed(value)]));
}

const messages = new Set(["ClientMessage", "ServerMessage", "ClientBatch", "Request", "Response", "Notification"]);
const endings = /(Request|Response|Notification|Error)$/;
const records = Object.keys(definitions).filter(
  (name) => !messages.has(name) && !(endings.test(name) && name !== "RunError"),
);

const object = (description, properties) => ({
  description,
  type: "object",
  properties,
  required: Object.keys(properties),
});

/** Every method with its parameters and its result. */
const methods = {};
for (const { $ref } of definitions.Request.oneOf) {
  const request = definitions[nameOf($ref)];
  const response = definitions[nameOf($ref).replace(/Request$/, "Response")];
  methods[request.properties.method.const] = object(request.description, {
    params: request.properties.params,
    result: response.properties.result ?? { type: "null" },
  });
}

const notifications = {};
for (const { $ref } of definitions.Notification.anyOf ?? definitions.Notification.oneOf) {
  const { description, properties } = definitions[nameOf($ref)];
  notifications[properties.method.const] = { ...properties.params, description };
}

/** The data of every kind of error. */
const errors = {};
for (const { $ref } of definitions.Error.anyOf) {
  const { description, properties } = definitions[nameOf($ref)];
  if (properties.data) errors[properties.data.properties.kind.const] = { ...properties.data, description };
}

const text = await compile(
  typed({
    ...object("Every method, with its parameters and its result.", methods),
    title: "Methods",
    $defs: {
      ...Object.fromEntries(records.map((name) => [name, definitions[name]])),
      Notifications: object("Every notification, with its content.", notifications),
      ErrorData: object("Every kind of error, with its data.", errors),
    },
  }),
  "Methods",
  {
    additionalProperties: false,
    unknownAny: true,
    unreachableDefinitions: true,
    ignoreMinAndMaxItems: true,
    bannerComment: "// Generated from schema/turnlane.schema.json by `npm run generate`. Not to be edited.",
    style: { printWidth: 120 },
  },
);
// The generator says of each type where it was defined, which is the same for all.
const shown = text
  .replace(/^.*This interface was referenced by .*\n.*via the `definition`.*\n/gm, "")
  .replace(/\n \*\n \*\/$/gm, "\n */")
  .replace(/^\/\*\*\n \*\/\n/gm, "");

if (process.argv.includes("--check")) {
  if ((await readFile(to, "utf8").catch(() => "")) !== shown) {
    console.error("src/protocol.ts is not what schema/turnlane.schema.json makes: run `npm run generate`");
    process.exitCode = 1;
  }
} else {
  await writeFile(to, shown);
}
