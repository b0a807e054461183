//! `prompt` and all that can be asked of it.

use serde_json::json;

use crate::harness::{World, list, number, text};

#[test]
fn the_same_run_id_is_the_same_run() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let first = sidecar.prompt_with("s", "hold a", json!({"runId": "mine"}));
    assert_eq!(
        (&first["runId"], &first["duplicate"]),
        (&json!("mine"), &json!(false))
    );
    let again = sidecar.prompt_with(
        "s",
        "hold a",
        json!({"runId": "mine", "ifBusy": "interrupt"}),
    );
    assert_eq!(
        (&again["duplicate"], &again["seq"]),
        (&json!(true), &first["seq"])
    );
    sidecar.refused(
        "prompt",
        json!({"sessionId": "s", "prompt": "other", "runId": "mine"}),
        "runIdConflict",
    );
    sidecar.open("t", "script");
    sidecar.refused(
        "prompt",
        json!({"sessionId": "t", "prompt": "hold a", "runId": "mine"}),
        "runIdConflict",
    );
    // Neither had an effect.
    sidecar.release("s", "a");
    sidecar.ended("mine", "completed");
    let ended = sidecar.prompt_with("s", "hold a", json!({"runId": "mine"}));
    assert_eq!(
        (&ended["duplicate"], &ended["state"]),
        (&json!(true), &json!("ended")),
        "{ended}"
    );
    sidecar.leave();

    let mut next = world.start();
    let ended = next.prompt_with("s", "hold a", json!({"runId": "mine"}));
    assert_eq!(
        (&ended["duplicate"], &ended["seq"]),
        (&json!(true), &first["seq"]),
        "{ended}"
    );
    next.refused(
        "prompt",
        json!({"sessionId": "s", "prompt": "other", "runId": "mine"}),
        "runIdConflict",
    );
    next.leave();
}

#[test]
fn a_rejecting_prompt_is_refused_by_a_busy_session_only() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    let refusal = sidecar.refused(
        "prompt",
        json!({"sessionId": "s", "prompt": "say no", "ifBusy": "reject", "runId": "never"}),
        "sessionBusy",
    );
    assert_eq!(refusal.code, -32011);
    sidecar.refused("run/get", json!({"runId": "never"}), "runNotFound");
    sidecar.release("s", "a");
    sidecar.completed(&a);
    sidecar.ok("session/wait", json!({"sessionId": "s", "until": "idle"}));
    let b = sidecar.prompt_with("s", "say yes", json!({"ifBusy": "reject"}));
    sidecar.ended(text(&b["runId"]), "completed");
    sidecar.leave();
}

#[test]
fn an_interrupting_prompt_goes_to_the_head_and_the_others_keep_their_place() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    let b = sidecar.prompt("s", "say b");
    let c = sidecar.prompt("s", "say c");
    let d = sidecar.prompt_with("s", "say d", json!({"ifBusy": "interrupt"}));
    let d = text(&d["runId"]).to_owned();
    sidecar.completed(&c);
    assert_eq!(sidecar.ended(&a, "cancelled")["reason"], "superseded");
    assert_eq!(sidecar.completion_order(), [a, d, b, c]);
    sidecar.leave();
}

#[test]
fn a_replacing_prompt_takes_the_place_of_one_that_is_queued() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    let b = sidecar.prompt("s", "say b");
    let c = sidecar.prompt("s", "say c");
    let d = sidecar.prompt_with("s", "say d", json!({"replaces": b}));
    assert_eq!(d["position"], 1, "{d}");
    let d = text(&d["runId"]).to_owned();
    assert_eq!(sidecar.ended(&b, "cancelled")["reason"], "superseded");
    for gone in [&a, &b] {
        let ask = json!({"sessionId": "s", "prompt": "say no", "replaces": gone, "runId": "never"});
        sidecar.refused("prompt", ask, "sessionConflict");
    }
    let unknown = json!({"sessionId": "s", "prompt": "say no", "replaces": "nobody"});
    assert!(sidecar.call("prompt", unknown).is_err());
    sidecar.refused("run/get", json!({"runId": "never"}), "runNotFound");
    sidecar.release("s", "a");
    sidecar.completed(&c);
    let order: Vec<_> = sidecar
        .completion_order()
        .into_iter()
        .filter(|run| [&a, &b, &c, &d].contains(&run))
        .collect();
    assert_eq!(order, [b, a, d, c]);
    sidecar.leave();
}

#[test]
fn a_run_has_its_time_and_a_queued_one_its_patience() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    let b = sidecar.prompt_with("s", "say never", json!({"queueTimeoutMs": 50}));
    let b = sidecar.ended(text(&b["runId"]), "timedOut");
    assert!(b["startedAt"].is_null(), "{b}");
    // What is queued behind has a limit that begins when it is active.
    let c = sidecar.prompt_with("s", "say c begins\nhold c", json!({"timeoutMs": 300}));
    sidecar.release("s", "a");
    sidecar.ended(&a, "completed");
    let c = sidecar.ended(text(&c["runId"]), "timedOut");
    assert_eq!(c["text"], "c begins\n");
    let took = c["endedAt"].as_i64().unwrap() - c["startedAt"].as_i64().unwrap();
    assert!(took >= 290, "{c}");
    // A parked run's time goes on.
    let d = sidecar.prompt_with("s", "ask may I", json!({"timeoutMs": 100}));
    sidecar.ended(text(&d["runId"]), "timedOut");
    // A session's own limit holds where a prompt names none.
    sidecar.ok("session/open", json!({"sessionId": "s", "timeoutMs": 100}));
    let e = sidecar.prompt("s", "hold e");
    sidecar.ended(&e, "timedOut");
    let f = sidecar.prompt("s", "say on");
    sidecar.ended(&f, "completed");
    sidecar.leave();
}

#[test]
fn a_steered_text_goes_into_the_run_under_way_and_shares_its_end() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    let b = sidecar.prompt("s", "say b");
    let x = sidecar.prompt_with("s", "say x", json!({"ifBusy": "steer"}));
    assert_eq!(x["steered"], true, "{x}");
    let x = text(&x["runId"]).to_owned();
    let live = sidecar.ok("run/get", json!({"runId": x}));
    assert_ne!(live["state"], "ended", "{live}");
    let release = text(&sidecar.release("s", "a")["runId"]).to_owned();
    let host = sidecar.ended(&a, "completed");
    assert!(text(&host["text"]).contains("x\n"), "{host}");
    for run in [&x, &release] {
        let folded = sidecar.ended(run, "folded");
        assert_eq!(folded["into"], a.as_str(), "{folded}");
    }
    sidecar.completed(&b);
    assert_eq!(
        sidecar.completion_order(),
        [a, x, release, b],
        "host first, then the folded by seq"
    );
    sidecar.leave();
}

#[test]
fn a_steered_run_shares_every_other_outcome_of_its_host() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    let x = sidecar.prompt_with("s", "say x", json!({"ifBusy": "steer"}));
    let x = text(&x["runId"]).to_owned();
    let cancel = sidecar.ok("cancel", json!({"sessionId": "s"}));
    let was =
        |run: &str, was: &str| list(&cancel["runs"]).contains(&json!({"runId": run, "was": was}));
    assert!(was(&a, "active") && was(&x, "folded"), "{cancel}");
    sidecar.ended(&a, "cancelled");
    sidecar.ended(&x, "cancelled");

    let b = sidecar.hold("s", "b");
    let y = sidecar.prompt_with("s", "fail steered to death", json!({"ifBusy": "steer"}));
    sidecar.release("s", "b");
    sidecar.ended(&b, "failed");
    let y = sidecar.ended(text(&y["runId"]), "failed");
    assert_eq!(y["into"], b.as_str(), "{y}");
    sidecar.leave();
}

#[test]
fn what_cannot_be_steered_is_queued_and_says_so() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "sh");
    let idle = sidecar.prompt_with("s", "echo at work; sleep 1000", json!({"ifBusy": "steer"}));
    assert_eq!(idle["steered"], false, "there is no run to steer: {idle}");
    let a = text(&idle["runId"]).to_owned();
    sidecar.said_by(&a, "at work");
    let b = sidecar.prompt_with("s", "echo b", json!({"ifBusy": "steer"}));
    assert_eq!(
        (&b["steered"], &b["state"]),
        (&json!(false), &json!("queued")),
        "{b}"
    );
    sidecar.ok("cancel", json!({"runId": a}));
    let b = sidecar.ended(text(&b["runId"]), "completed");
    assert_eq!((text(&b["text"]), &b["exitCode"]), ("b\n", &json!(0)));
    sidecar.leave();
}

#[test]
fn a_completion_names_who_is_to_be_told() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("parent", "script");
    sidecar.ok(
        "session/open",
        json!({"sessionId": "child", "agent": "script", "parent": "parent"}),
    );
    let by_default = sidecar.prompt("child", "say a");
    let other = sidecar.prompt_with("child", "say b", json!({"notify": "elsewhere"}));
    let nobody = sidecar.prompt_with("child", "say c", json!({"notify": null}));
    assert_eq!(sidecar.completed(&by_default)["notify"], "parent");
    assert_eq!(
        sidecar.completed(text(&other["runId"]))["notify"],
        "elsewhere"
    );
    assert!(sidecar.completed(text(&nobody["runId"]))["notify"].is_null());
    let itself = json!({"sessionId": "child", "prompt": "say d", "notify": "child"});
    assert_eq!(
        sidecar.refused("prompt", itself, "invalidParams").data["field"],
        "notify"
    );
    let inbox = sidecar.ok("session/get", json!({"sessionId": "parent"}));
    assert_eq!(number(&inbox["inbox"]["pending"]), 1, "{inbox}");
    let listed = sidecar.ok("run/list", json!({"parent": "parent"}));
    assert_eq!(list(&listed["runs"]).len(), 1, "{listed}");
    sidecar.leave();
}

#[test]
fn a_prompt_can_be_made_of_content_blocks() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let blocks = json!([{"type": "text", "text": "say one"}, {"type": "text", "text": "say two"}]);
    let accepted = sidecar.ok(
        "prompt",
        json!({"sessionId": "s", "prompt": blocks, "runId": "r"}),
    );
    assert_eq!(
        accepted["state"] == "queued",
        accepted["position"] != 0,
        "{accepted}"
    );
    let said = sidecar.ended("r", "completed");
    assert!(
        text(&said["text"]).contains("one") && text(&said["text"]).contains("two"),
        "{said}"
    );
    let again = sidecar.ok(
        "prompt",
        json!({"sessionId": "s", "prompt": blocks, "runId": "r"}),
    );
    assert_eq!(again["duplicate"], true);
    sidecar.leave();
}

#[test]
fn the_longest_question_and_the_longest_error_are_told() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let long = "\u{1}".repeat(200_000);
    let failed = sidecar.prompt("s", &format!("fail {long}"));
    let next = sidecar.prompt("s", "say next");
    assert_eq!(sidecar.ended(&failed, "failed")["error"]["kind"], "agent");
    sidecar.ended(&next, "completed");
    let asks = sidecar.prompt("s", &format!("ask {long}"));
    sidecar.state(&asks, "parked");
    sidecar.ok("cancel", json!({"runId": asks}));
    sidecar.ended(&asks, "cancelled");
    sidecar.leave();
}

#[test]
fn a_completion_keeps_its_text_whatever_its_colours_take() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "sh");
    let coloured = "i=0; while [ $i -lt 300 ]; do printf '\\033[31mX\\033[0m%.0s' 0 1 2 3 4 5 6 7 8 9 a b c d e f g h i j k l m n o p q r s t; i=$((i+1)); done";
    let run = sidecar.prompt("s", coloured);
    let completion = sidecar.ended(&run, "completed");
    assert_eq!(completion["text"].as_str().unwrap(), "X".repeat(9_000));
    assert_eq!(completion["truncated"], false);
    sidecar.leave();
}
