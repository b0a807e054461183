//! The published schema as a judge of messages: the files of `schema/`, compiled once a process.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, RwLock};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// `schema/turnlane.schema.json`, as it is checked in.
pub const MESSAGES: &str = include_str!("../../schema/turnlane.schema.json");
/// `schema/openrpc.json`, as it is checked in.
pub const OPENRPC: &str = include_str!("../../schema/openrpc.json");

/// What the schema says of the messages.
#[derive(Debug)]
pub struct Judge {
    /// Every definition.
    definitions: Map<String, Value>,
    /// Those that were needed so far, compiled.
    validators: RwLock<BTreeMap<String, Arc<Validator>>>,
    /// What the messages of each method are called.
    requests: BTreeMap<String, String>,
    notifications: BTreeMap<String, String>,
    /// The kinds of errors that each method may be answered with.
    errors: BTreeMap<String, BTreeSet<String>>,
}

impl Judge {
    /// The one of this process.
    pub fn get() -> &'static Self {
        static JUDGE: OnceLock<Judge> = OnceLock::new();
        JUDGE.get_or_init(|| Self::of(&read(MESSAGES), &read(OPENRPC)))
    }

    /// One by these documents.
    pub fn of(messages: &Value, openrpc: &Value) -> Self {
        let named = |ending: &str| {
            let all = messages["$defs"].as_object().unwrap().iter();
            all.filter_map(|(name, schema)| {
                let method = schema["properties"]["method"]["const"].as_str()?;
                let name = name.strip_suffix(ending)?;
                Some((method.to_owned(), name.to_owned()))
            })
            .collect()
        };
        let kinds = |method: &Value| -> BTreeSet<String> {
            let all = method["errors"].as_array().into_iter().flatten();
            all.map(|error| {
                let reference = error["$ref"].as_str().unwrap();
                reference.rsplit('/').next().unwrap().to_owned()
            })
            .collect()
        };
        let methods = openrpc["methods"].as_array().unwrap().iter();
        Self {
            definitions: messages["$defs"].as_object().unwrap().clone(),
            validators: RwLock::default(),
            requests: named("Request"),
            notifications: named("Notification"),
            errors: methods
                .map(|method| (method["name"].as_str().unwrap().to_owned(), kinds(method)))
                .collect(),
        }
    }

    fn validator(&self, name: &str) -> Arc<Validator> {
        if let Some(known) = self.validators.read().unwrap().get(name) {
            return Arc::clone(known);
        }
        // Only what a definition leads to is compiled with it.
        let mut needed = Map::new();
        let first = name.split('/').next().unwrap();
        let mut left = vec![first.to_owned()];
        while let Some(name) = left.pop() {
            let found = self.definitions.get(&name);
            let schema = found.unwrap_or_else(|| panic!("the schema has no {name}"));
            if needed.insert(name, schema.clone()).is_none() {
                references(schema, &mut left);
            }
        }
        let schema = json!({"$ref": format!("#/$defs/{name}"), "$defs": needed});
        let validator = Arc::new(jsonschema::draft202012::new(&schema).unwrap());
        let mut all = self.validators.write().unwrap();
        all.insert(name.to_owned(), Arc::clone(&validator));
        validator
    }

    fn valid(&self, name: &str, message: &Value) -> Result<(), String> {
        self.validator(name).validate(message).map_err(|why| {
            let at = why.instance_path().to_string();
            format!("{name}: {why:.300} at {at:?}: {:.600}", message.to_string())
        })
    }

    /// The methods that it knows.
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        self.requests.keys().map(String::as_str)
    }

    /// The notifications that it knows.
    pub fn notifications(&self) -> impl Iterator<Item = &str> {
        self.notifications.keys().map(String::as_str)
    }

    /// Whether a client may ask that.
    pub fn asks(&self, method: &str, params: &Value) -> Result<(), String> {
        match self.requests.get(method) {
            Some(name) => self.valid(&format!("{name}Request/properties/params"), params),
            None => Err(format!("there is no request {method}")),
        }
    }

    /// The names of a method's parameters.
    pub fn parameters(&self, method: &str) -> Vec<String> {
        let fields = self.definitions[&self.params(method)]["properties"].as_object();
        fields
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Whether a parameter may have this value, as far as it can be told of each by itself.
    pub fn parameter_fits(&self, method: &str, name: &str, value: &Value) -> bool {
        let place = format!("{}/properties/{name}", self.params(method));
        self.validator(&place).is_valid(value)
    }

    /// What the parameters of a method are called.
    fn params(&self, method: &str) -> String {
        let request = &self.definitions[&format!("{}Request", self.requests[method])];
        let mut found = Vec::new();
        references(&request["properties"]["params"], &mut found);
        found.remove(0)
    }

    /// Whether a client may send that, alone or in a batch.
    pub fn sends(&self, message: &Value) -> Result<(), String> {
        self.valid("ClientMessage", message)
    }

    /// Whether that may be the answer; of `method`, where it is known which was asked.
    pub fn answers(&self, method: Option<&str>, message: &Value) -> Result<(), String> {
        let Some(error) = message.get("error") else {
            let name = method.and_then(|method| self.requests.get(method));
            let name = name.map_or("Response".to_owned(), |name| format!("{name}Response"));
            return self.valid(&name, message);
        };
        self.valid("ErrorResponse", message)?;
        let allowed = method.and_then(|method| self.errors.get(method));
        match (allowed, error["data"]["kind"].as_str()) {
            (Some(allowed), Some(kind)) if !allowed.contains(kind) => Err(format!(
                "{kind} is not among the errors of {}: {message}",
                method.unwrap_or_default()
            )),
            _ => Ok(()),
        }
    }

    /// Whether that may be told.
    pub fn tells(&self, message: &Value) -> Result<(), String> {
        let method = message["method"].as_str().unwrap_or_default();
        match self.notifications.get(method) {
            Some(name) => self.valid(&format!("{name}Notification"), message),
            None => Err(format!("there is no notification {method}: {message}")),
        }
    }

    /// Whether those may be the answers to a batch.
    pub fn answers_together(&self, messages: &[Value]) -> Result<(), String> {
        // Each is looked at by itself; here only that it is a batch.
        let most = &self.definitions["ClientBatch"]["maxItems"];
        if messages.is_empty() || json!(messages.len()).as_u64() > most.as_u64() {
            return Err(format!("a batch of {} answers", messages.len()));
        }
        Ok(())
    }
}

/// The names of what a schema refers to.
fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                found.push(reference.rsplit('/').next().unwrap().to_owned());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("a document of schema/ is JSON")
}
