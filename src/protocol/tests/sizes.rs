//! No line is longer than common readers take, whatever is in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::super::*;
use crate::domain::{
    AgentKind, AgentRef, AgentSource, CancelMark, Completion, DeadLetter, DeadWhy, EventNo,
    FailKind, Failure, Heartbeat, InboxEntry, Keep, Limits, OnCompletion, Outcome,
    PermissionPolicy, Prompt, Reason, Replaced, RunId, RunKind, RunState, Seq, Session, SessionId,
    SessionState, Skip, WakeFacts, WakePolicy, Wall,
};
use crate::engine::{
    Answer, Choice, Delivery, Fault, LastWake, Question, RunRow, WakeStatus, WakeView, Was,
};

/// Texts that take much more room in a line than in memory.
const NASTY: [&str; 4] = ["\u{1}", "\u{2028}", "\"", "😀"];

fn long(unit: &str) -> Arc<str> {
    unit.repeat(200_000).into()
}

/// The longest ids, of characters that grow.
fn run_id(unit: &str) -> RunId {
    let unit = if unit == "\u{1}" { "\u{2029}" } else { unit };
    RunId::parse(&unit.repeat(128)).unwrap()
}

fn session_id(unit: &str) -> SessionId {
    SessionId::parse(run_id(unit).as_str()).unwrap()
}

/// Asserts that a result fits in a line with the longest envelope; a notification is one already.
#[track_caller]
fn fits(value: &impl Serialize) {
    let line = cut::line_len(value) + r#"{"jsonrpc":"2.0","id":,"result":}"#.len() + 256 + 1;
    assert!(line <= cut::LINE_BYTES, "{line}");
}

#[track_caller]
fn fits_line(text: &str) {
    let raw = serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
    let line = cut::line_len(&raw) + 1;
    assert!(line <= cut::LINE_BYTES, "{line}");
}

fn completion(unit: &str) -> Completion {
    Completion {
        run_id: run_id(unit),
        session: session_id(unit),
        notify: Some(session_id(unit)),
        kind: RunKind::Prompt,
        seq: Seq::new(u64::MAX).unwrap(),
        outcome: Outcome::Interrupted,
        reason: Some(Reason::SessionClosed),
        text: long(unit),
        truncated: false,
        exit_code: Some(i32::MIN),
        stop_reason: Some(long(unit)),
        error: Some(Failure {
            kind: FailKind::IncompleteInput,
            message: long(unit),
        }),
        into: Some(run_id(unit)),
        wake: Some(Box::new(facts(unit))),
        usage: Some(serde_json::to_string(&*unit.repeat(600)).unwrap().into()),
        accepted_at: Wall(i64::MIN),
        started_at: Some(Wall(i64::MIN)),
        ended_at: Wall(i64::MIN),
    }
}

fn facts(unit: &str) -> WakeFacts {
    WakeFacts {
        reasons: vec![long(unit); 3],
        prompts: vec![long(unit)],
        key: Some(long(unit)),
        beat: false,
        interrupts: false,
        runs: vec![run_id(unit); 1000],
    }
}

/// As much as a completion can have taken the place of.
fn replaced(unit: &str) -> Replaced {
    Replaced {
        runs: vec![run_id(unit); 100],
        count: u64::MAX,
    }
}

fn question(unit: &str) -> Question {
    let option = Choice {
        id: long(unit),
        label: long(unit),
        allows: true,
        always: true,
    };
    Question {
        id: long(unit),
        text: long(unit),
        options: vec![option; 50],
    }
}

fn record(unit: &str, prompt: &Prompt) -> RunRecord {
    let c = completion(unit);
    let row = RunRow {
        seq: c.seq,
        id: c.run_id,
        session: c.session,
        kind: c.kind,
        place: 0,
        notify: c.notify,
        timeout_ms: Some(u64::MAX),
        queue_timeout_ms: Some(u64::MAX),
        permissions: None,
        traceparent: None,
        wake: c.wake,
        accepted_at: c.accepted_at,
        started_at: c.started_at,
        stop: None,
        into: None,
    };
    RunRecord::queued(&row, prompt, Some(usize::MAX))
}

fn cursor() -> Cursor {
    Cursor {
        store: "0".repeat(64).into(),
        no: EventNo::new(u64::MAX),
    }
}

#[test]
fn the_largest_completion_fits_in_a_line() {
    for unit in NASTY {
        let view = CompletionView::of(&completion(unit))
            .from_inbox(u32::MAX, &replaced(unit))
            .at(&cursor());
        assert!(view.end.truncated && !view.end.text.is_empty());
        fits(&view);
        fits_line(&Notification::RunCompleted(Box::new(view.clone())).to_json());
        let event = EventView::from(EventContent::Completed(Box::new(view)));
        let replay = ReplayResult::fitted(vec![event; 3], &cursor(), false);
        assert!(replay.more && replay.events.len() == 1);
        fits(&replay);
    }
}

#[test]
fn the_largest_records_fit_in_a_line() {
    for unit in NASTY {
        let blocks = serde_json::json!([{"type": "text", "text": &*long(unit)}]).to_string();
        for prompt in [Prompt::Text(long(unit)), Prompt::Blocks(blocks.into())] {
            let queued = record(unit, &prompt);
            assert!(queued.prompt_truncated);
            let parked = queued
                .clone()
                .live(RunState::Parked, &long(unit), false, Some(&question(unit)))
                .steered(run_id(unit));
            let ended = parked.clone().ended(&completion(unit));
            assert!(ended.permission.is_none());
            for one in [queued, parked, ended] {
                fits(&one);
                fits(&RunListResult::fitted(vec![one.clone(); 3], true));
                let wait = RunWaitResult::fitted(vec![one; 100], true);
                assert_eq!(wait.more, Some(true));
                fits(&wait);
            }
        }
    }
}

#[test]
fn the_largest_session_fits_in_a_line() {
    for unit in NASTY {
        let agent = format!(
            r#"{{"kind":"command","command":["{}"]}}"#,
            "x".repeat(16_000)
        );
        let session = Session {
            id: session_id(unit),
            agent: AgentRef::Inline(agent.into()),
            cwd: long(unit),
            env_names: vec![long(unit); 100],
            parent: Some(session_id(unit)),
            title: Some(long(unit)),
            timeout_ms: Some(u64::MAX),
            permissions: Some(PermissionPolicy::Allow),
            keep: Keep::LatestPerChild,
            wake: Some(WakePolicy {
                on_completion: OnCompletion::LastChild,
                prompt: Some(long(unit)),
                max_consecutive: u32::MAX,
                min_interval_ms: u64::MAX,
                text_bytes: u32::MAX,
            }),
            heartbeat: Some(Heartbeat {
                every_ms: u64::MAX,
                prompt: Some(long(unit)),
                only_if_pending: false,
            }),
            wake_streak: 0,
            hushed: false,
            conversation: None,
            closed: false,
            mark: CancelMark::default(),
            created_at: Wall(i64::MIN),
        };
        let now = SessionNow {
            state: SessionState::Starting,
            settled: false,
            queued: u64::MAX,
            inbox: InboxView {
                pending: u64::MAX,
                leased: u64::MAX,
                oldest: Some(Wall(i64::MIN)),
            },
            wake: WakeView {
                budget_left: u32::MAX,
                last: Some(LastWake {
                    at: Wall(i64::MIN),
                    status: WakeStatus::Skipped(Skip::BudgetExhausted),
                    retry_at: Some(Wall(i64::MIN)),
                    run: Some(run_id(unit)),
                }),
            }
            .into(),
            clients: u64::MAX,
            run: Some(RunUnderWay {
                run_id: run_id(unit),
                state: RunState::Starting,
            }),
        };
        let record = SessionRecord::of(&session, now);
        fits_line(&Notification::SessionChanged(Box::new(record.clone())).to_json());
        let list = SessionListResult::fitted(vec![record.clone(); 10], false);
        assert!(list.more);
        fits(&list);
        fits(&SessionOpenResult {
            session: record,
            created: true,
            recovered: usize::MAX,
        });
    }
}

#[test]
fn the_other_large_things_fit_in_a_line() {
    for unit in NASTY {
        let changed = RunChanged {
            run_id: run_id(unit),
            session_id: session_id(unit),
            state: RunState::Parked,
            permission: Some(PermissionView::of(&question(unit))),
            stalled_ms: Some(u64::MAX),
        };
        fits_line(&Notification::RunChanged(Box::new(changed)).to_json());
        let runs = vec![(run_id(unit), Was::Folded); 10_000];
        match Reply::from_answer(Answer::Cancelled {
            mark: Seq::new(1),
            runs,
        }) {
            Ok(Reply::Cancel(cancel)) => {
                assert_eq!(cancel.more, Some(true));
                fits(&cancel);
            }
            other => panic!("{other:?}"),
        }
        let agent = AgentInfo {
            name: long(unit)[..unit.len() * 100].into(),
            kind: AgentKind::Script,
            prose: true,
            steers: true,
            default: false,
            source: AgentSource::Configured,
            command: vec![long(unit)[..unit.len() * 100].into(); 16],
        };
        let agents = vec![agent; 10_000];
        assert!(AgentListResult::fitted(agents.clone()).more);
        fits(&AgentListResult::fitted(agents.clone()));
        fits(
            &InitializeResult {
                server_info: ServerInfo {
                    name: "turnlane".into(),
                    version: "1".into(),
                },
                protocol_version: PROTOCOL_VERSION,
                instance_id: "i".into(),
                role: Role::Owner,
                store: "/s".repeat(2000).into(),
                durability: DurabilityView::Full,
                cursor: cursor().to_string().into(),
                resumed: false,
                agents,
                limits: Limits::default()
                    .entries()
                    .into_iter()
                    .collect::<BTreeMap<_, _>>(),
            }
            .fitted(),
        );
    }
}

#[test]
fn the_largest_error_fits_in_a_line() {
    for unit in NASTY {
        let name = long(unit);
        let key = serde_json::to_string(&*name).unwrap();
        for error in [
            RpcError::parse_error(&name),
            RpcError::method_not_found(&name),
            RpcError::invalid_params(&name, &name),
            RpcError::unsupported(&name, &name),
            RpcError::store_locked(&name, 1),
            RpcError::store_corrupt(&name),
            RpcError::cursor_expired(&name),
            Fault::SessionDormant {
                session: session_id(unit),
                missing: vec![name.clone(); 1000],
            }
            .into(),
            Fault::NoSuchOption {
                option: name.clone(),
                options: vec![name.clone(); 1000],
            }
            .into(),
            Fault::PermissionNotFound {
                run: run_id(unit),
                request: name.clone(),
            }
            .into(),
            Fault::AgentNotFound(Some(name.clone())).into(),
            Fault::DeliveryNotFound(name.clone()).into(),
            RpcError::dead_letter_not_found(&run_id(unit)),
            Request::parse("stats", Some(&format!("{{{key}:1}}"))).unwrap_err(),
            Request::parse("run/list", Some(&format!(r#"{{"state":{key}}}"#))).unwrap_err(),
            Request::parse("run/list", Some(&format!(r#"{{"limit":{key}}}"#))).unwrap_err(),
            Request::parse("session/open", Some(&format!(r#"{{"env":{{{key}:1}}}}"#))).unwrap_err(),
            Request::parse("session/open", Some(&format!(r#"{{"agent":{{{key}:1}}}}"#)))
                .unwrap_err(),
        ] {
            fits(&error);
        }
    }
}

/// What the engine takes for one answer weighs no more than this, or is a single completion.
const WEIGHT: usize = 60_000;

fn delivery(taken: usize) -> Delivery {
    Delivery {
        session: session_id("a"),
        id: Some("0".repeat(36).into()),
        entries: Vec::new(),
        remaining: u64::MAX,
        leased: u64::MAX,
        more: taken > 1,
        expires_at: Some(Wall(i64::MIN)),
        timed_out: true,
    }
}

#[test]
fn whatever_is_taken_is_shown_in_one_line() {
    for unit in NASTY {
        let largest = CompletionView::of(&completion(unit)).from_inbox(9, &replaced(unit));
        let superseded = |result: &DrainResult| -> usize {
            let all = result.completions.iter().flat_map(|one| &one.superseded);
            all.map(|one| one.run_ids.len()).sum()
        };
        let one = DrainResult::of(delivery(1), vec![largest.clone()], true);
        fits(&one);
        assert_eq!((one.completions.len(), one.timed_out), (1, Some(true)));
        assert!(superseded(&one) > 0);
        // Small ones, each of which took the place of many.
        let small = Completion {
            text: "".into(),
            stop_reason: None,
            error: None,
            usage: None,
            wake: None,
            ..completion(unit)
        };
        let count = WEIGHT / small.weight() as usize;
        let view = CompletionView::of(&small).from_inbox(9, &replaced(unit));
        let many = DrainResult::of(delivery(count), vec![view; count], false);
        fits(&many);
        assert_eq!((many.completions.len(), many.timed_out), (count, None));
        assert!(many.completions.iter().all(|one| one.superseded.is_some()));
        // As many as the engine takes of such.
        let each = small.weight() + replaced(unit).shown_bytes();
        let view = CompletionView::of(&small).from_inbox(9, &replaced(unit));
        let some = DrainResult::of(delivery(1), vec![view; WEIGHT / each as usize], false);
        assert!(
            some.completions
                .iter()
                .all(|one| one == &some.completions[0])
        );
        assert!(superseded(&some) > 0);
        fits(&some);
        let largest = vec![(cursor(), largest); 3];
        let peek = PeekResult::fitted(u64::MAX, u64::MAX, largest, false);
        assert!(peek.more && peek.completions.len() == 1 && peek.next.is_some());
        fits(&peek);
    }
}

#[test]
fn a_completion_takes_no_more_room_than_it_weighs() {
    for unit in NASTY {
        let full = Completion {
            text: cut::last_encoded(&long(unit), TEXT_BYTES).into(),
            ..completion(unit)
        };
        let bare = Completion {
            text: "".into(),
            notify: None,
            reason: None,
            exit_code: None,
            stop_reason: None,
            error: None,
            into: None,
            usage: None,
            wake: None,
            started_at: None,
            ..completion(unit)
        };
        for one in [full, bare] {
            let view = CompletionView::of(&one).from_inbox(u32::MAX, &Replaced::default());
            let (room, weight) = (cut::line_len(&view), one.weight() as usize);
            assert!(room < weight, "{room} bytes weigh {weight}");
        }
    }
}

#[test]
fn the_largest_dead_letters_fit_in_a_line() {
    for unit in NASTY {
        let completion = completion(unit);
        let letter = DeadLetter {
            parent: session_id(unit),
            entry: InboxEntry {
                no: EventNo::new(7).unwrap(),
                run: run_id(unit),
                child: session_id(unit),
                attempt: u32::MAX,
                failures: u32::MAX,
                weight: u32::MAX,
                ended_at: Wall(0),
                replaced: replaced(unit),
            },
            why: DeadWhy::ParentPurged,
            at: Wall(i64::MIN),
        };
        let view = DeadLetterView::of(&letter, &completion);
        let list = DeadLetterListResult::fitted(vec![(cursor(), view); 3], false);
        assert_eq!((list.dead_letters.len(), list.more), (1, true));
        assert_eq!(list.next.as_deref(), Some(&*cursor().to_string()));
        fits(&list);
        let added = DeadLetterAdded {
            run_id: run_id(unit),
            parent: session_id(unit),
            why: DeadWhy::MaxAttempts,
            cursor: cursor().to_string().into(),
        };
        fits_line(&Notification::DeadLetterAdded(added).to_json());
        let skipped = WakeSkipped::of(session_id(unit), &long(unit), Skip::CoolingDown, None);
        fits_line(&Notification::WakeSkipped(skipped).to_json());
    }
}

/// The raw bytes that the notifications of some output stand for.
fn put_together(notes: &[String]) -> Vec<u8> {
    use base64::Engine as _;
    let mut all = Vec::new();
    for note in notes {
        fits_line(note);
        let note: serde_json::Value = serde_json::from_str(note).unwrap();
        let params = &note["params"];
        assert_eq!(params["offset"], all.len() as u64 + 7);
        match params["text"].as_str() {
            Some(text) => all.extend_from_slice(text.as_bytes()),
            None => all.extend(
                base64::engine::general_purpose::STANDARD
                    .decode(params["base64"].as_str().unwrap())
                    .unwrap(),
            ),
        }
    }
    all
}

#[test]
fn output_arrives_byte_for_byte_in_lines_that_fit() {
    let binary: Vec<u8> = (0..=255).cycle().take(32 << 10).collect();
    let control = vec![1u8; 32 << 10];
    let text = "ü😀".repeat(5000);
    let mut split = text.as_bytes()[1..].to_vec();
    split.pop();
    for unit in NASTY {
        for (bytes, most) in [
            (&binary[..], 2),
            (&control[..], 7),
            (text.as_bytes(), 1),
            (&split[..], 3),
            (&[][..], 0),
            (&[0xff][..], 1),
            (&[0x80][..], 1),
        ] {
            let notes = output_notes(
                &run_id(unit),
                &session_id(unit),
                7,
                StreamView::Stderr,
                bytes,
            );
            assert_eq!(put_together(&notes), bytes);
            assert!(notes.len() <= most, "{} notifications", notes.len());
        }
    }
}

#[test]
fn output_that_is_asked_for_says_where_to_go_on() {
    let chunks = pieces(100, StreamView::Stdout, &vec![b'x'; 200_000]);
    let first = RunOutputResult::fitted(run_id("\u{1}"), 40, chunks, 200_100, false);
    fits(&first);
    assert_eq!((first.lost, first.more), (Some(60), true));
    assert_eq!(first.next, first.chunks.last().unwrap().end());
    let last = RunOutputResult::fitted(run_id("a"), 200_100, vec![], 200_100, true);
    assert_eq!(
        (last.next, last.more, last.lost, last.ended),
        (200_100, false, None, true)
    );
}

#[test]
fn absent_fields_are_left_out_and_an_ended_run_has_its_completions_fields() {
    let plain = Completion {
        notify: None,
        reason: None,
        exit_code: None,
        stop_reason: None,
        error: None,
        into: None,
        usage: None,
        wake: None,
        started_at: None,
        text: "hi".into(),
        outcome: Outcome::Completed,
        ..completion("a")
    };
    let id = "a".repeat(128);
    assert_eq!(
        serde_json::to_value(CompletionView::of(&plain)).unwrap(),
        serde_json::json!({
            "runId": id, "sessionId": id, "kind": "prompt", "seq": u64::MAX, "outcome": "completed",
            "text": "hi", "truncated": false, "acceptedAt": i64::MIN, "endedAt": i64::MIN,
        })
    );
    let shown = serde_json::to_value(record("a", &Prompt::Text("p".into())).ended(&plain)).unwrap();
    assert_eq!(
        (
            &shown["state"],
            &shown["outcome"],
            &shown["text"],
            &shown["prompt"]
        ),
        (
            &"ended".into(),
            &"completed".into(),
            &"hi".into(),
            &"p".into()
        )
    );
    let names = |value: &serde_json::Value| value.as_object().unwrap().contains_key("into");
    assert!(!names(&shown));
}

#[test]
fn a_notification_is_a_whole_message() {
    let note = Notification::InboxChanged(InboxChanged {
        session_id: session_id("a"),
        pending: 1,
        leased: 0,
    });
    let json: serde_json::Value = serde_json::from_str(&note.to_json()).unwrap();
    assert_eq!(json["jsonrpc"], "2.0");
    assert_eq!(json["method"], "inbox/changed");
    assert_eq!(json["params"]["pending"], 1);
    assert!(json.get("id").is_none());
}
