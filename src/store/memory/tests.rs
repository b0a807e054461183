use std::sync::Arc;

use super::*;
use crate::domain::{AgentRef, CancelMark, Completion, Ending, Outcome, RunKind};
use crate::engine::{AcceptedRun, Destination, RunRow};

fn session(id: &str) -> Write {
    Write::Session(Box::new(Session {
        id: SessionId::parse(id).unwrap(),
        agent: AgentRef::Named("script".into()),
        cwd: "/".into(),
        env_names: Vec::new(),
        parent: None,
        title: None,
        timeout_ms: None,
        permissions: None,
        closed: false,
        mark: CancelMark::default(),
        created_at: Wall(0),
    }))
}

fn row(seq: u64, id: &str) -> RunRow {
    RunRow {
        seq: Seq::new(seq).unwrap(),
        id: RunId::parse(id).unwrap(),
        session: SessionId::parse("s").unwrap(),
        kind: RunKind::Prompt,
        place: 0,
        notify: Some(SessionId::parse("p").unwrap()),
        timeout_ms: None,
        queue_timeout_ms: None,
        permissions: None,
        traceparent: None,
        accepted_at: Wall(0),
        started_at: None,
        stop: None,
        into: None,
    }
}

fn accept(seq: u64, id: &str) -> Write {
    Write::Accept(Box::new(AcceptedRun {
        row: row(seq, id),
        prompt: Prompt::Text("go".into()),
    }))
}

fn complete(seq: u64, id: &str, event: u64) -> Write {
    let run = row(seq, id).into_run();
    let completion: Completion = run.finish(
        Wall(5),
        Outcome::Completed,
        None,
        None,
        None,
        Ending::default(),
    );
    let event = EventNo::new(event).unwrap();
    Write::Complete(Arc::new(completion), event, Destination::Inbox)
}

fn id(text: &str) -> RunId {
    RunId::parse(text).unwrap()
}

#[test]
fn a_crash_keeps_what_was_committed_and_nothing_else() {
    let mut store = MemoryStore::new();
    store.apply(vec![session("s"), accept(1, "a")]).unwrap();
    store.commit().unwrap();
    store
        .apply(vec![complete(1, "a", 1), accept(2, "b")])
        .unwrap();
    assert!(
        store.run(&id("b")).unwrap().is_some(),
        "reads see what was applied"
    );
    let mut store = store.crash();
    assert!(store.run(&id("b")).unwrap().is_none());
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.runs, [row(1, "a")]);
    assert_eq!(
        (snapshot.last_seq, snapshot.last_event),
        (Seq::new(1), None)
    );
    assert!(snapshot.inboxes.is_empty());
}

#[test]
fn a_failed_commit_may_or_may_not_be_durable_and_ends_the_store() {
    for durable in [false, true] {
        let mut store = MemoryStore::new();
        store.fail(Fails::Commit { nth: 2, durable });
        store.apply(vec![session("s")]).unwrap();
        store.commit().unwrap();
        store.apply(vec![accept(1, "a")]).unwrap();
        assert!(store.commit().is_err());
        assert!(store.run(&id("a")).is_err(), "it must not be used again");
        assert_eq!(store.crash().run(&id("a")).unwrap().is_some(), durable);
    }
}

#[test]
fn a_failed_apply_leaves_nothing() {
    let mut store = MemoryStore::new();
    store.apply(vec![session("s")]).unwrap();
    store.commit().unwrap();
    store.fail(Fails::Apply(1));
    assert!(store.apply(vec![accept(1, "a")]).is_err());
    assert!(store.crash().run(&id("a")).unwrap().is_none());
}

#[test]
fn a_planted_store_loses_its_last_commit_or_its_inbox() {
    let mut store = MemoryStore::new();
    store.plant(Plant::LosesLastCommit);
    store.apply(vec![session("s")]).unwrap();
    store.commit().unwrap();
    store.apply(vec![accept(1, "a")]).unwrap();
    store.commit().unwrap();
    let mut store = store.crash();
    assert!(store.run(&id("a")).unwrap().is_none());

    store.plant(Plant::NoInboxEntry);
    store
        .apply(vec![accept(1, "a"), complete(1, "a", 1)])
        .unwrap();
    assert!(
        store
            .inbox(&SessionId::parse("p").unwrap())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn the_memory_store_keeps_every_promise_of_a_store() {
    crate::store::contract::keeps_every_promise(|| Box::new(MemoryStore::new()));
}
