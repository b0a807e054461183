//! What inboxes hold, and what was handed out of them.

use super::*;

/// Runs `1..=n` of session `a` for `p`, run i ended at time 10 × i as event i.
fn owing(store: &mut dyn Store, n: u64) -> Vec<RunRow> {
    put(store, ["a", "p"].map(open).into());
    let rows: Vec<_> = (1..=n).map(|number| row(number, "a", Some("p"))).collect();
    for (row, number) in rows.iter().zip(1..) {
        let at = i64::try_from(number).unwrap() * 10;
        put(store, vec![accept(row.clone()), complete(row, at, number)]);
    }
    rows
}

fn entries(store: &mut dyn Store, session: &str) -> Vec<InboxEntry> {
    let snapshot = store.snapshot().unwrap();
    let found = snapshot
        .inboxes
        .into_iter()
        .find(|(id, _)| id.as_str() == session);
    let entries = found.map_or(Vec::new(), |(_, entries)| entries);
    assert_eq!(store.inbox(&sid(session), None, 1_000).unwrap(), entries);
    entries
}

pub(super) fn entries_come_back_whole_and_in_order(store: &mut dyn Store) {
    put(store, ["a", "b", "p", "q"].map(open).into());
    let rows = [
        row(1, "a", Some("p")),
        row(2, "b", Some("p")),
        row(3, "a", Some("q")),
        row(4, "b", Some("p")),
    ];
    put(store, rows.iter().cloned().map(accept).collect());
    let full = InboxEntry {
        attempt: u32::MAX,
        failures: u32::MAX,
        weight: u32::MAX,
        ended_at: Wall(i64::MIN),
        replaced: Replaced {
            runs: (0..100).map(|n| rid(&format!("ü \" {n}"))).collect(),
            count: u64::MAX,
        },
        ..entry(&rows[1], 0, 12)
    };
    let destination = Destination::Inbox(Box::new(full.clone()), Vec::new());
    put(
        store,
        vec![
            complete(&rows[3], 50, 2),
            complete(&rows[2], 40, 3),
            complete(&rows[0], 30, 9),
            complete_for(&rows[1], 20, 12, destination),
        ],
    );
    let of_p = vec![entry(&rows[3], 50, 2), entry(&rows[0], 30, 9), full];
    assert_eq!(entries(store, "p"), of_p);
    assert_eq!(entries(store, "q"), [entry(&rows[2], 40, 3)]);
    assert_eq!(store.inbox(&sid("p"), None, 2).unwrap(), of_p[..2]);
    assert_eq!(store.inbox(&sid("p"), None, 0).unwrap(), []);
    let first = Some(of_p[0].no);
    assert_eq!(store.inbox(&sid("p"), first, 1).unwrap(), of_p[1..2]);
    assert_eq!(store.inbox(&sid("p"), first, 9).unwrap(), of_p[1..]);
    let last = of_p.last().map(|entry| entry.no);
    assert_eq!(store.inbox(&sid("p"), last, 9).unwrap(), []);
    assert_eq!(store.inbox(&sid("pp"), None, 9).unwrap(), []);
    let owners = store.snapshot().unwrap().inboxes;
    assert_eq!(
        owners.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(),
        ["p", "q"]
    );
}

pub(super) fn an_entry_counts_its_offers_and_those_that_failed(store: &mut dyn Store) {
    let rows = owing(store, 3);
    let counts = |store: &mut dyn Store| -> Vec<(u32, u32)> {
        let entries = entries(store, "p");
        let counts = entries.iter().map(|entry| (entry.attempt, entry.failures));
        counts.collect()
    };
    put(
        store,
        vec![deliver("p", vec![key(1, 1), key(2, 2)], Some(("d1", 5)))],
    );
    assert_eq!(counts(store), [(1, 0), (1, 0), (0, 0)]);
    put(store, vec![Write::Fail(sid("p"), vec![event(2)])]);
    put(store, vec![deliver("p", vec![key(2, 2), key(3, 3)], None)]);
    assert_eq!(counts(store), [(1, 0), (2, 1), (1, 0)]);
    put(store, vec![Write::Fail(sid("p"), vec![event(1), event(2)])]);
    assert_eq!(counts(store), [(1, 1), (2, 2), (1, 0)]);
    assert_eq!(
        entries(store, "p")[1],
        InboxEntry {
            attempt: 2,
            failures: 2,
            ..entry(&rows[1], 20, 2)
        }
    );
}

pub(super) fn what_is_settled_leaves_the_inbox_and_stays_a_run(store: &mut dyn Store) {
    owing(store, 3);
    put(
        store,
        vec![Write::Settle(sid("p"), vec![key(1, 1), key(3, 3)])],
    );
    assert_eq!(owed(store, "p"), ["r2"]);
    assert_eq!(stored(store), [1, 2, 3]);
    assert_eq!(told(store, None, None, 10), [1, 2, 3]);
    assert_eq!(prune(store, keep(1_000, 100, 100)), 2);
    assert_eq!(stored(store), [2]);
    put(store, vec![Write::Settle(sid("p"), vec![key(2, 2)])]);
    assert_eq!(store.snapshot().unwrap().inboxes, []);
    assert_eq!(prune(store, keep(1_000, 100, 100)), 1);
}

pub(super) fn a_newer_completion_takes_the_place_of_older_ones(store: &mut dyn Store) {
    owing(store, 3);
    let newest = row(4, "a", Some("p"));
    let mut latest = entry(&newest, 40, 4);
    latest.replaced.absorb(Replaced::default(), rid("r1"));
    latest.replaced.absorb(Replaced::default(), rid("r3"));
    let replaced = vec![key(1, 1), key(3, 3)];
    let destination = Destination::Inbox(Box::new(latest.clone()), replaced);
    put(
        store,
        vec![
            accept(newest.clone()),
            deliver("p", vec![key(1, 1)], Some(("d1", 5))),
            complete_for(&newest, 40, 4, destination),
        ],
    );
    let left = entries(store, "p");
    assert_eq!(
        (left[0].run.as_str(), &left[1], left.len()),
        ("r2", &latest, 2)
    );
    // Nothing holds them, and nobody waits for them.
    let (_, runs) = delivery(store, "d1").unwrap();
    assert!(runs[0].settled);
    assert_eq!(prune(store, keep(1_000, 100, 100)), 2);
    assert_eq!(stored(store), [2, 4]);
}

pub(super) fn a_delivery_is_still_of_what_no_later_one_handed_out(store: &mut dyn Store) {
    owing(store, 4);
    let still = |store: &mut dyn Store, id: &str| -> Option<Vec<String>> {
        let (session, runs) = store.still_delivered(&id.into()).unwrap()?;
        assert_eq!(session, sid("p"));
        Some(runs.iter().map(|one| one.run.to_string()).collect())
    };
    let all = vec![key(1, 1), key(2, 2), key(3, 3)];
    put(store, vec![deliver("p", all, Some(("d1", 5)))]);
    assert_eq!(still(store, "d1").unwrap(), ["r1", "r2", "r3"]);
    put(
        store,
        vec![
            deliver("p", vec![key(2, 2), key(4, 4)], Some(("d2", 6))),
            Write::Settle(sid("p"), vec![key(3, 3)]),
        ],
    );
    assert_eq!(still(store, "d1").unwrap(), ["r1", "r3"]);
    assert_eq!(still(store, "d2").unwrap(), ["r2", "r4"]);
    assert_eq!(still(store, "d3"), None);
    put(store, vec![deliver("p", vec![key(2, 2)], Some(("d0", 7)))]);
    assert_eq!(still(store, "d2").unwrap(), ["r4"]);
}

pub(super) fn a_delivery_tells_what_has_been_settled_of_it(store: &mut dyn Store) {
    let rows = owing(store, 5);
    let named = vec![key(4, 4), key(1, 1), key(2, 2), key(3, 3)];
    put(store, vec![deliver("p", named.clone(), Some(("d1", 5)))]);
    put(store, vec![deliver("p", vec![key(5, 5)], None)]);
    let (session, runs) = delivery(store, "d1").unwrap();
    assert_eq!(session, sid("p"));
    let pending = named.into_iter().map(|(no, run)| DeliveredRun {
        run,
        no,
        settled: false,
    });
    assert_eq!(runs, pending.collect::<Vec<_>>());

    let settled = |store: &mut dyn Store| -> Vec<bool> {
        let (_, runs) = delivery(store, "d1").unwrap();
        runs.iter().map(|run| run.settled).collect()
    };
    put(
        store,
        vec![Write::Settle(sid("p"), vec![key(1, 1), key(4, 4)])],
    );
    assert_eq!(settled(store), [true, true, false, false]);
    let (_, runs) = (store.delivery(&"d1".into(), &|session, _| *session == sid("p")))
        .unwrap()
        .unwrap();
    assert!(
        runs.iter().all(|run| !run.settled),
        "what lies there is not settled"
    );
    put(store, vec![bury(entry(&rows[1], 20, 2), "p", 6)]);
    assert_eq!(settled(store), [true, true, false, false]);
    let back = entry(&rows[1], 20, 2);
    put(store, vec![Write::Revive(rid("r2"), sid("q"), back)]);
    assert_eq!(settled(store), [true, true, false, false]);
    put(store, vec![Write::Settle(sid("q"), vec![key(2, 2)])]);
    assert_eq!(settled(store), [true, true, true, false]);
    // What was pruned is not known any more: only what is held stays.
    assert_eq!(prune(store, keep(0, 0, 100)), 3);
    put(store, vec![Write::Purge(sid("a"))]);
    assert_eq!(delivery(store, "d1"), None);
}
