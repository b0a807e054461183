//! A world with scripted agents in it, and what they noted of their clients.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{HARD_LIMIT, Sidecar, World, list, number, text};
use crate::programs;

/// The scripted agent.
pub const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/acp/agent.py");

/// Nothing was received, or told.
pub const NONE: [Value; 0] = [];

/// A sidecar, and the agents that it starts. All of them note what they receive in one file.
pub struct Scene {
    sidecar: Sidecar,
    pub world: World,
}

impl Scene {
    /// `None`, and it is said, where the agent can't run.
    pub fn new() -> Option<Self> {
        Self::of(World::new())
    }

    /// The same in a world that is made for it.
    pub fn of(world: World) -> Option<Self> {
        Self::started(world, &[])
    }

    /// The same with these flags of the sidecar.
    pub fn started(world: World, flags: &[&str]) -> Option<Self> {
        programs::has("python3").then(|| Self {
            sidecar: world.start_with(flags),
            world,
        })
    }

    /// The scripted agent with these flags, as a description with `more` in it.
    pub fn agent(&self, flags: &[&str], more: Value) -> Value {
        let record = self.world.path("record").display().to_string();
        let home = self.world.path("data").display().to_string();
        let own = ["python3", AGENT, "--record", &record, "--home", &home];
        let command = [&own, flags].concat();
        let mut agent = json!({"kind": "acp", "command": command});
        if let (Some(agent), Value::Object(more)) = (agent.as_object_mut(), more) {
            agent.extend(more);
        }
        agent
    }

    /// Opens a session of the scripted agent with these flags and `more` in its description.
    pub fn act(&mut self, session: &str, flags: &[&str], more: Value) -> Value {
        let agent = self.agent(flags, more);
        self.ok(
            "session/open",
            json!({"sessionId": session, "agent": agent}),
        )
    }

    /// Opens a session of the scripted agent as it is.
    pub fn plain(&mut self, session: &str) {
        self.act(session, &[], json!({}));
    }

    /// A file in the session's directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.world.path("work").join(name)
    }

    /// Opens a gate at which a script holds, or a start.
    pub fn open_gate(&self, name: &str) {
        fs::write(self.file(name), "").unwrap();
    }

    /// Begins a run that says `at NAME` and then holds until the gate of that name is open, or a cancel; waits until it holds.
    pub fn at_gate(&mut self, session: &str, name: &str) -> String {
        let script = self.gate(name);
        let run = self.prompt(session, &script);
        self.said_by(&run, &format!("at {name}"));
        run
    }

    /// The script of a gate.
    pub fn gate(&self, name: &str) -> String {
        format!("say at {name}\nhold {}", self.file(name).display())
    }

    /// What all agents have noted so far, in order.
    pub fn record(&self) -> Vec<Value> {
        let all = fs::read_to_string(self.world.path("record")).unwrap_or_default();
        let whole = all.rsplit_once('\n').map_or("", |(whole, _)| whole);
        (whole.lines())
            .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}")))
            .collect()
    }

    /// The messages of this method that agents have received so far: their parameters.
    pub fn received(&self, method: &str) -> Vec<Value> {
        let record = self.record();
        let all = record.iter().map(|note| &note["received"]);
        all.filter(|message| message["method"] == method)
            .map(|message| message["params"].clone())
            .collect()
    }

    /// The scripts that agents were prompted with so far.
    pub fn scripts(&self) -> Vec<String> {
        let prompts = self.received("session/prompt");
        let texts = prompts.iter().map(|params| &params["prompt"][0]["text"]);
        texts.map(|script| text(script).to_owned()).collect()
    }

    /// The agents that were started so far, as they noted it.
    pub fn starts(&self) -> Vec<Value> {
        let mut record = self.record();
        record.retain(|note| note["started"] == true);
        record
    }

    /// The agent's process that was started last.
    pub fn agent_pid(&self) -> u32 {
        let starts = self.starts();
        let last = starts.last().expect("one was started");
        u32::try_from(number(&last["pid"])).unwrap()
    }

    /// Waits until agents have noted what is looked for: a file tells nobody, so it is read again and again.
    pub fn until<T>(&self, what: &str, find: impl Fn(&[Value]) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            let record = self.record();
            if let Some(found) = find(&record) {
                return found;
            }
            assert!(
                started.elapsed() < HARD_LIMIT,
                "no agent notes {what}: {record:#?}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until so many messages of this method have been received.
    pub fn until_received(&self, method: &str, count: usize) {
        let is_it = |note: &&Value| note["received"]["method"] == method;
        self.until(&format!("{count} of {method}"), |record| {
            (record.iter().filter(is_it).count() >= count).then_some(())
        });
    }

    /// What the sidecar's clients were told of this run besides text.
    pub fn updates(&self, run: &str) -> Vec<Value> {
        self.look(|mailbox| mailbox.updates.get(run).cloned())
            .unwrap_or_default()
    }

    /// The agent's own session, as the session's record shows it.
    pub fn conversation(&mut self, session: &str) -> Value {
        self.ok("session/get", json!({"sessionId": session}))["conversation"].clone()
    }

    /// Prompts, and waits for it to complete; its text without the last line end.
    pub fn told(&mut self, session: &str, script: &str) -> String {
        let run = self.prompt(session, script);
        let completion = self.ended(&run, "completed");
        text(&completion["text"]).trim_end().to_owned()
    }

    /// The error of a run that failed in this way: its message.
    pub fn failed(&self, run: &str, kind: &str) -> String {
        let completion = self.ended(run, "failed");
        assert_eq!(completion["error"]["kind"], kind, "{completion}");
        text(&completion["error"]["message"]).to_owned()
    }

    /// Waits until a run is parked; what it asks.
    pub fn question(&self, run: &str) -> Value {
        self.state(run, "parked")["permission"].clone()
    }

    /// Answers a question.
    pub fn answer_question(&mut self, run: &str, question: &Value, option: &str) {
        let params = json!({"runId": run, "requestId": question["requestId"], "optionId": option});
        self.ok("permission/respond", params);
    }

    /// Leaves in order and begins another life.
    pub fn restart(self) -> Self {
        let world = self.leaves();
        let sidecar = world.start();
        Self { sidecar, world }
    }

    /// Is killed and begins another life.
    pub fn crash(self) -> Self {
        let Self { sidecar, world } = self;
        sidecar.kill9();
        let sidecar = world.start();
        Self { sidecar, world }
    }

    /// Leaves in order; no agent saw its client do what it must not.
    pub fn leave(self) {
        self.leaves();
    }

    fn leaves(self) -> World {
        let broken: Vec<Value> = (self.record().into_iter())
            .filter(|note| note.get("broken").is_some())
            .collect();
        assert!(broken.is_empty(), "agents complain: {broken:#?}");
        let Self { sidecar, world } = self;
        sidecar.leave();
        world
    }
}

impl Deref for Scene {
    type Target = Sidecar;

    fn deref(&self) -> &Sidecar {
        &self.sidecar
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut Sidecar {
        &mut self.sidecar
    }
}

/// The kinds of updates, in order.
pub fn kinds(updates: &[Value]) -> Vec<&str> {
    updates
        .iter()
        .map(|update| text(&update["sessionUpdate"]))
        .collect()
}

/// The options of a question: their ids.
pub fn options(question: &Value) -> Vec<&str> {
    let options = list(&question["options"]).iter();
    options.map(|option| text(&option["optionId"])).collect()
}
