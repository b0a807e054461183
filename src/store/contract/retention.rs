//! What goes after a time, what goes at once, and what stays.

use super::*;

/// Runs `1..=n` of session `a`, all ended, run i at time 100 × i as event i.
fn ended(store: &mut dyn Store, n: u64) {
    for number in 1..=n {
        let row = row(number, "a", None);
        let at = i64::try_from(number).unwrap() * 100;
        put(
            store,
            vec![open("a"), accept(row.clone()), complete(&row, at, number)],
        );
    }
}

pub(super) fn runs_past_their_time_go_with_their_events(store: &mut dyn Store) {
    ended(store, 6);
    put(store, vec![accept(row(7, "a", None))]);
    assert_eq!(prune(store, keep(100, 1_000, 100)), 0);
    assert_eq!(store.pruned_to().unwrap(), None);
    assert_eq!(prune(store, keep(401, 1_000, 2)), 2);
    assert_eq!(stored(store), [3, 4, 5, 6, 7]);
    assert_eq!(told(store, None, None, 100), [3, 4, 5, 6]);
    assert_eq!(store.pruned_to().unwrap(), Some(event(2)));
    assert_eq!(prune(store, keep(401, 1_000, 100)), 2);
    assert_eq!(prune(store, keep(i64::MAX, 1_000, 100)), 2);
    assert_eq!(stored(store), [7]);
    assert_eq!(store.pruned_to().unwrap(), Some(event(6)));
    assert_eq!(found(store, 1), None);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(
        (snapshot.last_seq, snapshot.last_event),
        (Some(seq(7)), Some(event(6)))
    );
}

pub(super) fn the_oldest_runs_over_the_number_go(store: &mut dyn Store) {
    ended(store, 6);
    put(store, vec![accept(row(7, "a", None))]);
    assert_eq!(prune(store, keep(0, 6, 100)), 0);
    assert_eq!(prune(store, keep(0, 3, 1)), 1);
    assert_eq!(prune(store, keep(0, 3, 100)), 2);
    assert_eq!(stored(store), [4, 5, 6, 7]);
    assert_eq!(prune(store, keep(0, 0, 100)), 3);
    assert_eq!(stored(store), [7]);
    // The id of a run that went may be used anew.
    let again = RunRow {
        id: rid("r1"),
        ..row(8, "a", None)
    };
    put(store, vec![accept(again.clone()), complete(&again, 900, 7)]);
    assert_eq!(prune(store, keep(0, 1, 100)), 0);
    assert_eq!(prune(store, keep(0, 0, 100)), 1);
}

pub(super) fn what_an_inbox_or_a_dead_letter_holds_is_never_pruned(store: &mut dyn Store) {
    put(store, vec![open("a")]);
    let rows = [
        row(1, "a", Some("p")),
        row(2, "a", Some("q")),
        row(3, "a", None),
    ];
    for (row, number) in rows.iter().zip(1..) {
        put(store, vec![accept(row.clone()), complete(row, 50, number)]);
    }
    put(
        store,
        vec![
            open("p"),
            open("q"),
            bury(entry(&rows[1], 50, 2), "q", 4),
            Write::Purge(sid("q")),
        ],
    );
    assert_eq!(prune(store, keep(i64::MAX, 0, 100)), 1);
    assert_eq!(stored(store), [1, 2]);
    assert_eq!(told(store, None, None, 100), [1, 2, 4]);
    assert_eq!(store.pruned_to().unwrap(), Some(event(3)));
}

pub(super) fn closed_sessions_go_once_nothing_is_left_of_them(store: &mut dyn Store) {
    let closed = |id: &str, created_at: i64| {
        let created_at = Wall(created_at);
        Write::Session(Box::new(Session {
            closed: true,
            created_at,
            ..session(id)
        }))
    };
    let names = |store: &mut dyn Store| -> Vec<String> {
        let sessions = store.sessions(None, 100).unwrap();
        sessions
            .iter()
            .map(|session| session.id.to_string())
            .collect()
    };
    put(store, vec![open("open"), open("busy"), closed("empty", 1)]);
    put(store, vec![closed("ran", 1), closed("told", 1)]);
    let rows = [row(1, "ran", None), row(2, "busy", Some("told"))];
    for (row, number) in rows.iter().zip(1..) {
        put(store, vec![accept(row.clone()), complete(row, 300, number)]);
    }
    assert_eq!(prune(store, keep(200, 1_000, 100)), 0);
    assert_eq!(names(store), ["busy", "open", "ran", "told"]);
    assert_eq!(prune(store, keep(400, 1_000, 100)), 1);
    assert_eq!(names(store), ["busy", "open", "told"]);

    // Nor does one go that is somebody's parent: its children would find another one of that id.
    let child = Session {
        parent: Some(sid("boss")),
        ..session("child")
    };
    put(
        store,
        vec![closed("boss", 1), Write::Session(Box::new(child.clone()))],
    );
    assert_eq!(prune(store, keep(400, 1_000, 100)), 0);
    assert_eq!(names(store), ["boss", "busy", "child", "open", "told"]);
    let child = Session {
        closed: true,
        created_at: Wall(1),
        ..child
    };
    put(store, vec![Write::Session(Box::new(child))]);
    assert_eq!(prune(store, keep(400, 1_000, 100)), 0);
    assert_eq!(prune(store, keep(400, 1_000, 100)), 0);
    assert_eq!(names(store), ["busy", "open", "told"]);

    // Nor does one go that waits for a wake, or that is owed something by a session that is gone.
    let wake = wakes::scheduled("w1", "waking");
    put(
        store,
        vec![closed("waking", 1), Write::Schedule(Box::new(wake))],
    );
    assert_eq!(prune(store, keep(400, 1_000, 100)), 0);
    assert_eq!(names(store), ["busy", "open", "told", "waking"]);
    put(store, vec![Write::Unschedule(rid("w1"))]);
    assert_eq!(prune(store, keep(400, 1_000, 100)), 0);
    assert_eq!(names(store), ["busy", "open", "told"]);
    put(store, vec![Write::Settle(sid("told"), vec![key(2, 2)])]);
    assert_eq!(prune(store, keep(400, 1_000, 100)), 1);
    assert_eq!(names(store), ["busy", "open"]);
}

pub(super) fn deliveries_go_like_runs(store: &mut dyn Store) {
    let left = |store: &mut dyn Store| -> Vec<&'static str> {
        let names = ["d1", "d2", "d3", "d4", "d5"];
        let there = |name: &&str| delivery(store, name).is_some();
        names.into_iter().filter(there).collect()
    };
    let one = row(1, "a", Some("p"));
    put(
        store,
        vec![open("a"), accept(one.clone()), complete(&one, 50, 1)],
    );
    for (name, at) in ["d1", "d2", "d3", "d4", "d5"].into_iter().zip(1..) {
        put(store, vec![deliver("p", vec![key(1, 1)], Some((name, at)))]);
    }
    assert_eq!(prune(store, keep(1, 100, 100)), 0);
    assert_eq!(left(store), ["d1", "d2", "d3", "d4", "d5"]);
    assert_eq!(prune(store, keep(3, 100, 100)), 0);
    assert_eq!(left(store), ["d3", "d4", "d5"]);
    assert_eq!(prune(store, keep(3, 2, 100)), 0);
    assert_eq!(left(store), ["d4", "d5"]);
    assert_eq!(store.inbox(&sid("p"), None, 10).unwrap()[0].attempt, 5);
    assert_eq!(prune(store, keep(60, 100, 100)), 0);
    assert_eq!(left(store), [""; 0]);
}

pub(super) fn events_of_dead_letters_go_up_to_where_events_were_pruned(store: &mut dyn Store) {
    put(store, ["a", "p"].map(open).into());
    let rows = [
        row(1, "a", Some("p")),
        row(2, "a", None),
        row(3, "a", Some("p")),
        row(4, "a", None),
    ];
    put(store, rows.iter().cloned().map(accept).collect());
    put(
        store,
        vec![
            complete(&rows[0], 50, 1),
            bury(entry(&rows[0], 50, 1), "p", 2),
            complete(&rows[1], 60, 3),
            complete(&rows[2], 70, 4),
            bury(entry(&rows[2], 70, 4), "p", 5),
            complete(&rows[3], 80, 6),
        ],
    );
    assert_eq!(prune(store, keep(61, 100, 100)), 1);
    assert_eq!(told(store, None, None, 100), [1, 4, 5, 6]);
    assert_eq!(store.pruned_to().unwrap(), Some(event(3)));
    assert_eq!(dead(store).len(), 2);
    put(
        store,
        vec![Write::Forget(rid("r1")), Write::Forget(rid("r3"))],
    );
    assert_eq!(prune(store, keep(100, 100, 100)), 3);
    assert_eq!(told(store, None, None, 100), [0; 0]);
    assert_eq!(store.snapshot().unwrap().last_event, Some(event(6)));
}

pub(super) fn a_purge_leaves_no_trace_and_nothing_else_is_lost(store: &mut dyn Store) {
    // `c` is purged. It reports to `p`, `d` reports to `c` and to `p`.
    let rows = [
        row(1, "c", Some("p")),
        row(2, "d", Some("c")),
        row(3, "d", Some("p")),
        row(4, "d", Some("c")),
        row(5, "c", Some("p")),
        row(6, "c", Some("p")),
        row(7, "d", Some("c")),
    ];
    put(store, ["c", "d", "p"].map(open).into());
    put(store, rows.iter().cloned().map(accept).collect());
    for (index, number) in [(0, 1), (1, 2), (2, 3), (4, 4), (5, 5), (6, 6)] {
        put(store, vec![complete(&rows[index], 50, number)]);
    }
    // One of its runs became a dead letter, and was forgotten then.
    put(
        store,
        vec![
            bury(entry(&rows[5], 50, 5), "p", 7),
            Write::Forget(rid("r6")),
            bury(entry(&rows[4], 50, 4), "p", 8),
            deliver("c", vec![key(2, 2), key(6, 7)], Some(("d1", 50))),
            deliver("p", vec![key(1, 1), key(3, 3)], Some(("d2", 50))),
            Write::Settle(sid("p"), vec![key(3, 3)]),
        ],
    );
    for (run, session) in [("w1", "c"), ("w2", "d")] {
        let wake = wakes::scheduled(run, session);
        put(store, vec![Write::Schedule(Box::new(wake))]);
    }
    let heirs = [(1, 2, 9), (6, 6, 10)];
    let mut writes: Vec<_> = heirs
        .iter()
        .map(|(index, no, number)| bury(entry(&rows[*index], 50, *no), "c", *number))
        .collect();
    writes.push(Write::Purge(sid("c")));
    put(store, writes);

    assert_eq!(store.session(&sid("c")).unwrap(), None);
    assert_eq!(stored(store), [2, 3, 4, 7]);
    assert_eq!(told(store, None, None, 100), [2, 3, 6, 9, 10]);
    assert_eq!(told(store, None, Some(&["c"]), 100), [9, 10]);
    assert_eq!(owed(store, "c"), [""; 0]);
    let letters = [("r2", "c"), ("r7", "c")].map(|(run, of)| (run.into(), of.into()));
    assert_eq!(dead(store), letters);
    assert_eq!(store.pruned_to().unwrap(), None);
    // What was handed out of its inbox and is a dead letter now is gone, and not unknown.
    let (_, runs) = delivery(store, "d1").unwrap();
    assert!(runs.len() == 2 && !runs.iter().any(|run| run.settled));
    let (_, runs) = delivery(store, "d2").unwrap();
    let settled: Vec<_> = runs
        .iter()
        .map(|run| (run.run.as_str(), run.settled))
        .collect();
    assert_eq!(settled, [("r1", false), ("r3", true)]);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.inboxes, []);
    assert_eq!(snapshot.runs, [rows[3].clone()]);
    assert_eq!(snapshot.scheduled, [wakes::scheduled("w2", "d")]);
    assert_eq!(
        (snapshot.last_seq, snapshot.last_event),
        (Some(seq(7)), Some(event(10)))
    );
    // Its ids are free again, and purging what is not there changes nothing.
    put(store, vec![Write::Purge(sid("c")), open("c")]);
    let again = RunRow {
        id: rid("r1"),
        ..row(8, "c", None)
    };
    put(store, vec![accept(again.clone()), complete(&again, 70, 11)]);
    assert_eq!(store.run(&rid("r1")).unwrap().unwrap().row.seq, seq(8));
    // Another run of that name is not what was delivered.
    let (_, runs) = delivery(store, "d2").unwrap();
    assert!(!runs[0].settled);
    nothing_of_it_is_dead(store);
}

/// A delivery of which nothing is a dead letter goes with its inbox.
fn nothing_of_it_is_dead(store: &mut dyn Store) {
    put(store, vec![Write::Purge(sid("p"))]);
    assert_eq!(delivery(store, "d2"), None);
}

pub(super) fn what_comes_for_a_purged_session_is_a_dead_letter_until_it_is_there_again(
    store: &mut dyn Store,
) {
    let rows: Vec<_> = (1..=4).map(|number| row(number, "c", Some("p"))).collect();
    put(store, ["c", "p"].map(open).into());
    put(store, rows.iter().cloned().map(accept).collect());
    put(store, vec![complete(&rows[0], 50, 1)]);
    assert_eq!(owed(store, "p"), ["r1"]);
    assert_eq!(dead(store), []);

    put(
        store,
        vec![bury(entry(&rows[0], 50, 1), "p", 2), Write::Purge(sid("p"))],
    );
    put(
        store,
        vec![
            complete_for(&rows[2], 70, 3, Destination::DeadLetter),
            bury(entry(&rows[2], 70, 3), "p", 4),
        ],
    );
    let snapshot = store.snapshot().unwrap();
    assert_eq!(
        (snapshot.purged, snapshot.inboxes),
        (vec![sid("p")], vec![])
    );
    let letters = [("r1", "p"), ("r3", "p")].map(|(run, of)| (run.into(), of.into()));
    assert_eq!(dead(store), letters);
    assert_eq!(owed(store, "p"), [""; 0]);
    assert_eq!(prune(store, keep(i64::MAX, 0, 100)), 0);

    put(store, vec![open("p"), complete(&rows[1], 80, 5)]);
    let snapshot = store.snapshot().unwrap();
    let entries = vec![entry(&rows[1], 80, 5)];
    assert_eq!(
        (snapshot.purged, snapshot.inboxes),
        (vec![], vec![(sid("p"), entries)])
    );
    assert_eq!(dead(store), letters);

    // A purged child's completions vanish from there too; its end and its parent are of no matter.
    put(store, vec![complete(&rows[3], 90, 6)]);
    put(store, vec![Write::Purge(sid("c"))]);
    assert_eq!(dead(store), []);
    assert_eq!(owed(store, "p"), [""; 0]);
    assert_eq!(told(store, None, None, 100), [0; 0]);
    assert_eq!(store.snapshot().unwrap().purged, [sid("c")]);
}
