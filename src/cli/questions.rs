//! Questions of an agent that is run at a terminal: a person answers them there.

use std::collections::VecDeque;
use std::io::{self, BufRead, IsTerminal};
use std::sync::mpsc::Sender;

use serde_json::{Value, json};

use super::client::{Client, Incoming};
use super::say;

/// The questions of one run.
pub(super) struct Questions {
    run: String,
    /// Those that have not been answered here, the first one before the person.
    open: VecDeque<Value>,
    /// Who reads what is typed, where somebody can type.
    typing: Typing,
}

/// Whether somebody can be asked.
enum Typing {
    Nobody,
    /// Where lines go once the first question is there: until then what is typed stays for whoever comes after us.
    Possible(Sender<Incoming>),
    Reads,
}

impl Questions {
    /// Questions of a run that are asked at the terminal, if there is one and it is not the prompt's.
    pub(super) fn of(client: &Client, prompted_by_stdin: bool, json: bool) -> Self {
        let person = io::stdin().is_terminal() && io::stderr().is_terminal();
        Self {
            run: String::new(),
            open: VecDeque::new(),
            typing: if person && !prompted_by_stdin && !json {
                Typing::Possible(client.sender())
            } else {
                Typing::Nobody
            },
        }
    }

    /// The agent asks. `false` when nobody can say anything to it: the run can only be cancelled.
    pub(super) fn asked(&mut self, client: &mut Client, run: &str, question: &Value) -> bool {
        run.clone_into(&mut self.run);
        let text = question["question"].as_str().unwrap_or_default();
        match std::mem::replace(&mut self.typing, Typing::Reads) {
            Typing::Nobody => {
                self.typing = Typing::Nobody;
                say(&format!("the agent asks: {text}"));
                return self.deny(client, question);
            }
            Typing::Possible(typed) => read_lines(typed),
            Typing::Reads => {}
        }
        self.open.push_back(question.clone());
        if self.open.len() == 1 {
            self.show();
        }
        true
    }

    /// The run goes on, or is over: nobody needs to be asked any more.
    pub(super) fn settled(&mut self) {
        if !self.open.is_empty() {
            self.open.clear();
            say(&"the question is open no more");
        }
    }

    /// Somebody typed a line, or will type no more. `false` as with [`Questions::asked`].
    pub(super) fn typed(&mut self, client: &mut Client, line: Option<&str>) -> bool {
        let Some(question) = self.open.front() else {
            return true;
        };
        let Some(line) = line else {
            self.typing = Typing::Nobody;
            return std::mem::take(&mut self.open)
                .iter()
                .all(|question| self.deny(client, question));
        };
        let options = options(question);
        let number = line.trim().parse::<usize>().unwrap_or_default();
        let chosen = number.checked_sub(1).and_then(|at| options.get(at));
        let Some(chosen) = chosen else {
            say(&format!("a number from 1 to {}:", options.len()));
            return true;
        };
        respond(client, &self.run, question, chosen);
        self.open.pop_front();
        self.show();
        true
    }

    fn show(&self) {
        let Some(question) = self.open.front() else {
            return;
        };
        let mut text = format!(
            "the agent asks: {}",
            question["question"].as_str().unwrap_or_default()
        );
        for (at, option) in options(question).iter().enumerate() {
            let name = option["name"].as_str().unwrap_or_default();
            text.push_str(&format!("\n  {}) {name}", at + 1));
        }
        text.push_str("\nyour answer, by its number:");
        say(&text);
    }

    /// Nobody can answer here: the agent is told no, and a person why.
    fn deny(&self, client: &mut Client, question: &Value) -> bool {
        let options = options(question);
        let Some(option) = options.iter().find(|option| option["kind"] == "reject") else {
            say(&"nobody can answer it here: the run is cancelled");
            return false;
        };
        say(
            &"nobody can answer it here, so it is denied; `--permissions allow`, or an agent that is configured so, is not asked",
        );
        respond(client, &self.run, question, option);
        true
    }
}

fn options(question: &Value) -> &[Value] {
    question["options"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn respond(client: &mut Client, run: &str, question: &Value, option: &Value) {
    let (request, option) = (&question["requestId"], &option["optionId"]);
    client.send(
        "permission/respond",
        &json!({"runId": run, "requestId": request, "optionId": option}),
    );
}

/// Tells each line that is typed, until the end.
fn read_lines(typed: Sender<Incoming>) {
    // It is never waited for: it ends with the process.
    let read = std::thread::Builder::new()
        .name("typed".into())
        .spawn(move || {
            for line in io::stdin().lock().lines() {
                let Ok(line) = line else { break };
                if typed.send(Incoming::Typed(Some(line))).is_err() {
                    return;
                }
            }
            let _ = typed.send(Incoming::Typed(None));
        });
    if let Err(error) = read {
        say(&format!("what is typed can't be read: {error}"));
    }
}
