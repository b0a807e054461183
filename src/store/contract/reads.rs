//! What a store shows, in which order, by the page.

use super::*;

pub(super) fn what_is_applied_is_seen_before_and_after_the_commit(store: &mut dyn Store) {
    let one = row(1, "a", Some("p"));
    store.apply(vec![open("a"), accept(one.clone())]).unwrap();
    store.apply(vec![complete(&one, 5, 1)]).unwrap();
    for _ in 0..2 {
        assert_eq!(stored(store), [1]);
        assert!(found(store, 1).unwrap().completion.is_some());
        assert_eq!(told(store, None, None, 10), [1]);
        assert_eq!(owed(store, "p"), ["r1"]);
        assert!(store.session(&sid("a")).unwrap().is_some());
        store.commit().unwrap();
    }
}

pub(super) fn a_snapshot_holds_what_is_live_in_order(store: &mut dyn Store) {
    let names = ["b", "a", "b", "c"];
    let mut writes: Vec<_> = ["a", "b", "c", "p"].map(open).into();
    let rows: Vec<_> = (1..)
        .zip(names)
        .map(|(n, name)| row(n, name, Some("p")))
        .collect();
    writes.extend(rows.iter().cloned().map(accept));
    writes.push(Write::Start(seq(3), Wall(9)));
    writes.push(complete(&rows[0], 8, 1));
    writes.push(complete(&rows[3], 9, 2));
    put(store, writes);

    let snapshot = store.snapshot().unwrap();
    let mut started = rows[2].clone();
    started.started_at = Some(Wall(9));
    assert_eq!(snapshot.runs, [rows[1].clone(), started]);
    assert_eq!(
        snapshot.sessions,
        ["a", "b", "p"].map(|id| (session(id), None))
    );
    let entries = vec![entry(&rows[0], 8, 1), entry(&rows[3], 9, 2)];
    assert_eq!(snapshot.inboxes, [(sid("p"), entries)]);
    assert_eq!(snapshot.last_seq, Some(seq(4)));
    assert_eq!(snapshot.last_event, Some(event(2)));
}

pub(super) fn runs_are_listed_newest_first_by_filter_and_page(store: &mut dyn Store) {
    put(store, ["even", "odd"].map(open).into());
    for number in 1..=8 {
        let name = if number % 2 == 0 { "even" } else { "odd" };
        let row = row(number, name, (number > 4).then_some("p"));
        put(store, vec![accept(row.clone())]);
        if number % 3 == 0 {
            put(store, vec![complete(&row, 50, number)]);
        }
    }
    type Case = (
        Option<&'static str>,
        Option<&'static str>,
        Option<bool>,
        Option<u64>,
        usize,
        &'static [u64],
    );
    // Session, notify, ended, before, limit; what is shown.
    let cases: [Case; 15] = [
        (None, None, None, None, 100, &[8, 7, 6, 5, 4, 3, 2, 1]),
        (None, None, None, None, 2, &[8, 7]),
        (None, None, None, None, 0, &[]),
        (None, None, None, Some(7), 2, &[6, 5]),
        (None, None, None, Some(1), 100, &[]),
        (None, None, Some(true), None, 100, &[6, 3]),
        (None, None, Some(true), Some(6), 100, &[3]),
        (None, None, Some(false), None, 100, &[8, 7, 5, 4, 2, 1]),
        (None, Some("p"), None, None, 100, &[8, 7, 6, 5]),
        (None, Some("p"), Some(false), None, 1, &[8]),
        (Some("even"), None, None, None, 100, &[8, 6, 4, 2]),
        (Some("even"), None, Some(true), None, 100, &[6]),
        (Some("even"), None, Some(false), Some(8), 100, &[4, 2]),
        (Some("even"), Some("p"), None, None, 100, &[8, 6]),
        (Some("nobody"), None, None, None, 100, &[]),
    ];
    for (session, notify, ended, before, limit, expected) in cases {
        let filter = RunFilter {
            session: session.map(sid),
            notify: notify.map(sid),
            ended,
            before: before.map(seq),
            limit,
        };
        assert_eq!(listed(store, &filter), expected, "{filter:?}");
    }
}

pub(super) fn sessions_are_listed_by_id_and_page(store: &mut dyn Store) {
    put(store, ["é", "a", "Z", "b"].map(open).into());
    let mut page = |after: Option<&str>, limit| -> Vec<String> {
        let after = after.map(sid);
        let sessions = store.sessions(after.as_ref(), limit).unwrap();
        sessions
            .iter()
            .map(|session| session.id.to_string())
            .collect()
    };
    assert_eq!(page(None, 100), ["Z", "a", "b", "é"]);
    assert_eq!(page(None, 2), ["Z", "a"]);
    assert_eq!(page(Some("a"), 100), ["b", "é"]);
    assert_eq!(page(Some("aa"), 1), ["b"]);
    assert_eq!(page(Some("é"), 100), [""; 0]);
}

pub(super) fn ancestors_are_the_parents_nearest_first_and_a_circle_ends(store: &mut dyn Store) {
    let child = |id: &str, parent: &str| {
        Write::Session(Box::new(Session {
            parent: Some(sid(parent)),
            ..session(id)
        }))
    };
    put(
        store,
        vec![child("c", "b"), child("b", "a"), child("a", "not stored")],
    );
    put(
        store,
        vec![child("x", "y"), child("y", "x"), child("i", "i")],
    );
    assert_eq!(
        store.ancestors(&sid("c")).unwrap(),
        ["b", "a", "not stored"].map(sid)
    );
    assert_eq!(store.ancestors(&sid("nobody")).unwrap(), []);
    let circle: BTreeSet<_> = store.ancestors(&sid("x")).unwrap().into_iter().collect();
    assert!(
        circle.contains(&sid("y")) && circle.len() <= 2,
        "{circle:?}"
    );
    assert!(store.ancestors(&sid("i")).unwrap().len() <= 1);
}

pub(super) fn who_is_named_is_in_the_snapshot_if_it_is_there(store: &mut dyn Store) {
    let names = ["busy", "ended", "expecting", "holding", "waking", "idle"];
    put(store, names.map(open).into());
    let rows = [
        row(1, "busy", Some("expecting")),
        row(2, "busy", Some("not there")),
        row(3, "ended", Some("holding")),
        row(4, "ended", Some("nor there")),
    ];
    put(store, rows.iter().cloned().map(accept).collect());
    let wake = wakes::scheduled("w1", "waking");
    put(
        store,
        vec![
            complete(&rows[2], 5, 1),
            complete(&rows[3], 5, 2),
            Write::Schedule(Box::new(wake)),
        ],
    );
    let snapshot = store.snapshot().unwrap();
    let there = snapshot
        .sessions
        .iter()
        .map(|(session, _)| session.id.as_str());
    assert_eq!(
        there.collect::<Vec<_>>(),
        ["busy", "expecting", "holding", "waking"]
    );
    let inboxes = snapshot.inboxes.iter().map(|(owner, _)| owner.as_str());
    assert_eq!(inboxes.collect::<Vec<_>>(), ["holding", "nor there"]);
}

pub(super) fn events_come_in_order_by_session_and_page(store: &mut dyn Store) {
    put(store, ["a", "b", "c"].map(open).into());
    let names = ["a", "b", "c", "a", "b", "c", "a"];
    let rows: Vec<_> = (1..)
        .zip(names)
        .map(|(n, name)| row(n, name, None))
        .collect();
    put(store, rows.iter().cloned().map(accept).collect());
    let events = rows.iter().rev().zip(1..);
    put(
        store,
        events.map(|(row, no)| complete(row, 50, no)).collect(),
    );

    assert_eq!(told(store, None, None, 100), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(told(store, Some(2), None, 3), [3, 4, 5]);
    assert_eq!(told(store, Some(7), None, 3), [0; 0]);
    assert_eq!(told(store, None, Some(&["a"]), 100), [1, 4, 7]);
    assert_eq!(told(store, Some(1), Some(&["c", "a", "c"]), 3), [2, 4, 5]);
    assert_eq!(told(store, None, Some(&["nobody"]), 100), [0; 0]);
    assert_eq!(told(store, None, Some(&[]), 100), [0; 0]);
    let first = store.events(None, None, 1).unwrap();
    let expected = StoredEvent {
        no: event(1),
        what: Announced::Completed(Arc::new(completion(&rows[6], 50))),
    };
    assert_eq!(first, [expected]);
}
