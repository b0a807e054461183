//! A client that never gives up: what is lost with an owner it repeats, and when its own process is killed it starts another and goes on.

use serde_json::{Value, json};

use super::field::{Alarm, CHILDREN, Field, PARENTS};
use crate::harness::{Refusal, Sidecar, list, number, runs_of, text};

/// A durable event: its place in the log, and the run that it is about.
pub type Event = (String, String);

/// One client over all the lives of its process.
pub struct Editor<'a> {
    field: &'a Field,
    sidecar: Sidecar,
    name: String,
    /// The agent of the sessions that it opens, and what it is prompted with.
    agent: &'static str,
    prompt: &'static str,
    /// What it was told, in order.
    pub heard: Vec<Event>,
    /// Notifications of this life that were looked at.
    looked: usize,
    prompts: u64,
    _alarm: Alarm<'a>,
}

impl<'a> Editor<'a> {
    /// Hears of everything from before everything.
    pub fn new(
        field: &'a Field,
        name: &str,
        (agent, prompt): (&'static str, &'static str),
    ) -> Self {
        let sidecar = field.world.start();
        field.begins(name, &sidecar);
        let mut editor = Self {
            field,
            sidecar,
            name: name.to_owned(),
            agent,
            prompt,
            heard: Vec::new(),
            looked: 0,
            prompts: 0,
            _alarm: Alarm(field),
        };
        while editor.greet().is_none() {
            editor.another_process();
        }
        editor
    }

    pub fn pid(&self) -> u32 {
        self.sidecar.pid()
    }

    /// Says hello, and opens all sessions; `None` if its process is gone before that is done.
    fn greet(&mut self) -> Option<()> {
        let after = self.heard.last().map_or(&self.field.origin, |it| &it.0);
        let hello = self.ask_once("initialize", &json!({"resumeFrom": after}))?;
        assert_eq!(hello.unwrap()["resumed"], true);
        for (no, child) in CHILDREN.iter().enumerate() {
            let parent = PARENTS[no % PARENTS.len()];
            let opening = json!({"sessionId": child, "agent": self.agent, "parent": parent, "env": {"WEATHER": "storm"}});
            loop {
                match self.ask_once("session/open", &opening)? {
                    Ok(_) => break,
                    Err(refusal) => self.is_lost(&refusal),
                }
            }
        }
        Some(())
    }

    fn is_lost(&self, refusal: &Refusal) {
        assert_eq!(refusal.kind(), "ownerLost", "{refusal:?}");
        self.field.note(|books| books.lost += 1);
    }

    /// Its process was killed: the next one goes on where it was.
    fn another_process(&mut self) {
        loop {
            self.sidecar.was_killed();
            self.hear();
            self.field.ends(self.sidecar.pid());
            self.sidecar = self.field.world.start();
            self.field.begins(&self.name, &self.sidecar);
            self.looked = 0;
            if self.greet().is_some() {
                return;
            }
        }
    }

    /// Looks at what it was told.
    fn hear(&mut self) {
        let new: Vec<Value> = (self.sidecar).look(|mailbox| mailbox.notes[self.looked..].to_vec());
        self.looked += new.len();
        let durable = ["run/completed", "deadLetter/added"];
        for note in new
            .iter()
            .filter(|note| durable.contains(&text(&note["method"])))
        {
            self.heard.push(event(note));
        }
    }

    fn ask_once(&mut self, method: &str, params: &Value) -> Option<Result<Value, Refusal>> {
        let id = self.sidecar.try_send(method, params)?;
        self.sidecar.answer_or_end(&id)
    }

    /// Asks until it is answered, whatever happens to whom.
    pub fn ask(&mut self, method: &str, params: &Value) -> Value {
        loop {
            match self.ask_once(method, params) {
                Some(Ok(answer)) => {
                    self.field.note(|books| books.progress += 1);
                    return answer;
                }
                Some(Err(refusal)) => self.is_lost(&refusal),
                None => self.another_process(),
            }
        }
    }

    /// Prompts one child after the other, each time under a name that is repeated until it is accepted.
    pub fn prompt(&mut self) {
        self.prompts += 1;
        let run = format!("{}-{}", self.name, self.prompts);
        let child = CHILDREN[usize::try_from(self.prompts).unwrap() % CHILDREN.len()];
        let prompt = json!({"sessionId": child, "prompt": self.prompt, "runId": run});
        let answer = self.ask("prompt", &prompt);
        assert_eq!(answer["runId"], run.as_str());
        self.field.note(|books| books.accepted.insert(run));
    }

    /// Takes from an inbox, and acknowledges: only what nobody else has acknowledged may be there. Whether nothing is left in it, nor held by anybody.
    pub fn drain(&mut self, parent: &str, max: u64, wait_ms: u64) -> bool {
        let before = self.field.books().acked.len();
        let asked = json!({"sessionId": parent, "max": max, "waitMs": wait_ms});
        let taken = self.ask("drain", &asked);
        let runs = runs_of(&taken);
        let again = |run: &&String| {
            let books = self.field.books();
            books.acked.get(*run).is_some_and(|it| it.0 < before)
        };
        let again: Vec<&String> = runs.iter().filter(again).collect();
        assert!(
            again.is_empty(),
            "acknowledged, and offered again: {again:?}"
        );
        if runs.is_empty() {
            return taken["remaining"] == 0 && taken["leased"] == 0;
        }
        let acked = self.ask("drain/ack", &json!({"deliveryId": taken["deliveryId"]}));
        assert_eq!(list(&acked["gone"]).len(), 0, "{acked}");
        let attempt = |run: &Value| {
            let all = list(&taken["completions"]);
            let it = all.iter().find(|it| it["runId"] == *run).unwrap();
            number(&it["attempt"])
        };
        self.field.note(|books| {
            for run in list(&acked["settled"]) {
                let no = books.acked.len();
                let acked = books.acked.entry(text(run).to_owned());
                acked.or_insert((no, attempt(run)));
            }
        });
        false
    }

    /// Waits until nothing is under way or queued.
    pub fn settle(&mut self) {
        for child in CHILDREN {
            let idle = json!({"sessionId": child, "until": "idle"});
            self.ask("session/wait", &idle);
        }
    }

    /// Drains everything.
    pub fn drain_all(&mut self) {
        for parent in PARENTS {
            while !self.drain(parent, 20, 200) {}
        }
    }

    /// The whole log.
    pub fn log(&mut self) -> Vec<Event> {
        let (mut after, mut all) = (json!(self.field.origin), Vec::new());
        loop {
            let page = self.ask("events/replay", &json!({"after": after}));
            all.extend(list(&page["events"]).iter().map(event));
            after = page["cursor"].clone();
            if page["more"] == false {
                return all;
            }
        }
    }

    /// Waits until it was told what is at this place of the log.
    pub fn hears_of(&mut self, cursor: &str) {
        self.hear();
        if self.heard.iter().all(|it| it.0 != cursor) {
            (self.sidecar).wait("the end of the log", |mailbox| {
                let mut new = mailbox.notes.iter();
                new.any(|note| note["params"]["cursor"] == cursor)
                    .then_some(())
            });
        }
        self.hear();
    }

    pub fn leave(self) {
        self.field.ends(self.sidecar.pid());
        self.sidecar.leave();
    }
}

fn event(event: &Value) -> Event {
    let (at, run) = (&event["params"]["cursor"], &event["params"]["runId"]);
    (text(at).to_owned(), text(run).to_owned())
}
