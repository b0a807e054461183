//! Hostile input, in both framings. After each attack: nothing has panicked, memory is flat, the same connection answers a real
//! request, an ordinary run completes exactly once, and every request was answered once, under its id as it was written.
//!
//! `planted` shows that the checks can fail.

mod frames;
mod ids;
mod json;
mod params;
mod pipes;
mod planted;

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Framing, Sidecar, World};

/// Bytes that memory may grow by at its peak, whatever comes in: four times the largest frame by default, which holds the frame
/// itself, room to grow in, its parameters, and what they are parsed into.
pub const PEAK_BYTES: u64 = 4 * MAX_FRAME;
/// The largest frame by default.
pub const MAX_FRAME: u64 = 16 << 20;

const FRAMINGS: [Framing; 2] = [Framing::Lines, Framing::Headers];

/// A sidecar that is about to be attacked, and its memory before.
pub struct Victim {
    pub sidecar: Sidecar,
    pub framing: Framing,
    calm: u64,
    runs: u32,
}

/// Does the same to a sidecar of each framing.
fn in_both_framings(attack: impl Fn(&mut Victim)) {
    for framing in FRAMINGS {
        let world = World::new();
        let mut victim = Victim::of(&world, world.turnlane(&[]), framing);
        attack(&mut victim);
        victim.unharmed();
    }
}

impl Victim {
    /// Starts a command that speaks the protocol, and lets it work once.
    pub fn of(world: &World, command: Command, framing: Framing) -> Self {
        let mut sidecar = Sidecar::spawn_framed(world, command, framing);
        sidecar.open("s", "script");
        let mut victim = Self {
            sidecar,
            framing,
            calm: 0,
            runs: 0,
        };
        victim.goes_on();
        victim.calm = victim.sidecar.memory();
        victim.sidecar.forget_peak();
        victim
    }

    /// Sends a body that must be answered once, under null, with this code.
    pub fn refuses(&mut self, body: &[u8], code: i64) -> Value {
        let before = self.answered("null");
        self.sidecar.send_body(body);
        let answer = self.sidecar.wait("a refusal under null", |mailbox| {
            mailbox.answers.remove("null")
        });
        assert_eq!(answer["error"]["code"], code, "{}: {answer}", shown(body));
        self.goes_on();
        assert_eq!(self.answered("null"), before + 1, "{}", shown(body));
        answer
    }

    /// Waits for the answer under an id as it was written.
    pub fn answer(&self, id: &str) -> Value {
        let key = serde_json::from_str::<Value>(id).unwrap().to_string();
        self.sidecar
            .wait(id, |mailbox| mailbox.answers.remove(&key))
    }

    /// How many answers came under an id as it was written.
    pub fn answered(&self, id: &str) -> usize {
        self.sidecar
            .look(|mailbox| mailbox.answered.get(id).copied().unwrap_or_default())
    }

    /// The same connection answers a real request, and an ordinary run completes, exactly once.
    pub fn goes_on(&mut self) {
        self.sidecar.ok("stats", json!({}));
        self.runs += 1;
        let said = format!("word {}", self.runs);
        let run = self.sidecar.prompt("s", &format!("say {said}"));
        let completion = self.sidecar.ended(&run, "completed");
        assert_eq!(completion["text"], format!("{said}\n"), "{completion}");
        self.sidecar.ok("stats", json!({}));
        let ended = self.sidecar.completion_order();
        let times = ended.iter().filter(|ended| **ended == run).count();
        assert_eq!(times, 1, "{run} completed {times} times");
    }

    /// How much memory grew at its peak.
    pub fn grown(&self) -> u64 {
        self.sidecar.peak().saturating_sub(self.calm)
    }

    /// All that was promised, at the end: it goes on, memory stayed flat, nothing panicked, and nobody was answered twice.
    pub fn unharmed(self) {
        self.unharmed_but_for(&[]);
    }

    /// The same, where these ids were asked under so many times.
    pub fn unharmed_but_for(mut self, shared: &[(&str, usize)]) {
        self.goes_on();
        let (grown, calm) = (self.grown(), self.calm);
        assert!(
            grown <= PEAK_BYTES,
            "memory is not flat: at its peak it grew by {grown} bytes over {calm}, at most {PEAK_BYTES} are allowed"
        );
        self.sidecar.close_stdin();
        let status = self.sidecar.wait_exit();
        let said = self.sidecar.said();
        assert!(!said.contains("panicked"), "it panicked: {said}");
        assert_eq!(status.code(), Some(0), "{status}: {said}");
        self.sidecar.look(|mailbox| {
            for (id, times) in &mailbox.answered {
                let asked = shared.iter().find(|(shared, _)| shared == id);
                let asked = asked.map_or(1, |(_, times)| *times);
                assert!(
                    id == "null" || *times == asked,
                    "{id} was asked {asked} times and answered {times} times"
                );
            }
        });
        self.sidecar.leave();
    }
}

/// Bytes as a message can show them.
fn shown(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(200)];
    format!("{} ({} bytes)", head.escape_ascii(), bytes.len())
}

/// A request without parameters under an id as it is written.
fn stats(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"stats"}}"#)
}

/// A request whose parameters are any text.
fn request(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}
