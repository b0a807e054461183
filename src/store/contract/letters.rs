//! Dead letters: what nobody took.

use super::*;

/// Runs `1..=n` of session `a` for `p`, run i ended at time 10 × i as event i.
fn owing(store: &mut dyn Store, n: u64) -> Vec<RunRow> {
    put(store, ["a", "p", "q"].map(open).into());
    let rows: Vec<_> = (1..=n).map(|number| row(number, "a", Some("p"))).collect();
    for (row, number) in rows.iter().zip(1..) {
        let at = i64::try_from(number).unwrap() * 10;
        put(store, vec![accept(row.clone()), complete(row, at, number)]);
    }
    rows
}

fn letter(entry: InboxEntry, parent: &str, why: DeadWhy) -> DeadLetter {
    let parent = sid(parent);
    let at = Wall(70);
    DeadLetter {
        parent,
        entry,
        why,
        at,
    }
}

pub(super) fn a_dead_letter_comes_back_whole_in_order_and_by_parent(store: &mut dyn Store) {
    let rows = owing(store, 4);
    let offered = InboxEntry {
        attempt: 7,
        failures: 5,
        weight: 9,
        replaced: Replaced {
            runs: vec![rid("r0")],
            count: 3,
        },
        ..entry(&rows[2], 30, 3)
    };
    // One was never in that inbox.
    let letters = [
        letter(entry(&rows[0], 10, 1), "p", DeadWhy::MaxAttempts),
        letter(entry(&rows[1], 20, 2), "q", DeadWhy::ParentPurged),
        letter(offered, "p", DeadWhy::ParentAbsent),
    ];
    for (index, number) in [(2, 5), (0, 6), (1, 7)] {
        let letter = Arc::new(letters[index].clone());
        put(store, vec![Write::Bury(letter, event(number))]);
    }
    let mut shown = |parent: Option<&str>, after: Option<u64>, limit| {
        let parent = parent.map(sid);
        let after = after.map(event);
        store.dead_letters(parent.as_ref(), after, limit).unwrap()
    };
    assert_eq!(shown(None, None, 10), letters);
    assert_eq!(shown(None, Some(1), 1), letters[1..2]);
    assert_eq!(shown(None, Some(3), 10), []);
    assert_eq!(
        shown(Some("p"), None, 10),
        [letters[0].clone(), letters[2].clone()]
    );
    assert_eq!(shown(Some("p"), Some(1), 10), letters[2..]);
    assert_eq!(shown(Some("p"), None, 0), []);
    assert_eq!(shown(Some("nobody"), None, 10), []);
    let found = store.dead_letter(&rid("r3")).unwrap();
    assert_eq!(found.as_ref(), Some(&letters[2]));
    assert_eq!(store.dead_letter(&rid("r4")).unwrap(), None);
    assert_eq!(owed(store, "p"), ["r2", "r4"]);
}

pub(super) fn a_dead_letter_goes_back_into_an_inbox(store: &mut dyn Store) {
    let rows = owing(store, 3);
    let writes = (0..3).map(|index: usize| {
        let number = index as u64 + 1;
        let at = i64::try_from(number).unwrap() * 10;
        bury(entry(&rows[index], at, number), "p", number + 3)
    });
    put(store, writes.collect());
    assert_eq!(owed(store, "p"), [""; 0]);
    let again = entry(&rows[1], 20, 2);
    let elsewhere = InboxEntry {
        attempt: 4,
        ..entry(&rows[0], 10, 1)
    };
    put(
        store,
        vec![
            Write::Revive(rid("r2"), sid("p"), again.clone()),
            Write::Revive(rid("r1"), sid("q"), elsewhere.clone()),
        ],
    );
    assert_eq!(
        store.snapshot().unwrap().inboxes,
        [(sid("p"), vec![again]), (sid("q"), vec![elsewhere])]
    );
    assert_eq!(dead(store), [("r3".to_owned(), "p".to_owned())]);
    assert_eq!(store.dead_letter(&rid("r1")).unwrap(), None);
    // The run notifies whom it was given to.
    let moved = found(store, 1).unwrap();
    assert_eq!(moved.row.notify, Some(sid("q")));
    assert_eq!(moved.completion.unwrap().notify, Some(sid("q")));
    let of_q = RunFilter {
        notify: Some(sid("q")),
        limit: 10,
        ..RunFilter::default()
    };
    assert_eq!(listed(store, &of_q), [1]);
    // It can die there again, and go when its child does.
    assert_eq!(prune(store, keep(1_000, 0, 100)), 0);
    let offered = entry(&rows[0], 10, 1);
    put(store, vec![bury(offered, "q", 7)]);
    assert_eq!(dead(store).len(), 2);
    put(store, vec![Write::Purge(sid("a"))]);
    assert_eq!(dead(store), []);
    assert_eq!(store.snapshot().unwrap().inboxes, []);
}

pub(super) fn a_dead_letter_that_is_forgotten_lets_its_run_go(store: &mut dyn Store) {
    let rows = owing(store, 2);
    put(store, vec![bury(entry(&rows[0], 10, 1), "p", 3)]);
    assert_eq!(prune(store, keep(1_000, 0, 100)), 0);
    put(store, vec![Write::Forget(rid("r1"))]);
    assert_eq!(dead(store), []);
    assert_eq!(stored(store), [1, 2]);
    assert_eq!(told(store, None, None, 10), [1, 2, 3]);
    assert_eq!(prune(store, keep(1_000, 0, 100)), 1);
    assert_eq!(stored(store), [2]);
}

pub(super) fn the_events_of_dead_letters_stand_in_the_log_of_their_parent(store: &mut dyn Store) {
    let rows = owing(store, 3);
    let whys = [
        DeadWhy::MaxAttempts,
        DeadWhy::ParentAbsent,
        DeadWhy::ParentPurged,
    ];
    for (index, number) in [(0, 4), (1, 5), (2, 6)] {
        let no = index as u64 + 1;
        let entry = entry(&rows[index], 10, no);
        let letter = letter(entry, "p", whys[index]);
        put(store, vec![Write::Bury(Arc::new(letter), event(number))]);
    }
    put(store, vec![Write::Forget(rid("r1"))]);
    assert_eq!(told(store, None, None, 4), [1, 2, 3, 4]);
    assert_eq!(told(store, Some(4), None, 100), [5, 6]);
    assert_eq!(told(store, None, Some(&["a"]), 100), [1, 2, 3]);
    assert_eq!(
        told(store, None, Some(&["p", "a"]), 100),
        [1, 2, 3, 4, 5, 6]
    );
    let events = store.events(None, Some(&[sid("p")]), 100).unwrap();
    let expected = [("r1", 4), ("r2", 5), ("r3", 6)].into_iter().zip(whys);
    let expected = expected.map(|((run, number), why)| StoredEvent {
        no: event(number),
        what: Announced::DeadLetter {
            run: rid(run),
            parent: sid("p"),
            why,
        },
    });
    assert_eq!(events, expected.collect::<Vec<_>>());
    assert_eq!(store.snapshot().unwrap().last_event, Some(event(6)));
}
