//! What was taken from inboxes, over all lives of a world: nothing that was acknowledged is offered again, and each offer counts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{list, number, text};

/// The books of deliveries.
#[derive(Debug, Default)]
pub struct Taken {
    /// Runs whose completions are settled.
    pub settled: BTreeSet<String>,
    /// The attempts as which a completion was offered. Several connections may read theirs in any order.
    offered: BTreeMap<String, BTreeSet<u64>>,
    /// Runs whose completions were dead letters: somebody else may be told of them.
    retried: BTreeSet<String>,
    /// Positions of the dead letters that were announced.
    buried: BTreeMap<String, Value>,
}

impl Taken {
    /// An answer that has to do with inboxes; what is wrong with it.
    pub fn answer(
        &mut self,
        method: &str,
        params: &Value,
        result: &Value,
        completed: &BTreeMap<String, Value>,
    ) -> Vec<String> {
        match method {
            "drain" => {
                let faults = self.drained(result, completed);
                if params["ack"] == "auto" {
                    self.settle(&result["completions"]);
                }
                faults
            }
            "inbox/peek" => self.shown(result),
            "drain/ack" => {
                let settled = list(&result["settled"]).iter();
                self.settled.extend(settled.map(|run| text(run).to_owned()));
                Vec::new()
            }
            "deadLetter/retry" => {
                for run in list(&result["retried"]) {
                    self.offered.remove(text(run));
                    self.retried.insert(text(run).to_owned());
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn settle(&mut self, completions: &Value) {
        let runs = list(completions).iter();
        self.settled
            .extend(runs.map(|completion| text(&completion["runId"]).to_owned()));
    }

    fn shown(&self, result: &Value) -> Vec<String> {
        let again = |completion: &&Value| self.settled.contains(text(&completion["runId"]));
        let shown = list(&result["completions"]).iter();
        shown
            .filter(again)
            .map(|completion| format!("settled, and in an inbox again: {completion}"))
            .collect()
    }

    fn drained(&mut self, result: &Value, completed: &BTreeMap<String, Value>) -> Vec<String> {
        let mut faults = self.shown(result);
        let completions = list(&result["completions"]);
        if completions.is_empty() == result["deliveryId"].is_string() {
            faults.push(format!("a delivery without completions: {result}"));
        }
        for completion in completions {
            let run = text(&completion["runId"]);
            let attempt = number(&completion["attempt"]);
            let is_new = self
                .offered
                .entry(run.to_owned())
                .or_default()
                .insert(attempt);
            if !is_new || attempt == 0 {
                faults.push(format!("offered before, and not counted: {completion}"));
            }
            let told = completed.get(run).and_then(Value::as_object);
            for (field, value) in told.into_iter().flatten() {
                // Only the announcement has its place in the log.
                let may_differ =
                    field == "cursor" || field == "notify" && self.retried.contains(run);
                if !may_differ && completion[field] != *value {
                    faults.push(format!("{field} was told as {value}: {completion}"));
                }
            }
        }
        faults
    }

    /// A run was announced as completed: a wake run that completed has settled what it carried.
    pub fn completed(&mut self, completion: &Value) {
        if completion["kind"] == "wake" && completion["outcome"] == "completed" {
            let carried = list(&completion["wake"]["runIds"]).iter();
            self.settled.extend(carried.map(|run| text(run).to_owned()));
        }
    }

    /// A dead letter was announced; what is wrong with that.
    pub fn buried(&mut self, letter: &Value) -> Option<String> {
        let whole = ["runId", "parent", "why", "cursor"]
            .iter()
            .all(|field| letter[*field].is_string());
        if !whole {
            return Some(format!("an announcement of no dead letter: {letter}"));
        }
        let known = self
            .buried
            .insert(text(&letter["cursor"]).to_owned(), letter.clone());
        let other = known.filter(|known| known != letter)?;
        Some(format!("two dead letters in one place: {other}, {letter}"))
    }

    /// A purged run is as good as never accepted.
    pub fn forget(&mut self, run: &str) {
        self.settled.remove(run);
        self.offered.remove(run);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offer(run: &str, attempt: u64) -> Value {
        json!({"deliveryId": "d", "completions": [{"runId": run, "attempt": attempt, "text": "x"}]})
    }

    fn faults(taken: &mut Taken, method: &str, result: &Value) -> usize {
        let none = BTreeMap::new();
        taken.answer(method, &json!({}), result, &none).len()
    }

    #[test]
    fn broken_books_are_found() {
        let mut taken = Taken::default();
        assert_eq!(faults(&mut taken, "drain", &offer("a", 1)), 0);
        assert_eq!(faults(&mut taken, "drain", &offer("a", 1)), 1);
        assert_eq!(faults(&mut taken, "drain", &offer("a", 2)), 0);
        faults(&mut taken, "drain/ack", &json!({"settled": ["a"]}));
        assert_eq!(faults(&mut taken, "drain", &offer("a", 3)), 1);
        assert_eq!(faults(&mut taken, "inbox/peek", &offer("a", 3)), 1);
        let empty = json!({"deliveryId": "d", "completions": []});
        assert_eq!(faults(&mut taken, "drain", &empty), 1);
        let completed = BTreeMap::from([("b".to_owned(), json!({"text": "y", "cursor": "s:1"}))]);
        let told = taken.answer("drain", &json!({}), &offer("b", 1), &completed);
        assert_eq!(told.len(), 1, "{told:?}");
        taken
            .completed(&json!({"kind": "wake", "outcome": "completed", "wake": {"runIds": ["b"]}}));
        assert_eq!(faults(&mut taken, "drain", &offer("b", 2)), 1);
        taken.forget("b");
        assert_eq!(faults(&mut taken, "drain", &offer("b", 1)), 0);
    }
}
