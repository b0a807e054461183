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
        vec![open("p"), open("q"), Write::Purge(sid("q"), Wall(60))],
    );
    assert_eq!(prune(store, keep(i64::MAX, 0, 100)), 1);
    assert_eq!(stored(store), [1, 2]);
    assert_eq!(told(store, None, None, 100), [1, 2]);
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
}

pub(super) fn a_purge_leaves_no_trace_and_nothing_else_is_lost(store: &mut dyn Store) {
    // `c` is purged. It reports to `p`, `d` reports to `c` and to `p`.
    let rows = [
        row(1, "c", Some("p")),
        row(2, "d", Some("c")),
        row(3, "d", Some("p")),
        row(4, "d", Some("c")),
        row(5, "c", Some("p")),
    ];
    put(store, ["c", "d", "p"].map(open).into());
    put(store, rows.iter().cloned().map(accept).collect());
    for (index, number) in [(0, 1), (1, 2), (2, 3), (4, 4)] {
        put(store, vec![complete(&rows[index], 50, number)]);
    }
    put(store, vec![Write::Purge(sid("c"), Wall(60))]);

    assert_eq!(store.session(&sid("c")).unwrap(), None);
    assert_eq!(stored(store), [2, 3, 4]);
    assert_eq!(told(store, None, None, 100), [2, 3]);
    assert_eq!(store.inbox_oldest(&sid("c")).unwrap(), None);
    assert_eq!(store.pruned_to().unwrap(), None);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.inboxes, [(sid("p"), 1)]);
    assert_eq!(snapshot.runs, [rows[3].clone()]);
    assert_eq!(
        (snapshot.last_seq, snapshot.last_event),
        (Some(seq(5)), Some(event(4)))
    );
    // Its ids are free again, and purging what is not there changes nothing.
    put(store, vec![Write::Purge(sid("c"), Wall(61)), open("c")]);
    put(
        store,
        vec![accept(RunRow {
            id: rid("r1"),
            ..row(6, "c", None)
        })],
    );
    assert_eq!(store.run(&rid("r1")).unwrap().unwrap().row.seq, seq(6));
}

pub(super) fn what_comes_for_a_purged_session_is_a_dead_letter_until_it_is_there_again(
    store: &mut dyn Store,
) {
    let rows: Vec<_> = (1..=4).map(|number| row(number, "c", Some("p"))).collect();
    put(store, ["c", "p"].map(open).into());
    put(store, rows.iter().cloned().map(accept).collect());
    put(store, vec![complete(&rows[0], 50, 1)]);
    assert_eq!(store.inbox(&sid("p")).unwrap(), [rid("r1")]);
    assert_eq!(store.dead_letters().unwrap(), []);

    put(store, vec![Write::Purge(sid("p"), Wall(60))]);
    put(
        store,
        vec![complete_for(&rows[2], 70, 2, Destination::DeadLetter)],
    );
    let snapshot = store.snapshot().unwrap();
    assert_eq!(
        (snapshot.purged, snapshot.inboxes),
        (vec![sid("p")], vec![])
    );
    let dead = [(rid("r1"), sid("p")), (rid("r3"), sid("p"))];
    assert_eq!(store.dead_letters().unwrap(), dead);
    assert_eq!(store.inbox(&sid("p")).unwrap(), []);
    assert_eq!(store.owed(&sid("c")).unwrap(), []);
    assert_eq!(prune(store, keep(i64::MAX, 0, 100)), 0);

    put(store, vec![open("p"), complete(&rows[1], 80, 3)]);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(
        (snapshot.purged, snapshot.inboxes),
        (vec![], vec![(sid("p"), 1)])
    );
    assert_eq!(store.inbox(&sid("p")).unwrap(), [rid("r2")]);
    assert_eq!(store.dead_letters().unwrap(), dead);

    // A purged child's completions vanish from there too; its end and its parent are of no matter.
    put(store, vec![complete(&rows[3], 90, 4)]);
    put(store, vec![Write::Purge(sid("c"), Wall(100))]);
    assert_eq!(store.dead_letters().unwrap(), []);
    assert_eq!(store.inbox(&sid("p")).unwrap(), []);
    assert_eq!(store.snapshot().unwrap().purged, [sid("c")]);
}
