//! What is written comes back as it was.

use super::*;

pub(super) fn a_session_comes_back_as_it_was_and_is_replaced_whole(store: &mut dyn Store) {
    let plain = session("a");
    let mut mark = CancelMark::default();
    mark.raise(seq(7));
    let full = Session {
        agent: AgentRef::Inline(r#"{"kind":"command"}"#.into()),
        cwd: "/über \"quoted\"".into(),
        env_names: vec!["B".into(), "A \u{2028}".into(), "".into()],
        parent: Some(sid("p")),
        title: Some("a\u{0}b".into()),
        timeout_ms: Some(u64::MAX),
        permissions: Some(PermissionPolicy::Deny),
        keep: Keep::LatestPerChild,
        wake: Some(WakePolicy {
            on_completion: OnCompletion::LastChild,
            prompt: Some("make \"it\"\u{0}\n".into()),
            max_consecutive: u32::MAX,
            min_interval_ms: u64::MAX,
            text_bytes: 0,
        }),
        heartbeat: Some(Heartbeat {
            every_ms: u64::MAX,
            prompt: None,
            only_if_pending: true,
        }),
        wake_streak: u32::MAX,
        hushed: true,
        conversation: Some(Conversation {
            id: "of the \u{1f980} agent".into(),
            begun: Begun::Loaded,
            lost: Some("it was gone".into()),
        }),
        closed: true,
        mark,
        created_at: Wall(-5),
        ..plain.clone()
    };
    for permissions in [PermissionPolicy::Ask, PermissionPolicy::Allow] {
        let asked = Session {
            permissions: Some(permissions),
            ..plain.clone()
        };
        for session in [&plain, &full, &asked] {
            put(store, vec![Write::Session(Box::new(session.clone()))]);
            assert_eq!(store.session(&session.id).unwrap().as_ref(), Some(session));
        }
    }
    for on_completion in [OnCompletion::Hold, OnCompletion::Wake] {
        let woken = Session {
            wake: Some(WakePolicy {
                on_completion,
                ..WakePolicy::default()
            }),
            heartbeat: Some(Heartbeat {
                every_ms: 1_000,
                prompt: Some("look".into()),
                only_if_pending: false,
            }),
            ..plain.clone()
        };
        put(store, vec![Write::Session(Box::new(woken.clone()))]);
        assert_eq!(store.session(&sid("a")).unwrap(), Some(woken));
    }
    put(store, vec![open("a"), Write::Mark(sid("a"), mark)]);
    let marked = Session { mark, ..plain };
    assert_eq!(store.session(&sid("a")).unwrap(), Some(marked));
}

pub(super) fn an_accepted_run_comes_back_as_it_was(store: &mut dyn Store) {
    put(store, vec![open("a")]);
    let full = RunRow {
        id: rid("with everything: ü"),
        place: -3,
        timeout_ms: Some(u64::MAX),
        queue_timeout_ms: Some(0),
        permissions: Some(PermissionPolicy::Allow),
        traceparent: Some("00-1-2-01".into()),
        accepted_at: Wall(i64::MAX),
        started_at: Some(Wall(0)),
        stop: Some(Stop::TimedOut),
        into: Some(seq(1)),
        ..row(2, "a", Some("b"))
    };
    let prompts = [
        Prompt::Text("a\u{0}\u{2028}\r\n".into()),
        Prompt::Blocks(format!(r#"[{{"text":"{}"}}]"#, "x".repeat(1 << 20)).into()),
    ];
    for (row, prompt) in [row(1, "a", None), full].into_iter().zip(prompts) {
        let accepted = AcceptedRun {
            row: row.clone(),
            prompt: prompt.clone(),
        };
        put(store, vec![Write::Accept(Box::new(accepted))]);
        assert_eq!(store.prompt(row.seq).unwrap(), prompt);
        let expected = StoredRun {
            row: row.clone(),
            prompt,
            completion: None,
        };
        assert_eq!(store.run(&row.id).unwrap(), Some(expected));
    }
}

pub(super) fn start_stop_and_requeue_change_nothing_else(store: &mut dyn Store) {
    put(store, ["a", "b"].map(open).into());
    let host = row(1, "a", Some("p"));
    let steered = RunRow {
        into: Some(seq(1)),
        started_at: Some(Wall(70)),
        ..row(2, "a", None)
    };
    put(store, vec![accept(host.clone()), accept(steered.clone())]);
    let writes = vec![
        Write::Start(seq(1), Wall(77)),
        Write::Requeue(seq(2), -9),
        Write::Stop(seq(1), Stop::Cancel(Reason::Client)),
    ];
    put(store, writes);
    let host = RunRow {
        started_at: Some(Wall(77)),
        stop: Some(Stop::Cancel(Reason::Client)),
        ..host
    };
    let steered = RunRow {
        place: -9,
        into: None,
        started_at: None,
        ..steered
    };
    assert_eq!(found(store, 1).unwrap().row, host);
    assert_eq!(found(store, 2).unwrap().row, steered);

    let stops = [Stop::TimedOut, Stop::StartTimedOut];
    let reasons = reasons().map(Stop::Cancel);
    for (number, stop) in (3..).zip(stops.into_iter().chain(reasons)) {
        put(
            store,
            vec![
                accept(row(number, "b", None)),
                Write::Stop(seq(number), stop),
            ],
        );
        assert_eq!(found(store, number).unwrap().row.stop, Some(stop));
    }
}

pub(super) fn a_steered_run_that_goes_to_the_queue_has_not_started(store: &mut dyn Store) {
    put(store, vec![open("a")]);
    let host = RunRow {
        started_at: Some(Wall(5)),
        ..row(1, "a", None)
    };
    let steered = RunRow {
        started_at: Some(Wall(6)),
        into: Some(seq(1)),
        ..row(2, "a", None)
    };
    put(store, vec![accept(host.clone()), accept(steered.clone())]);
    put(store, vec![Write::Requeue(seq(2), -9)]);
    let queued = RunRow {
        place: -9,
        started_at: None,
        into: None,
        ..steered
    };
    assert_eq!(store.snapshot().unwrap().runs, [host, queued]);
}

fn reasons() -> [Reason; 9] {
    [
        Reason::Client,
        Reason::Superseded,
        Reason::Shutdown,
        Reason::SessionClosed,
        Reason::Recover,
        Reason::Stalled,
        Reason::Agent,
        Reason::Wake,
        Reason::NothingPending,
    ]
}

/// Completions in which every word of every enum and every field occurs.
fn completions() -> Vec<Completion> {
    let plain = completion(&row(1, "a", None), 50);
    let outcomes = [
        Outcome::Completed,
        Outcome::Failed,
        Outcome::Cancelled,
        Outcome::TimedOut,
        Outcome::Exited,
        Outcome::Interrupted,
        Outcome::Folded,
    ];
    let errors = [
        FailKind::Agent,
        FailKind::Refused,
        FailKind::Limit,
        FailKind::Start,
        FailKind::IncompleteInput,
        FailKind::ExitStatus,
    ];
    let mut all = Vec::new();
    for outcome in outcomes {
        all.push(Completion {
            outcome,
            ..plain.clone()
        });
    }
    for reason in reasons() {
        all.push(Completion {
            reason: Some(reason),
            ..plain.clone()
        });
    }
    for kind in errors {
        let message = Arc::from("it\u{0} broke");
        all.push(Completion {
            error: Some(Failure { kind, message }),
            ..plain.clone()
        });
    }
    all.push(Completion {
        text: "\u{1b}[0m\u{0}ü\n".repeat(4_000).into(),
        truncated: true,
        exit_code: Some(i32::MIN),
        stop_reason: Some("".into()),
        into: Some(rid("r1")),
        usage: Some(r#"{"tokens":1}"#.into()),
        started_at: Some(Wall(20)),
        ended_at: Wall(i64::MIN),
        ..plain
    });
    all
}

pub(super) fn every_completion_comes_back_as_it_was(store: &mut dyn Store) {
    put(store, vec![open("a")]);
    for (number, completion) in (1..).zip(completions()) {
        let mut begun = row(number, "a", Some("p"));
        let expected = Arc::new(Completion {
            run_id: begun.id.clone(),
            notify: begun.notify.clone(),
            seq: begun.seq,
            accepted_at: begun.accepted_at,
            ..completion
        });
        let mut writes = vec![accept(begun.clone())];
        if let Some(at) = expected.started_at {
            writes.push(Write::Start(seq(number), at));
            begun.started_at = Some(at);
        }
        let entry = Box::new(entry(&begun, 50, number));
        let destination = Destination::Inbox(entry, Vec::new());
        writes.push(Write::Complete(
            expected.clone(),
            event(number),
            destination,
        ));
        put(store, writes);
        let run = found(store, number).unwrap();
        assert_eq!(run.completion.as_ref(), Some(&*expected));
        assert_eq!(run.row, begun);
        assert_eq!(run.prompt, Prompt::Text(format!("do {number}").into()));
        let last = store.events(EventNo::new(number - 1), None, 1).unwrap();
        assert_eq!(
            (last[0].no, &last[0].what),
            (event(number), &Announced::Completed(expected))
        );
    }
}
