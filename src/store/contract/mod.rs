//! What every store promises, as tests that know only the trait. A new kind of store passes [`keeps_every_promise`].

mod inbox;
mod letters;
mod reads;
mod retention;
mod rows;
mod wakes;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Announced, Retention, RunFilter, Store, StoreError, StoredEvent, StoredRun};
use crate::domain::{
    AgentRef, Begun, CancelMark, Completion, Conversation, DeadLetter, DeadWhy, EventNo, FailKind,
    Failure, Heartbeat, InboxEntry, Keep, OnCompletion, Outcome, PermissionPolicy, Prompt, Reason,
    Replaced, RunId, RunKind, ScheduledWake, Seq, Session, SessionId, Stop, WakeBusy, WakeFacts,
    WakePolicy, Wall,
};
use crate::engine::{AcceptedRun, DeliveredRun, DeliveredWrite, Destination, RunRow, Write};

/// Tests every promise, each with a store of its own.
pub(crate) fn keeps_every_promise(make: impl Fn() -> Box<dyn Store>) {
    let promises: &[fn(&mut dyn Store)] = &[
        a_new_store_is_empty,
        rows::a_session_comes_back_as_it_was_and_is_replaced_whole,
        rows::an_accepted_run_comes_back_as_it_was,
        rows::start_stop_and_requeue_change_nothing_else,
        rows::a_steered_run_that_goes_to_the_queue_has_not_started,
        rows::every_completion_comes_back_as_it_was,
        reads::what_is_applied_is_seen_before_and_after_the_commit,
        reads::a_snapshot_holds_what_is_live_in_order,
        reads::runs_are_listed_newest_first_by_filter_and_page,
        reads::sessions_are_listed_by_id_and_page,
        reads::ancestors_are_the_parents_nearest_first_and_a_circle_ends,
        reads::who_is_named_is_in_the_snapshot_if_it_is_there,
        reads::events_come_in_order_by_session_and_page,
        retention::runs_past_their_time_go_with_their_events,
        retention::the_oldest_runs_over_the_number_go,
        retention::what_an_inbox_or_a_dead_letter_holds_is_never_pruned,
        retention::closed_sessions_go_once_nothing_is_left_of_them,
        retention::deliveries_go_like_runs,
        retention::events_of_dead_letters_go_up_to_where_events_were_pruned,
        retention::a_purge_leaves_no_trace_and_nothing_else_is_lost,
        retention::what_comes_for_a_purged_session_is_a_dead_letter_until_it_is_there_again,
        inbox::entries_come_back_whole_and_in_order,
        inbox::an_entry_counts_its_offers_and_those_that_failed,
        inbox::what_is_settled_leaves_the_inbox_and_stays_a_run,
        inbox::a_newer_completion_takes_the_place_of_older_ones,
        inbox::a_delivery_is_still_of_what_no_later_one_handed_out,
        inbox::a_delivery_tells_what_has_been_settled_of_it,
        letters::a_dead_letter_comes_back_whole_in_order_and_by_parent,
        letters::a_dead_letter_goes_back_into_an_inbox,
        letters::a_dead_letter_that_is_forgotten_lets_its_run_go,
        letters::the_events_of_dead_letters_stand_in_the_log_of_their_parent,
        wakes::what_a_wake_carries_stands_in_its_run_and_its_completion,
        wakes::wakes_that_wait_are_kept_until_they_do_not,
        wakes::what_an_agent_keeps_for_a_session_is_kept,
        wakes::how_often_a_session_was_woken_is_kept,
    ];
    for promise in promises {
        promise(&mut *make());
    }
}

/// A store that was written to and has been opened again holds what it did.
pub(crate) fn survives_a_restart<S: Store>(mut store: S, restart: impl FnOnce(S) -> S) {
    wakes::everything_at_once(&mut store);
    let look = |store: &mut S| {
        let everything = RunFilter {
            limit: 100,
            ..RunFilter::default()
        };
        (
            store.snapshot().unwrap(),
            store.runs(&everything).unwrap(),
            store.events(None, None, 100).unwrap(),
            store.dead_letters(None, None, 100).unwrap(),
            delivery(store, "d1"),
        )
    };
    let before = look(&mut store);
    assert!(!before.0.inboxes.is_empty() && !before.0.scheduled.is_empty());
    assert!(!before.3.is_empty() && before.4.is_some());
    let mut store = restart(store);
    assert_eq!(look(&mut store), before);
}

/// A session id.
pub(crate) fn sid(id: &str) -> SessionId {
    SessionId::parse(id).unwrap()
}

/// A run id.
pub(crate) fn rid(id: &str) -> RunId {
    RunId::parse(id).unwrap()
}

/// A run's number.
pub(crate) fn seq(number: u64) -> Seq {
    Seq::new(number).unwrap()
}

/// An event's number.
pub(crate) fn event(number: u64) -> EventNo {
    EventNo::new(number).unwrap()
}

/// A plain session made at time 10.
pub(crate) fn session(id: &str) -> Session {
    Session {
        id: sid(id),
        agent: AgentRef::Named("sh".into()),
        cwd: "/".into(),
        env_names: Vec::new(),
        parent: None,
        title: None,
        timeout_ms: None,
        permissions: None,
        keep: Keep::All,
        wake: None,
        heartbeat: None,
        wake_streak: 0,
        hushed: false,
        conversation: None,
        closed: false,
        mark: CancelMark::default(),
        created_at: Wall(10),
    }
}

/// Opens a plain session.
pub(crate) fn open(id: &str) -> Write {
    Write::Session(Box::new(session(id)))
}

/// The row of run `r<number>`, accepted at time `number`.
pub(crate) fn row(number: u64, session: &str, notify: Option<&str>) -> RunRow {
    RunRow {
        seq: seq(number),
        id: rid(&format!("r{number}")),
        session: sid(session),
        kind: RunKind::Prompt,
        place: i64::try_from(number).unwrap(),
        notify: notify.map(sid),
        timeout_ms: None,
        queue_timeout_ms: None,
        permissions: None,
        traceparent: None,
        wake: None,
        accepted_at: Wall(i64::try_from(number).unwrap()),
        started_at: None,
        stop: None,
        into: None,
    }
}

/// Accepts a row with a plain prompt.
pub(crate) fn accept(row: RunRow) -> Write {
    let prompt = Prompt::Text(format!("do {}", row.seq.get()).into());
    Write::Accept(Box::new(AcceptedRun { row, prompt }))
}

/// The plain completion of a row.
pub(crate) fn completion(row: &RunRow, ended_at: i64) -> Completion {
    row.clone().into_run().finish(
        Wall(ended_at),
        Outcome::Completed,
        None,
        None,
        None,
        crate::domain::Ending::default(),
    )
}

/// Ends a row.
pub(crate) fn complete(row: &RunRow, ended_at: i64, number: u64) -> Write {
    let destination = match row.notify {
        Some(_) => Destination::Inbox(Box::new(entry(row, ended_at, number)), Vec::new()),
        None => Destination::Nobody,
    };
    complete_for(row, ended_at, number, destination)
}

/// The inbox entry of a row that ended.
pub(crate) fn entry(row: &RunRow, ended_at: i64, number: u64) -> InboxEntry {
    InboxEntry {
        no: event(number),
        run: row.id.clone(),
        child: row.session.clone(),
        attempt: 0,
        failures: 0,
        weight: 700,
        ended_at: Wall(ended_at),
        replaced: Replaced::default(),
    }
}

/// An entry becomes a dead letter of its parent because that one is purged, at time 60.
pub(crate) fn bury(entry: InboxEntry, parent: &str, number: u64) -> Write {
    let letter = DeadLetter {
        parent: sid(parent),
        entry,
        why: DeadWhy::ParentPurged,
        at: Wall(60),
    };
    Write::Bury(Arc::new(letter), event(number))
}

/// What names a run in an inbox.
fn key(number: u64, run: u64) -> (EventNo, RunId) {
    (event(number), rid(&format!("r{run}")))
}

/// Hands these out of an inbox.
fn deliver(session: &str, entries: Vec<(EventNo, RunId)>, known_as: Option<(&str, i64)>) -> Write {
    Write::Deliver(Box::new(DeliveredWrite {
        session: sid(session),
        entries,
        known_as: known_as.map(|(id, at)| (id.into(), Wall(at))),
    }))
}

/// The runs that an inbox holds, in order.
fn owed(store: &mut dyn Store, session: &str) -> Vec<String> {
    let entries = store.inbox(&sid(session), None, 1_000).unwrap();
    entries.iter().map(|entry| entry.run.to_string()).collect()
}

/// The runs of the dead letters and whose they were, in order.
fn dead(store: &mut dyn Store) -> Vec<(String, String)> {
    let letters = store.dead_letters(None, None, 1_000).unwrap();
    let names = letters.iter().map(|letter| {
        let run = letter.entry.run.to_string();
        (run, letter.parent.to_string())
    });
    names.collect()
}

/// Ends a row whose completion goes there.
fn complete_for(row: &RunRow, ended_at: i64, number: u64, destination: Destination) -> Write {
    let completion = Arc::new(completion(row, ended_at));
    Write::Complete(completion, event(number), destination)
}

/// Applies and commits.
pub(crate) fn put(store: &mut dyn Store, writes: Vec<Write>) {
    store.apply(writes).unwrap();
    store.commit().unwrap();
}

/// Run `r<number>`.
fn found(store: &mut dyn Store, number: u64) -> Option<StoredRun> {
    store.run(&rid(&format!("r{number}"))).unwrap()
}

/// The numbers of the runs that a filter shows.
fn listed(store: &mut dyn Store, filter: &RunFilter) -> Vec<u64> {
    let runs = store.runs(filter).unwrap();
    runs.iter().map(|run| run.row.seq.get()).collect()
}

/// The numbers of the stored runs, oldest first.
fn stored(store: &mut dyn Store) -> Vec<u64> {
    let everything = RunFilter {
        limit: 1_000,
        ..RunFilter::default()
    };
    let mut all = listed(store, &everything);
    all.reverse();
    all
}

/// The numbers of the events of these sessions.
fn told(
    store: &mut dyn Store,
    after: Option<u64>,
    sessions: Option<&[&str]>,
    limit: usize,
) -> Vec<u64> {
    let sessions: Option<Vec<_>> = sessions.map(|ids| ids.iter().map(|id| sid(id)).collect());
    let events = store.events(after.map(event), sessions.as_deref(), limit);
    events.unwrap().iter().map(|event| event.no.get()).collect()
}

fn keep(ended_before: i64, keep_runs: u64, at_most: usize) -> Retention {
    Retention {
        ended_before: Wall(ended_before),
        keep_runs,
        at_most,
    }
}

fn prune(store: &mut dyn Store, retention: Retention) -> usize {
    let gone = store.prune(retention).unwrap();
    store.commit().unwrap();
    gone
}

fn a_new_store_is_empty(store: &mut dyn Store) {
    assert!(!store.id().is_empty());
    assert_eq!(
        store.snapshot().unwrap(),
        crate::engine::Snapshot::default()
    );
    assert_eq!(store.run(&rid("r1")).unwrap(), None);
    assert!(matches!(store.prompt(seq(1)), Err(StoreError::Corrupt(_))));
    assert_eq!(store.session(&sid("a")).unwrap(), None);
    assert_eq!(store.inbox(&sid("a"), None, 10).unwrap(), []);
    assert_eq!(store.dead_letters(None, None, 10).unwrap(), []);
    assert_eq!(store.dead_letter(&rid("r1")).unwrap(), None);
    assert_eq!(delivery(store, "d1"), None);
    assert_eq!(store.pruned_to().unwrap(), None);
    assert_eq!(told(store, None, None, 10), [0; 0]);
    assert_eq!(prune(store, keep(1_000, 0, 10)), 0);
    store.commit().unwrap();
}

/// A delivery and what was settled of it, with nothing known of what still lies in the inbox.
fn delivery(store: &mut dyn Store, id: &str) -> Option<(SessionId, Vec<DeliveredRun>)> {
    store.delivery(&id.into(), &|_, _| false).unwrap()
}
