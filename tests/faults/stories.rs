//! What a sidecar is doing when something happens to it.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::harness::Sidecar;
use crate::stage::Stage;
use crate::strace::{self, Fault, Point, Thread, Trace};
use crate::told::{Client, End, Ended, Told};

/// The signal that nobody can catch.
const KILL: i32 = Signal::KILL.as_raw();

/// What a client does, up to its end or the sidecar's.
type Part = fn(&mut Client<'_>, &Stage) -> Option<()>;

/// One thing that a client does, and what led to it.
pub struct Story {
    pub name: &'static str,
    /// What the store holds when it begins: made once, in lives that end by a kill.
    pub given: Option<Part>,
    /// What happens before anything is traced; nothing if the start itself is the story.
    pub before: Option<Part>,
    /// What happens then.
    pub acts: Part,
    /// How it ends, if it gets so far.
    pub end: End,
}

/// No more than what its end brings.
fn nothing(_: &mut Client<'_>, _: &Stage) -> Option<()> {
    Some(())
}

/// A run that holds in session `s`, and one behind it.
fn one_held(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    client.open("s", stage.agent)?;
    client.prompt("s", "a", &stage.holds("a"))?;
    client.active("a")?;
    client.prompt("s", "b", &stage.script("b"))?;
    Some(())
}

fn session(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    client.open("s", stage.agent)?;
    Some(())
}

/// Ended, cancelled, held and queued runs.
fn all_kinds(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    client.open("t", stage.agent)?;
    client.prompt("t", "ended", &stage.script("ended"))?;
    client.completed("ended")?;
    client.prompt(
        "t",
        "stubborn",
        &format!("trap '' TERM\n{}", stage.holds("stubborn")),
    )?;
    client.active("stubborn")?;
    client.prompt("t", "doomed", &stage.script("doomed"))?;
    client.ask("cancel", json!({"sessionId": "t"}))?;
    client.prompt("t", "spared", &stage.script("spared"))?;
    one_held(client, stage)
}

fn prompts(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    client.prompt("s", "a", &stage.holds("a"))?;
    client.prompt("s", "b", &stage.script("b"))?;
    client.active("a")
}

fn cancels(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    client.ask("cancel", json!({"sessionId": "s"}))?;
    client.prompt("s", "c", &stage.script("c"))?;
    client.completed("a")?;
    client.completed("c")
}

fn ends(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    stage.release();
    client.completed("a")?;
    client.completed("b")
}

fn starts(client: &mut Client<'_>, _: &Stage) -> Option<()> {
    client.ask("initialize", json!({})).map(drop)
}

fn opens(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    client.open("s", stage.agent)?;
    client.open("t", stage.agent)?;
    client.completed("b")?;
    client.completed("spared")
}

/// A parent, and three completions in its inbox.
fn three_owed(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    client.open("boss", stage.agent)?;
    let child = json!({"sessionId": "child", "agent": stage.agent, "parent": "boss"});
    client.ask("session/open", child)?;
    for run in ["one", "two", "three"] {
        client.prompt("child", run, &stage.script(run))?;
        client.completed(run)?;
    }
    Some(())
}

/// One of three is acknowledged, one leased, and one waits for this story.
fn some_taken(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    three_owed(client, stage)?;
    let first = client.drain(1)?;
    client.ask("drain/ack", json!({"deliveryId": first["deliveryId"]}))?;
    client.drain(1).map(drop)
}

fn taken_and_woken(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    some_taken(client, stage)?;
    wakes(client, stage)
}

fn drains(client: &mut Client<'_>, _: &Stage) -> Option<()> {
    let first = client.drain(2)?;
    client.ask("drain/release", json!({"deliveryId": first["deliveryId"]}))?;
    client.drain(1)?;
    client.drain(1).map(drop)
}

fn acks(client: &mut Client<'_>, _: &Stage) -> Option<()> {
    let all = client.drain(3)?;
    let delivery = &all["deliveryId"];
    let some = json!({"deliveryId": delivery, "runIds": ["two"]});
    client.ask("drain/ack", some)?;
    for _ in 0..2 {
        client.ask("drain/ack", json!({"deliveryId": delivery}))?;
    }
    // Whoever was not told the truth hears of the sidecar here.
    client.ask("stats", json!({})).map(drop)
}

/// One completion that was offered in vain four times.
fn nearly_dead(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    client.open("boss", stage.agent)?;
    let child = json!({"sessionId": "child", "agent": stage.agent, "parent": "boss"});
    client.ask("session/open", child)?;
    client.prompt("child", "owed", &stage.script("owed"))?;
    client.completed("owed")?;
    client.expire(4)?;
    // The last of these leases is over once the fifth can be had.
    let held = client.ask("drain", json!({"sessionId": "boss", "waitMs": 60_000}))?;
    let delivery = json!({"deliveryId": held["deliveryId"]});
    client.ask("drain/release", delivery).map(drop)
}

fn dies(client: &mut Client<'_>, _: &Stage) -> Option<()> {
    client.expire(1)?;
    client.dead("owed")
}

fn wakes(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    client.wake("boss", "wake", &stage.holds("wake"))?;
    client.active("wake")
}

fn woken(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    three_owed(client, stage)?;
    wakes(client, stage)
}

fn wake_ends(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    stage.release();
    client.completed("wake")
}

/// More than the log takes before it is folded into the database.
fn fills(client: &mut Client<'_>, stage: &Stage) -> Option<()> {
    for number in 0..10 {
        let run = format!("large{number}");
        let prompt = format!("{}# {}\n", stage.script(&run), "x".repeat(1_000_000));
        client.prompt("s", &run, &prompt)?;
    }
    Some(())
}

pub const PROMPT: Story = Story {
    name: "a prompt",
    given: None,
    before: Some(session),
    acts: prompts,
    end: End::Kill,
};

pub const CANCEL: Story = Story {
    name: "a cancel",
    given: None,
    before: Some(one_held),
    acts: cancels,
    end: End::Kill,
};

pub const TURNS_END: Story = Story {
    name: "a turn's end",
    given: None,
    before: Some(one_held),
    acts: ends,
    end: End::Kill,
};

pub const DRAIN: Story = Story {
    name: "a drain",
    given: None,
    before: Some(three_owed),
    acts: drains,
    end: End::Kill,
};

pub const ACK: Story = Story {
    name: "an acknowledgement",
    given: None,
    before: Some(three_owed),
    acts: acks,
    end: End::Kill,
};

pub const WAKE: Story = Story {
    name: "a wake run's start",
    given: None,
    before: Some(three_owed),
    acts: wakes,
    end: End::Kill,
};

pub const WAKE_ENDS: Story = Story {
    name: "a wake run's end",
    given: None,
    before: Some(woken),
    acts: wake_ends,
    end: End::Kill,
};

pub const DEAD_LETTER: Story = Story {
    name: "a dead letter",
    given: None,
    before: Some(nearly_dead),
    acts: dies,
    end: End::Kill,
};

/// Recovery of an inbox of which something was acknowledged and something leased, and of a wake run.
pub const INBOX_START: Story = Story {
    name: "a start with an inbox",
    given: Some(taken_and_woken),
    before: None,
    acts: starts,
    end: End::Leave,
};

/// Recovery of a store that holds everything.
pub const START: Story = Story {
    name: "a start after a kill",
    given: Some(all_kinds),
    before: None,
    acts: starts,
    end: End::Leave,
};

pub const NEW_STORE: Story = Story {
    name: "the first start",
    given: None,
    before: None,
    acts: starts,
    end: End::Leave,
};

/// What recovery left queued goes on.
pub const REOPENING: Story = Story {
    name: "an opening after a kill",
    given: Some(all_kinds),
    before: Some(starts),
    acts: opens,
    end: End::Kill,
};

pub const LEAVE: Story = Story {
    name: "a leave",
    given: None,
    before: Some(one_held),
    acts: nothing,
    end: End::Leave,
};

pub const CHECKPOINT: Story = Story {
    name: "a checkpoint",
    given: None,
    before: Some(one_held),
    acts: fills,
    end: End::Kill,
};

/// What a story came to.
pub struct Played {
    pub told: Told,
    pub ended: Ended,
    /// The log of the traced threads.
    pub traced: Vec<String>,
    /// Whether the fault came before it was over.
    pub hit: bool,
}

impl Story {
    /// Prepares the stage; what was told meanwhile.
    pub fn prepare(&self, stage: &Stage) -> Told {
        let mut told = Told::default();
        if let Some(given) = self.given {
            let mut client = Client::new(stage.start(), &mut told, &[]);
            given(&mut client, stage).expect("nothing has happened to it yet");
            client.finish(End::Kill);
            stage.world.wait_empty();
            stage.keep();
        }
        told
    }

    /// Plays it once, with a fault at a point or without one. `lies` are told by a proxy between client and sidecar.
    pub fn play(
        &self,
        stage: &mut Stage,
        given: &Told,
        thread: Thread,
        at: Option<(&Point, Fault)>,
        lies: &[&str],
    ) -> Played {
        stage.again();
        self.go_on(stage, given, thread, at, lies)
    }

    /// The same on the store as it is.
    pub fn go_on(
        &self,
        stage: &Stage,
        given: &Told,
        thread: Thread,
        at: Option<(&Point, Fault)>,
        lies: &[&str],
    ) -> Played {
        let ((told, ended), trace) = match thread {
            Thread::First => {
                let (command, trace) = Trace::start(stage, at);
                let (told, ended, ()) = self.live(stage, given, command, lies, |_| ());
                ((told, ended), trace)
            }
            Thread::Named(names) => {
                let attach = |pid| Trace::attach(stage, pid, names, at);
                let (told, ended, trace) = self.live(stage, given, stage.command(), lies, attach);
                ((told, ended), trace)
            }
        };
        let traced = trace.lines();
        let hit = match at {
            None => false,
            // A story that is over ends by a kill as well, but then it has come to its end.
            Some((_, Fault::Kill)) => ended.status.signal() == Some(KILL) && !ended.as_planned,
            Some((_, Fault::Error(_) | Fault::Swallow | Fault::Slow)) => strace::hit(&traced),
        };
        Played {
            told,
            ended,
            traced,
            hit,
        }
    }

    /// Plays it with something else happening to the process before it acts.
    pub fn live<T>(
        &self,
        stage: &Stage,
        given: &Told,
        command: Command,
        lies: &[&str],
        meanwhile: impl FnOnce(u32) -> T,
    ) -> (Told, Ended, T) {
        let mut told = given.clone();
        let sidecar = Sidecar::spawn(&stage.world, command);
        let pid = sidecar.pid();
        let mut client = Client::new(sidecar, &mut told, lies);
        if let Some(before) = self.before {
            before(&mut client, stage).expect("nothing has happened to it yet");
        }
        let made = meanwhile(pid);
        let done = (self.acts)(&mut client, stage);
        let ended = client.finish(done.map_or(End::Itself, |()| self.end));
        (told, ended, made)
    }
}
