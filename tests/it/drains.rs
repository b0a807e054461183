//! Taking completions from an inbox: under a lease, once, until they are acknowledged.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Sidecar, World, ids, list, number, runs_of, text};

/// A lease that ends in no test by itself.
const LONG_MS: u64 = 3_600_000;

/// A parent and so many children of it; the children's names.
fn family(sidecar: &mut Sidecar, children: usize) -> Vec<String> {
    sidecar.open("boss", "script");
    let names: Vec<_> = (0..children).map(|n| format!("child{n}")).collect();
    for name in &names {
        sidecar.child(name, "boss");
    }
    names
}

/// Prompts so many runs in one write, the sessions in turn; their ids.
fn prompt_many(sidecar: &mut Sidecar, sessions: &[String], count: usize) -> Vec<String> {
    let prompts: Vec<_> = (0..count)
        .map(|n| {
            let session = &sessions[n % sessions.len()];
            let params = json!({"sessionId": session, "prompt": "say the same"});
            ("prompt", params)
        })
        .collect();
    let asked = sidecar.send_all(&prompts);
    let accepted = asked.iter().map(|id| sidecar.answer(id).unwrap());
    accepted
        .map(|answer| text(&answer["runId"]).to_owned())
        .collect()
}

fn counts(answer: &Value) -> (u64, u64) {
    (number(&answer["remaining"]), number(&answer["leased"]))
}

#[test]
fn a_thousand_completions_are_drained_once_each_oldest_first() {
    let world = World::new();
    let mut sidecar = world.start();
    let children = family(&mut sidecar, 10);
    let runs = prompt_many(&mut sidecar, &children, 1_000);
    for run in &runs {
        sidecar.ended(run, "completed");
    }
    let peeked = sidecar.ok("inbox/peek", json!({"sessionId": "boss", "limit": 3}));
    assert_eq!(
        (&peeked["pending"], &peeked["leased"]),
        (&json!(1_000), &json!(0))
    );
    assert_eq!(
        (list(&peeked["completions"]).len(), &peeked["more"]),
        (3, &json!(true))
    );
    let rest = json!({"sessionId": "boss", "limit": 3, "after": peeked["next"]});
    let rest = sidecar.ok("inbox/peek", rest);
    let six = sidecar.ok("inbox/peek", json!({"sessionId": "boss", "limit": 6}));
    assert_eq!([runs_of(&peeked), runs_of(&rest)].concat(), runs_of(&six));
    let never = json!({"sessionId": "boss", "after": "never"});
    sidecar.refused("inbox/peek", never, "invalidParams");
    let mut drained = Vec::new();
    while drained.len() < runs.len() {
        let taken = sidecar.drain("boss", json!({}));
        let these = runs_of(&taken);
        assert!((1..=100).contains(&these.len()), "{} at once", these.len());
        drained.extend(these.clone());
        assert_eq!(
            number(&taken["remaining"]) as usize,
            runs.len() - drained.len()
        );
        let acked = sidecar.ack(&taken);
        assert_eq!(ids(&acked["settled"]), these);
        assert!(
            ids(&acked["held"]).is_empty() && ids(&acked["gone"]).is_empty(),
            "{acked}"
        );
    }
    assert_eq!(
        drained,
        sidecar.completion_order(),
        "oldest first, each once"
    );
    let empty = sidecar.drain("boss", json!({}));
    assert!(runs_of(&empty).is_empty(), "{empty}");
    assert_eq!((counts(&empty), &empty["more"]), ((0, 0), &json!(false)));
    sidecar.settled("boss");
    sidecar.leave();
}

#[test]
fn twenty_runs_of_one_text_are_twenty_completions() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, 1);
    let mut drained = BTreeSet::new();
    for _ in 0..20 {
        let run = sidecar.result("child0", "the same");
        let taken = sidecar.drain("boss", json!({}));
        assert_eq!(runs_of(&taken), [run.as_str()]);
        let completion = &taken["completions"][0];
        assert_eq!(
            (&completion["text"], &completion["attempt"]),
            (&json!("the same\n"), &json!(1))
        );
        sidecar.ack(&taken);
        drained.insert(run);
    }
    assert_eq!(drained.len(), 20);
    sidecar.leave();
}

#[test]
fn what_is_leased_is_not_given_twice_and_an_empty_inbox_is_not_a_locked_one() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, 1);
    let runs = sidecar.results("child0", 5);
    let lease = json!({"max": 2, "leaseMs": LONG_MS});
    let one = sidecar.drain("boss", lease.clone());
    let two = sidecar.drain("boss", lease);
    assert_eq!(
        (runs_of(&one), runs_of(&two)),
        (runs[..2].to_vec(), runs[2..4].to_vec())
    );
    assert_ne!(one["deliveryId"], two["deliveryId"]);
    assert_eq!((counts(&one), counts(&two)), ((3, 0), (1, 2)));
    assert_eq!(sidecar.inbox("boss"), (1, 4));
    let three = sidecar.drain("boss", json!({"leaseMs": LONG_MS}));
    assert_eq!(
        (runs_of(&three), counts(&three)),
        (runs[4..].to_vec(), (0, 4))
    );
    let locked = sidecar.drain("boss", json!({}));
    assert_eq!(
        (runs_of(&locked).len(), counts(&locked)),
        (0, (0, 5)),
        "{locked}"
    );
    let peeked = sidecar.ok("inbox/peek", json!({"sessionId": "boss"}));
    assert_eq!(
        (&peeked["pending"], &peeked["leased"]),
        (&json!(0), &json!(5))
    );
    for taken in [&one, &two, &three] {
        sidecar.ack(taken);
    }
    let empty = sidecar.drain("boss", json!({}));
    assert_eq!(counts(&empty), (0, 0));
    sidecar.leave();
}

#[test]
fn a_lease_that_is_over_offers_again_and_the_newer_delivery_holds() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, 1);
    let run = sidecar.result("child0", "x");
    let first = sidecar.drain("boss", json!({"leaseMs": LONG_MS}));
    let waiting = sidecar.send_drain("boss", json!({"waitMs": LONG_MS, "leaseMs": LONG_MS}));
    assert!(sidecar.waits(&waiting), "it is held");
    let expiry = json!({"deliveryId": first["deliveryId"], "leaseMs": 1});
    let extended = sidecar.ok("drain/extend", expiry);
    assert!(
        number(&extended["expiresAt"]) < number(&first["expiresAt"]),
        "{extended}"
    );
    let second = sidecar.answer(&waiting).unwrap();
    assert_eq!(runs_of(&second), [run.as_str()]);
    assert_eq!(second["completions"][0]["attempt"], 2, "{second}");
    let late = sidecar.ack(&first);
    assert_eq!(
        (ids(&late["settled"]).len(), ids(&late["held"])),
        (0, vec![run.clone()]),
        "{late}"
    );
    for _ in 0..2 {
        let acked = sidecar.ack(&second);
        assert_eq!(
            ids(&acked["settled"]),
            [run.as_str()],
            "repeating it answers the same"
        );
    }
    assert_eq!(sidecar.inbox("boss"), (0, 0));
    sidecar.leave();
}

#[test]
fn an_ack_settles_also_after_the_lease_what_nobody_else_holds() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, 1);
    let run = sidecar.result("child0", "x");
    let taken = sidecar.drain("boss", json!({"leaseMs": LONG_MS}));
    let seen = sidecar.notes();
    sidecar.ok(
        "drain/extend",
        json!({"deliveryId": taken["deliveryId"], "leaseMs": 1}),
    );
    sidecar.note_since(seen, "inbox/changed", |inbox| {
        inbox["sessionId"] == "boss" && inbox["pending"] == 1 && inbox["leased"] == 0
    });
    assert_eq!(ids(&sidecar.ack(&taken)["settled"]), [run]);
    assert!(runs_of(&sidecar.drain("boss", json!({}))).is_empty());
    sidecar.leave();
}

#[test]
fn parts_of_a_delivery_can_be_acknowledged_and_released() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, 1);
    let runs = sidecar.results("child0", 4);
    let taken = sidecar.drain("boss", json!({"leaseMs": LONG_MS}));
    let some = |runs: &[String]| json!({"deliveryId": taken["deliveryId"], "runIds": runs});
    let acked = sidecar.ok("drain/ack", some(&runs[1..2]));
    assert_eq!(ids(&acked["settled"]), runs[1..2]);
    let released = sidecar.ok("drain/release", some(&runs[2..3]));
    assert_eq!(ids(&released["released"]), runs[2..3]);
    assert_eq!(sidecar.inbox("boss"), (1, 2));
    let again = sidecar.drain("boss", json!({"leaseMs": LONG_MS}));
    assert_eq!(runs_of(&again), runs[2..3]);
    assert_eq!(again["completions"][0]["attempt"], 2, "{again}");
    // What is named must be of the delivery, and nothing of a call with a wrong name is done.
    let foreign = json!({"deliveryId": again["deliveryId"], "runIds": [runs[2], runs[0]]});
    for method in ["drain/ack", "drain/release"] {
        let refusal = sidecar.refused(method, foreign.clone(), "invalidParams");
        assert_eq!(refusal.data["field"], "runIds[1]", "{refusal:?}");
    }
    assert_eq!(sidecar.inbox("boss"), (0, 3));
    let rest = sidecar.ok("drain/release", json!({"deliveryId": taken["deliveryId"]}));
    assert_eq!(ids(&rest["released"]), [runs[0].clone(), runs[3].clone()]);
    let nothing = sidecar.ok("drain/release", json!({"deliveryId": taken["deliveryId"]}));
    assert!(ids(&nothing["released"]).is_empty(), "{nothing}");
    sidecar.ack(&again);
    assert_eq!(
        sidecar.drain_all("boss"),
        [runs[0].clone(), runs[3].clone()]
    );
    sidecar.leave();
}

#[test]
fn a_run_that_is_named_twice_is_settled_and_told_once() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, 1);
    let runs = sidecar.results("child0", 3);
    let taken = sidecar.drain("boss", json!({"leaseMs": LONG_MS}));
    let named = |of: &[usize]| {
        let these: Vec<_> = of.iter().map(|n| &runs[*n]).collect();
        json!({"deliveryId": taken["deliveryId"], "runIds": these})
    };
    for _ in 0..2 {
        let acked = sidecar.ok("drain/ack", named(&[1, 0, 1, 0, 0]));
        assert_eq!(ids(&acked["settled"]), [runs[1].clone(), runs[0].clone()]);
    }
    let released = sidecar.ok("drain/release", named(&[2, 2]));
    assert_eq!(ids(&released["released"]), runs[2..]);
    assert_eq!(sidecar.inbox("boss"), (1, 0));
    sidecar.leave();
}

#[test]
fn what_was_never_known_is_an_error() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, 1);
    let nobody = json!({"sessionId": "nobody"});
    for method in ["drain", "inbox/peek"] {
        sidecar.refused(method, nobody.clone(), "sessionNotFound");
    }
    let delivery = json!({"deliveryId": "nothing"});
    for method in ["drain/ack", "drain/release"] {
        sidecar.refused(method, delivery.clone(), "deliveryNotFound");
    }
    let extend = json!({"deliveryId": "nothing", "leaseMs": 1_000});
    sidecar.refused("drain/extend", extend, "deliveryNotFound");
    let until = json!({"sessionId": "boss", "until": {"runIds": ["never"], "mode": "all"}});
    sidecar.refused("drain", until, "runNotFound");
    let typing = json!({"sessionId": "boss", "maximum": 3});
    assert_eq!(
        sidecar.refused("drain", typing, "invalidParams").data["field"],
        "maximum"
    );
    sidecar.leave();
}

#[test]
fn a_lost_connection_offers_at_once_and_an_ack_holds_for_ever() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, 1);
    let runs = sidecar.results("child0", 3);
    let first = sidecar.drain("boss", json!({"max": 1, "leaseMs": LONG_MS}));
    sidecar.drain("boss", json!({"leaseMs": LONG_MS}));
    assert_eq!(ids(&sidecar.ack(&first)["settled"]), runs[..1]);
    sidecar.kill9();
    // Nobody has to open it.
    let mut next = world.start();
    let second = next.drain("boss", json!({"leaseMs": LONG_MS}));
    assert_eq!(
        (runs_of(&second), counts(&second)),
        (runs[1..].to_vec(), (0, 0))
    );
    for completion in list(&second["completions"]) {
        assert_eq!(completion["attempt"], 2, "{completion}");
    }
    // Also in a life that did not see it, an ack settles what no newer delivery holds.
    assert_eq!(
        ids(&next.ack(&first)["settled"]),
        runs[..1],
        "it answers the same"
    );
    next.leave();
    let mut last = world.start();
    let acked = last.ack(&second);
    assert_eq!(ids(&acked["settled"]), runs[1..], "{acked}");
    last.kill9();
    let mut nothing = world.start();
    assert!(nothing.drain_all("boss").is_empty());
    assert_eq!(nothing.inbox("boss"), (0, 0));
    nothing.leave();
}

#[test]
fn what_a_drain_acknowledges_itself_never_comes_again() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, 1);
    let runs = sidecar.results("child0", 3);
    let taken = sidecar.drain("boss", json!({"max": 2, "ack": "auto"}));
    assert_eq!(runs_of(&taken), runs[..2]);
    assert_eq!(counts(&taken), (1, 0), "nothing of it is leased");
    sidecar.kill9();
    let mut next = world.start();
    assert_eq!(next.drain_all("boss"), runs[2..]);
    next.leave();
}

#[test]
fn a_waiting_drain_takes_the_first_that_comes_and_the_longest_waiting_one_comes_first() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, 1);
    let wait = || json!({"waitMs": LONG_MS, "max": 1, "ack": "auto"});
    let waiting: Vec<_> = (0..3).map(|_| sidecar.send_drain("boss", wait())).collect();
    let given_up = sidecar.send_drain("boss", wait());
    assert!(sidecar.waits(&waiting[0]));
    assert_eq!(sidecar.give_up(&given_up), -32800);
    for request in &waiting {
        let run = sidecar.result("child0", "x");
        let taken = sidecar.answer(request).unwrap();
        assert_eq!(runs_of(&taken), [run]);
        assert!(
            taken.get("timedOut").is_none_or(|over| over == false),
            "{taken}"
        );
    }
    // Whoever gave up has taken nothing.
    let run = sidecar.result("child0", "x");
    assert_eq!(sidecar.drain_all("boss"), [run]);
    let late = sidecar.drain("boss", json!({"waitMs": 50}));
    assert_eq!(
        (&late["timedOut"], runs_of(&late).len()),
        (&json!(true), 0),
        "{late}"
    );
    assert!(late.get("deliveryId").is_none(), "{late}");
    sidecar.leave();
}

/// A family of three with a run each that holds; the runs.
fn three_held(sidecar: &mut Sidecar) -> Vec<String> {
    let names = family(sidecar, 3);
    let held = names.iter().map(|name| sidecar.hold(name, "gate"));
    held.collect()
}

#[test]
fn a_drain_waits_until_all_any_or_so_many_of_a_group_have_ended() {
    let world = World::new();
    let mut sidecar = world.start();
    let runs = three_held(&mut sidecar);
    let mut until = |mode: &str, n: Option<u64>, these: &[String]| {
        let mut group = json!({"runIds": these, "mode": mode});
        if let Some(n) = n {
            group["n"] = json!(n);
        }
        let params = json!({"until": group, "waitMs": LONG_MS, "leaseMs": LONG_MS});
        sidecar.send_drain("boss", params)
    };
    let all = until("all", None, &runs[..2]);
    let two = until("atLeast", Some(2), &runs);
    let any = until("any", None, &runs[..2]);
    for waiting in [&all, &two, &any] {
        assert!(sidecar.waits(waiting));
    }
    sidecar.let_go("child0", "gate");
    let taken = sidecar.answer(&any).unwrap();
    assert_eq!(runs_of(&taken), runs[..1]);
    sidecar.ack(&taken);
    assert!(
        sidecar.waits(&all) && sidecar.waits(&two),
        "one of them has ended"
    );
    // Another's end is none of theirs: it is in the group of the second only.
    sidecar.let_go("child2", "gate");
    let taken = sidecar.answer(&two).unwrap();
    assert_eq!(
        runs_of(&taken),
        runs[2..],
        "acknowledged ones count, and are not given again"
    );
    assert!(sidecar.waits(&all));
    sidecar.let_go("child1", "gate");
    let taken = sidecar.answer(&all).unwrap();
    assert_eq!(runs_of(&taken), runs[1..2]);
    // It is at its end already: answered at once, with what of it is pending.
    sidecar.ok("drain/release", json!({"deliveryId": taken["deliveryId"]}));
    let group = json!({"runIds": runs, "mode": "all"});
    let again = sidecar.drain("boss", json!({"until": group, "waitMs": LONG_MS}));
    assert_eq!(runs_of(&again), runs[1..2], "{again}");
    sidecar.leave();
}

#[test]
fn a_group_that_takes_too_long_takes_nothing() {
    let world = World::new();
    let mut sidecar = world.start();
    let runs = three_held(&mut sidecar);
    sidecar.let_go("child0", "gate");
    sidecar.ended(&runs[0], "completed");
    let until = json!({"runIds": runs, "mode": "all"});
    let late = sidecar.drain("boss", json!({"until": until.clone(), "waitMs": 100}));
    assert_eq!(
        (&late["timedOut"], runs_of(&late).len()),
        (&json!(true), 0),
        "{late}"
    );
    assert_eq!(sidecar.inbox("boss"), (1, 0));
    let given_up = sidecar.send_drain("boss", json!({"until": until, "waitMs": LONG_MS}));
    assert_eq!(sidecar.give_up(&given_up), -32800);
    for name in ["child1", "child2"] {
        sidecar.let_go(name, "gate");
    }
    for run in &runs {
        sidecar.ended(run, "completed");
    }
    let mut drained = sidecar.drain_all("boss");
    drained.sort();
    let mut expected = runs;
    expected.sort();
    assert_eq!(drained, expected);
    sidecar.leave();
}

#[test]
fn a_hundred_full_completions_come_in_lines_of_bounded_length() {
    let world = World::new();
    let mut sidecar = world.start();
    let children = family(&mut sidecar, 4);
    // As large as a completion can be, in characters of each size that JSON gives them.
    let texts = [
        "x".repeat(99),
        "\t".repeat(60),
        "\u{2028}ä".repeat(20),
        "\"\\".repeat(50),
    ];
    let mut runs = Vec::new();
    for n in 0..100 {
        let prompt = format!("repeat 800 {}", texts[n % texts.len()]);
        runs.push(sidecar.prompt(&children[n % children.len()], &prompt));
    }
    for run in &runs {
        let told = sidecar.ended(run, "completed");
        let text = text(&told["text"]);
        assert!(text.len() > 4_000, "{} bytes", text.len());
        assert_eq!(
            told["truncated"],
            true,
            "{} bytes: {text:.100?}",
            text.len()
        );
    }
    let peeked = sidecar.ok("inbox/peek", json!({"sessionId": "boss"}));
    assert_eq!(
        (&peeked["pending"], &peeked["more"]),
        (&json!(100), &json!(true))
    );
    let (mut drained, mut lines) = (Vec::new(), 0);
    loop {
        // The auditor measures each line and compares each completion with what was announced.
        let taken = sidecar.drain("boss", json!({"max": 100, "ack": "auto"}));
        drained.extend(runs_of(&taken));
        lines += 1;
        assert_eq!(taken["more"] == true, taken["remaining"] != 0);
        if taken["more"] == false {
            break;
        }
    }
    assert_eq!(drained, sidecar.completion_order());
    assert!(lines >= 50, "they are 32 KiB each");
    sidecar.leave();
}

#[test]
fn a_result_of_two_megabytes_is_cut_and_harms_no_other() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, 2);
    let before = sidecar.result("child0", "before");
    let large = sidecar.prompt(
        "child1",
        &format!("repeat 20000 {}\nsay the end", "x".repeat(99)),
    );
    sidecar.ended(&large, "completed");
    let after = sidecar.result("child0", "after");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let taken = sidecar.drain("boss", json!({}));
        seen.extend(list(&taken["completions"]).to_vec());
        sidecar.ack(&taken);
    }
    let named: Vec<_> = seen
        .iter()
        .map(|completion| text(&completion["runId"]))
        .collect();
    assert_eq!(named, [&before, &large, &after]);
    let whole: Vec<_> = seen
        .iter()
        .map(|completion| completion["truncated"] == false)
        .collect();
    assert_eq!(whole, [true, false, true]);
    assert_eq!(
        (&seen[0]["text"], &seen[2]["text"]),
        (&json!("before\n"), &json!("after\n"))
    );
    let cut = text(&seen[1]["text"]);
    assert!(cut.ends_with("x\nthe end\n") && cut.len() > 30 << 10 && cut.len() <= 32 << 10);
    sidecar.leave();
}
