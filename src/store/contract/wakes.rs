//! Wakes: what they carry, and which wait.

use super::*;

/// A wake that waits, with every field set.
pub(super) fn scheduled(run: &str, session: &str) -> ScheduledWake {
    ScheduledWake {
        run: rid(run),
        session: sid(session),
        facts: facts(),
        if_busy: WakeBusy::InterruptIfParked,
        only_if_pending: true,
        runs: vec![rid("r1"), rid("ü \"")],
        need: 2,
    }
}

fn facts() -> WakeFacts {
    WakeFacts {
        reasons: vec!["a\u{0}\"\u{2028}".into(), "b".into()],
        prompts: vec!["look".into(), "there".into()],
        key: Some("k".into()),
        beat: true,
        interrupts: true,
        runs: vec![rid("r1"), rid("r2")],
    }
}

fn wake_row(number: u64, session: &str, facts: &WakeFacts) -> RunRow {
    RunRow {
        kind: RunKind::Wake,
        wake: Some(Box::new(facts.clone())),
        ..row(number, session, None)
    }
}

pub(super) fn what_a_wake_carries_stands_in_its_run_and_its_completion(store: &mut dyn Store) {
    let plain = WakeFacts::default();
    let rows = [wake_row(1, "a", &plain), wake_row(2, "a", &facts())];
    put(store, vec![open("a")]);
    put(store, rows.iter().cloned().map(accept).collect());
    put(store, vec![accept(row(3, "a", None))]);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.runs[..2], rows);
    assert_eq!(snapshot.runs[2].wake, None);
    assert_eq!(found(store, 2).unwrap().row, rows[1]);

    // The first is joined by others, then starts.
    let carried = WakeFacts {
        runs: vec![rid("r9")],
        ..facts()
    };
    put(store, vec![Write::Woken(seq(1), Box::new(carried.clone()))]);
    put(store, vec![Write::Woken(seq(2), Box::new(plain.clone()))]);
    assert_eq!(
        store.prompt(seq(1)).unwrap(),
        Prompt::Text("look\nthere".into())
    );
    assert_eq!(store.prompt(seq(2)).unwrap(), Prompt::Text("".into()));
    let joined = wake_row(1, "a", &carried);
    assert_eq!(store.snapshot().unwrap().runs[0], joined);
    put(store, vec![complete(&joined, 50, 1)]);
    let ended = found(store, 1).unwrap();
    assert_eq!(ended.row, joined);
    assert_eq!(ended.completion, Some(completion(&joined, 50)));
    let events = store.events(None, None, 10).unwrap();
    let expected = Announced::Completed(Arc::new(completion(&joined, 50)));
    assert_eq!(events[0].what, expected);
    let everything = RunFilter {
        limit: 10,
        ..RunFilter::default()
    };
    let runs = store.runs(&everything).unwrap();
    let woken: Vec<_> = runs.iter().map(|run| run.row.wake.as_deref()).collect();
    assert_eq!(woken, [None, Some(&plain), Some(&carried)]);

    // They go with their run: the next one of that name has its own.
    assert_eq!(prune(store, keep(100, 10, 10)), 1);
    put(store, vec![Write::Purge(sid("a"))]);
    assert_eq!(stored(store), [0; 0]);
}

pub(super) fn wakes_that_wait_are_kept_until_they_do_not(store: &mut dyn Store) {
    let mut plain = ScheduledWake {
        facts: WakeFacts::default(),
        if_busy: WakeBusy::Queue,
        only_if_pending: false,
        runs: Vec::new(),
        need: 0,
        ..scheduled("w2", "b")
    };
    let full = scheduled("w1", "a");
    for wake in [&plain, &full] {
        put(store, vec![Write::Schedule(Box::new(wake.clone()))]);
    }
    let waiting = |store: &mut dyn Store| store.snapshot().unwrap().scheduled;
    assert_eq!(waiting(store), [full.clone(), plain.clone()]);
    plain.if_busy = WakeBusy::Skip;
    plain.need = usize::MAX;
    put(store, vec![Write::Schedule(Box::new(plain.clone()))]);
    assert_eq!(waiting(store), [full, plain.clone()]);
    put(store, vec![Write::Unschedule(rid("w1"))]);
    assert_eq!(waiting(store), [plain]);
    assert_eq!(stored(store), [0; 0]);
}

pub(super) fn what_an_agent_keeps_for_a_session_is_kept(store: &mut dyn Store) {
    put(store, ["a", "b"].map(open).into());
    let now = |id: &str, begun| Conversation {
        id: id.into(),
        begun,
        lost: (begun == Begun::New).then(|| "the agent forgot it".into()),
    };
    for (id, begun) in [
        ("first", Begun::New),
        ("first", Begun::Resumed),
        ("second", Begun::New),
    ] {
        let kept = now(id, begun);
        put(
            store,
            vec![Write::Conversation(sid("a"), Box::new(kept.clone()))],
        );
        let expected = Session {
            conversation: Some(kept),
            ..session("a")
        };
        assert_eq!(store.session(&sid("a")).unwrap(), Some(expected));
    }
    assert_eq!(store.session(&sid("b")).unwrap(), Some(session("b")));
}

pub(super) fn how_often_a_session_was_woken_is_kept(store: &mut dyn Store) {
    put(store, ["a", "b"].map(open).into());
    let state = |streak, hushed| Write::WakeState {
        session: sid("a"),
        streak,
        hushed,
    };
    for (wake_streak, hushed) in [(3, true), (0, false), (u32::MAX, false)] {
        put(store, vec![state(wake_streak, hushed)]);
        let expected = Session {
            wake_streak,
            hushed,
            ..session("a")
        };
        assert_eq!(store.session(&sid("a")).unwrap(), Some(expected));
    }
    assert_eq!(store.session(&sid("b")).unwrap(), Some(session("b")));
}

/// Fills every table.
pub(super) fn everything_at_once(store: &mut dyn Store) {
    let rows = [
        row(1, "a", Some("p")),
        row(2, "a", Some("p")),
        wake_row(3, "p", &facts()),
        row(4, "a", Some("q")),
        wake_row(5, "p", &facts()),
    ];
    put(store, ["a", "p", "q", "gone"].map(open).into());
    put(store, rows.iter().cloned().map(accept).collect());
    put(
        store,
        vec![
            complete(&rows[0], 10, 1),
            complete(&rows[1], 20, 2),
            complete(&rows[2], 30, 3),
            complete(&rows[3], 40, 4),
            deliver("p", vec![key(1, 1), key(2, 2)], Some(("d1", 50))),
            Write::Fail(sid("p"), vec![event(2)]),
            Write::Settle(sid("p"), vec![key(1, 1)]),
            bury(entry(&rows[3], 40, 4), "q", 5),
            Write::Schedule(Box::new(scheduled("w1", "q"))),
            Write::WakeState {
                session: sid("p"),
                streak: 2,
                hushed: true,
            },
            Write::Purge(sid("gone")),
        ],
    );
}
