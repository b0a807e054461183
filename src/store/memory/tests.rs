use super::*;
use crate::engine::RunRow;
use crate::store::contract;

fn session(id: &str) -> Write {
    contract::open(id)
}

fn row(seq: u64, id: &str) -> RunRow {
    RunRow {
        id: RunId::parse(id).unwrap(),
        ..contract::row(seq, "s", Some("p"))
    }
}

fn accept(seq: u64, id: &str) -> Write {
    contract::accept(row(seq, id))
}

fn complete(seq: u64, id: &str, event: u64) -> Write {
    contract::complete(&row(seq, id), 5, event)
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
            .inbox(&SessionId::parse("p").unwrap(), None, 9)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_planted_store_keeps_one_that_was_settled() {
    let p = SessionId::parse("p").unwrap();
    let mut store = MemoryStore::new();
    store.plant(Plant::AckForgetsOne);
    let mut settled = Vec::new();
    store.apply(vec![session("s")]).unwrap();
    for (number, name) in (1..).zip(["a", "b"]) {
        let writes = vec![accept(number, name), complete(number, name, number)];
        store.apply(writes).unwrap();
        settled.push((EventNo::new(number).unwrap(), id(name)));
    }
    store
        .apply(vec![Write::Settle(p.clone(), settled)])
        .unwrap();
    store.commit().unwrap();
    let left = store.crash().inbox(&p, None, 9).unwrap();
    assert_eq!((left.len(), &left[0].run), (1, &id("b")));
}

#[test]
fn what_was_committed_survives_and_what_was_not_is_taken_back_whole() {
    contract::survives_a_restart(MemoryStore::new(), MemoryStore::crash);
    contract::survives_a_restart(MemoryStore::new(), |mut store| {
        let p = SessionId::parse("p").unwrap();
        let entries = store.inbox(&p, None, 9).unwrap();
        let keys = entries.iter().map(|entry| (entry.no, entry.run.clone()));
        let settle = Write::Settle(p.clone(), keys.collect());
        let forget = Write::Forget(id("r4"));
        let unschedule = Write::Unschedule(id("w1"));
        let purge = Write::Purge(p);
        store
            .apply(vec![settle, forget, unschedule, purge])
            .unwrap();
        store.crash()
    });
}

#[test]
fn the_memory_store_keeps_every_promise_of_a_store() {
    crate::store::contract::keeps_every_promise(|| Box::new(MemoryStore::new()));
}
