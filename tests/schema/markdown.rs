//! The generated parts of the reference: tables of parameters, results, errors and limits, from the schema's own words.

use std::fmt::Write as _;

use serde_json::Value;
use turnlane::domain::limits;
use turnlane::protocol::schema::{CONVERSATION, conversation};
use turnlane::protocol::{ErrorKind, Word as _};

const BEGIN: &str = "<!-- generated: ";
const END: &str = "<!-- end -->";

/// The reference with every generated part as it is to be. A part stands between `<!-- generated: WHAT -->` and `<!-- end -->`.
pub fn filled(now: &str, messages: &Value, openrpc: &Value) -> String {
    let book = Book { messages, openrpc };
    let mut filled = String::new();
    let mut rest = now;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (what, after) = after.split_once(" -->\n").unwrap();
        let (_, after) = after
            .split_once(END)
            .unwrap_or_else(|| panic!("{what} has no end"));
        write!(
            filled,
            "{before}{BEGIN}{what} -->\n\n{}\n\n{END}",
            book.part(what).trim()
        )
        .unwrap();
        rest = after;
    }
    filled + rest
}

/// A field in a table.
struct Row {
    required: bool,
    name: String,
    kind: String,
    meaning: String,
}

struct Book<'a> {
    messages: &'a Value,
    openrpc: &'a Value,
}

impl Book<'_> {
    fn part(&self, what: &str) -> String {
        match what.split_once(' ') {
            Some(("method", name)) => self.method(name),
            Some(("notification", name)) => self.notification(name),
            Some(("example", heading)) => example(heading),
            Some(("type", name)) => self.described(name),
            None if what == "errors" => errors(),
            None if what == "limits" => limits(),
            _ => panic!("nobody knows how to generate {what}"),
        }
    }

    fn definition(&self, name: &str) -> &Value {
        &self.messages["$defs"][name]
    }

    fn method(&self, name: &str) -> String {
        let methods = self.openrpc["methods"].as_array().unwrap();
        let method = methods.iter().find(|method| method["name"] == name);
        let method = method.unwrap_or_else(|| panic!("there is no method {name}"));
        let mut text = format!("{}\n\n", method["summary"].as_str().unwrap());
        match referred(&method["x-params"]) {
            Some(params) if params != "NoParams" => {
                // What is said of them together.
                let about = self.definition(params)["description"].as_str().unwrap();
                if about != format!("Parameters of `{name}`.") {
                    write!(text, "{about}\n\n").unwrap();
                }
                text += &self.table("Parameter", params);
            }
            _ if method["params"][0].is_object() => {
                text += "Parameter: `id`, the id of that request as it was written.\n"
            }
            _ => text += "No parameters.\n",
        }
        let result = &method["result"]["schema"];
        match referred(result) {
            None if method.get("result").is_none() => {}
            None => text += "\nResult: `null`.\n",
            // A record that has a place of its own.
            Some(name) if ["RunRecord", "SessionRecord"].contains(&name) => {
                write!(text, "\nResult: {}.\n", link(name)).unwrap();
            }
            Some(name) => write!(text, "\nResult:\n\n{}", self.table("Field", name)).unwrap(),
        }
        let errors = method["errors"].as_array().into_iter().flatten();
        // `stats` has no errors of its own.
        let of_any = &methods
            .iter()
            .find(|method| method["name"] == "stats")
            .unwrap()["errors"];
        let of_any = of_any.as_array().unwrap();
        let own: Vec<String> = errors
            .filter(|error| !of_any.contains(error))
            .map(|error| {
                format!(
                    "`{}`",
                    error["$ref"].as_str().unwrap().rsplit('/').next().unwrap()
                )
            })
            .collect();
        if !own.is_empty() {
            write!(text, "\nErrors of its own: {}.\n", own.join(", ")).unwrap();
        }
        text + "\n" + &example(name)
    }

    fn notification(&self, name: &str) -> String {
        let all = self.openrpc["x-notifications"].as_array().unwrap();
        let told = all.iter().find(|told| told["name"] == name);
        let told = told.unwrap_or_else(|| panic!("there is no notification {name}"));
        let summary = told["summary"].as_str().unwrap();
        match referred(&told["x-params"]).unwrap() {
            "SessionRecord" => format!("{summary}\n\nContent: {}.", link("SessionRecord")),
            "CompletionEvent" => format!(
                "{summary}\n\nContent: {}, with its `cursor`.",
                link("Completion")
            ),
            params => format!("{summary}\n\n{}", self.table("Field", params)),
        }
    }

    /// A type that has a place of its own.
    fn described(&self, name: &str) -> String {
        let definition = self.definition(name);
        assert!(definition.is_object(), "there is no type {name}");
        let text = definition["description"].as_str().unwrap_or_default();
        if let Some(variants) = definition["oneOf"]
            .as_array()
            .filter(|_| definition["properties"].is_null())
        {
            let mut table =
                format!("{text}\n\n| `type` | other fields | meaning |\n|---|---|---|\n");
            for one in variants {
                let fields = one["properties"].as_object().unwrap().keys();
                let fields: Vec<String> = fields
                    .filter(|field| *field != "type")
                    .map(|field| format!("`{field}`"))
                    .collect();
                let (kind, what) = (&one["properties"]["type"]["const"], &one["description"]);
                writeln!(
                    table,
                    "| `{}` | {} | {} |",
                    kind.as_str().unwrap(),
                    fields.join(", "),
                    what.as_str().unwrap()
                )
                .unwrap();
            }
            return table;
        }
        format!("{text}\n\n{}", self.table("Field", name))
    }

    /// The fields of a type, those first that are always there.
    fn table(&self, head: &str, name: &str) -> String {
        let mut rows: Vec<Row> = Vec::new();
        self.rows(self.definition(name), true, &mut rows);
        rows.sort_by_key(|row| !row.required);
        if rows.is_empty() {
            return format!("{head}s: none.\n");
        }
        let mut text = format!(
            "| {} | type | meaning |\n|---|---|---|\n",
            head.to_lowercase()
        );
        for row in rows {
            let bold = if row.required { "**" } else { "" };
            writeln!(
                text,
                "| {bold}`{}`{bold} | {} | {} |",
                row.name, row.kind, row.meaning
            )
            .unwrap();
        }
        text
    }

    /// Rows for the fields of a schema and of what it is put together from.
    fn rows(&self, schema: &Value, always: bool, rows: &mut Vec<Row>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let is_rule = field.get("not").is_some();
            if is_rule || rows.iter().any(|row| row.name == *name) {
                continue;
            }
            let required = schema["required"].as_array().into_iter().flatten();
            let meaning = field["description"].as_str();
            rows.push(Row {
                required: always && required.into_iter().any(|one| one == name),
                name: name.clone(),
                kind: self.shown(field),
                meaning: meaning
                    .or(schema["description"].as_str())
                    .unwrap_or_default()
                    .to_owned(),
            });
        }
        for one in schema["oneOf"].as_array().into_iter().flatten() {
            self.rows(one, false, rows);
        }
        // A run's record has the fields of its end, or of its life; what is in both is always there.
        let each = schema["anyOf"].as_array().into_iter().flatten();
        let each: Vec<&Value> = each
            .filter_map(referred)
            .map(|name| self.definition(name))
            .collect();
        for one in &each {
            let from = rows.len();
            self.rows(one, always, rows);
            for row in &mut rows[from..] {
                let needed = |one: &&Value| {
                    one["required"]
                        .as_array()
                        .is_some_and(|all| all.iter().any(|name| *name == row.name))
                };
                row.required = always && each.iter().all(needed);
            }
        }
    }

    /// A type in few words.
    fn shown(&self, schema: &Value) -> String {
        if let Some(name) = referred(schema) {
            return self.named(name);
        }
        if let Some(each) = schema["anyOf"].as_array() {
            let each: Vec<String> = each
                .iter()
                .filter(|one| one["type"] != "null")
                .map(|one| self.shown(one))
                .collect();
            return each.join(" or ");
        }
        let kind = match &schema["type"] {
            Value::Array(types) => types[0].as_str().unwrap_or_default(),
            kind => kind.as_str().unwrap_or("any"),
        };
        match kind {
            "array" => format!("list of {}", self.shown(&schema["items"])),
            "integer" if schema["minimum"].is_u64() && schema["minimum"] == schema["maximum"] => {
                format!("`{}`", schema["minimum"])
            }
            "integer" => match schema["minimum"].as_u64() {
                Some(least) if least > 0 => format!("integer, at least {least}"),
                _ => "integer".to_owned(),
            },
            "object" if schema["additionalProperties"]["type"] == "string" => {
                "object of strings".to_owned()
            }
            "object" if schema["additionalProperties"]["type"] == "integer" => {
                "object of integers".to_owned()
            }
            kind => kind.to_owned(),
        }
    }

    fn named(&self, name: &str) -> String {
        let definition = self.definition(name);
        let words = |all: &[Value]| -> String {
            let all: Vec<String> = all
                .iter()
                .map(|word| format!("`{}`", word.as_str().unwrap_or_default()))
                .collect();
            all.join(", ")
        };
        if let Some(all) = definition["enum"].as_array() {
            return words(all);
        }
        let consts: Vec<Value> = definition["oneOf"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| one["const"].clone())
            .collect();
        if !consts.is_empty() && consts.iter().all(Value::is_string) {
            return words(&consts);
        }
        match name {
            "RunId" | "SessionId" => "id".to_owned(),
            "Time" => "time".to_owned(),
            "Seq" => "integer".to_owned(),
            "PromptContent" => format!("string, or list of {}", link("ContentBlock")),
            "ShownPrompt" => "string, or list of content blocks".to_owned(),
            "Agent" => format!("name, or {}", link("AgentDescription")),
            "SessionAgent" => "name, or object".to_owned(),
            "Sessions" => "`\"all\"`, or list of ids".to_owned(),
            "RunListBefore" => "integer, or id".to_owned(),
            "ClientInfo" | "ServerInfo" => {
                let fields = definition["properties"].as_object().unwrap().keys();
                let fields: Vec<String> = fields.map(|field| format!("`{field}`")).collect();
                format!("object of {}", fields.join(", "))
            }
            "CompletionEvent" => link("Completion"),
            _ => link(name),
        }
    }
}

/// The last name of a reference, also of one that may be null.
fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

fn link(name: &str) -> String {
    format!("[{name}](#{})", name.to_lowercase())
}

fn example(heading: &str) -> String {
    let sections = conversation(CONVERSATION);
    let section = sections.iter().find(|section| section.heading == heading);
    let section = section.unwrap_or_else(|| panic!("the conversation has no {heading}"));
    format!("```js\n{}\n```\n", section.text)
}

fn errors() -> String {
    let mut text = "| code | kind | when | what to do |\n|---|---|---|---|\n".to_owned();
    for kind in ErrorKind::ALL {
        writeln!(
            text,
            "| {} | `{}` | {} | {} |",
            kind.code(),
            kind.word(),
            kind.when(),
            kind.remedy()
        )
        .unwrap();
    }
    text
}

fn limits() -> String {
    let mut text =
        "| name | default | what it bounds | configurable |\n|---|---|---|---|\n".to_owned();
    for (name, wire, default, what) in limits::TABLE {
        let configurable = if limits::FIXED.contains(name) {
            "no"
        } else {
            "yes"
        };
        writeln!(
            text,
            "| `{wire}` | {default} | {} | {configurable} |",
            what.trim()
        )
        .unwrap();
    }
    text
}
