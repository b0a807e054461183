//! The owner of a store dies, or falls silent: whoever is attached goes on, and its client hardly notices.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{
    Finished, HARD_LIMIT, Sidecar, World, command_line, is_root, list, lives, number, signal, text,
};

use crate::programs;

fn begun(mut sidecar: Sidecar, role: &str) -> Sidecar {
    let hello = sidecar.ok("initialize", json!({}));
    assert_eq!(hello["role"], role, "{hello}");
    sidecar.ok("subscribe", json!({"sessions": "all"}));
    sidecar
}

fn two(world: &World) -> (Sidecar, Sidecar) {
    (
        begun(world.start(), "owner"),
        begun(world.start(), "attached"),
    )
}

/// Asks until an owner answers.
fn persist(client: &mut Sidecar, method: &str, params: &Value) -> Value {
    let until = Instant::now() + HARD_LIMIT;
    loop {
        match client.call(method, params.clone()) {
            Ok(answer) => return answer,
            Err(refusal) => {
                assert_eq!(refusal.kind(), "ownerLost", "{refusal:?}");
                assert!(Instant::now() < until);
            }
        }
    }
}

#[test]
fn after_the_owners_death_the_other_owns_and_everything_goes_on() {
    let world = World::new();
    let (mut one, mut two) = two(&world);
    two.ok(
        "session/open",
        json!({"sessionId": "s", "agent": "script", "env": {"A": "1"}}),
    );
    let a = two.hold("s", "a");
    let (b, c) = (two.prompt("s", "say b"), two.prompt("s", "say c"));
    let waits = two.send("run/wait", json!({"runId": c}));
    one.ok("run/get", json!({"runId": c}));
    let killed = Instant::now();
    one.kill9();
    let refusal = two.answer(&waits).unwrap_err();
    assert_eq!(refusal.kind(), "ownerLost", "{refusal:?}");
    // Its sessions are open again, with the variables that only its own process knew.
    assert_eq!(two.ended(&a, "interrupted")["sessionId"], "s");
    two.ended(&b, "completed");
    two.ended(&c, "completed");
    assert!(
        killed.elapsed() < Duration::from_secs(10),
        "{:?}",
        killed.elapsed()
    );
    assert_eq!(two.completion_order(), [a, b, c]);
    let stats = two.ok("stats", json!({}));
    assert_eq!(
        (&stats["role"], number(&stats["ownerPid"])),
        (&json!("owner"), u64::from(two.pid()))
    );
    let d = two.prompt("s", "say d");
    two.ended(&d, "completed");
    two.leave();
}

#[test]
fn a_stop_that_was_recorded_before_the_owners_death_decides() {
    let world = World::new();
    let (one, mut two) = two(&world);
    two.open("s", "script");
    let a = two.prompt("s", "ignore-cancel\nsay at a\nhold a");
    two.said_by(&a, "at a");
    two.ok("cancel", json!({"runId": a}));
    one.kill9();
    assert_eq!(two.ended(&a, "cancelled")["reason"], "client");
    two.leave();
}

#[test]
fn a_request_that_was_lost_names_its_run_so_that_it_can_be_repeated() {
    let world = World::new();
    let (one, mut two) = two(&world);
    two.open("s", "script");
    one.signal(Signal::STOP);
    let (a, b) = (
        two.send("prompt", json!({"sessionId": "s", "prompt": "say a"})),
        two.send(
            "prompt",
            json!({"sessionId": "s", "prompt": "say b", "runId": "b"}),
        ),
    );
    one.kill9();
    let lost: Vec<String> = [&a, &b]
        .into_iter()
        .map(|id| {
            let refusal = two.answer(id).unwrap_err();
            assert_eq!(refusal.kind(), "ownerLost", "{refusal:?}");
            text(&refusal.data["runId"]).to_owned()
        })
        .collect();
    assert_eq!(lost[1], "b");
    for (run, prompt) in lost.iter().zip(["say a", "say b"]) {
        for _ in 0..2 {
            let again = persist(
                &mut two,
                "prompt",
                &json!({"sessionId": "s", "prompt": prompt, "runId": run}),
            );
            assert_eq!(again["runId"], run.as_str());
        }
        two.ended(run, "completed");
    }
    assert_eq!(two.completion_order(), lost);
    two.leave();
}

#[test]
fn a_lease_survives_while_its_client_is_attached_again() {
    let world = World::new();
    let (mut one, mut two) = two(&world);
    two.open("parent", "script");
    one.open("parent", "script");
    for child in ["x", "y"] {
        two.ok(
            "session/open",
            json!({"sessionId": child, "agent": "script", "parent": "parent"}),
        );
        let run = two.prompt(child, "say done");
        two.ended(&run, "completed");
    }
    let mine = two.ok("drain", json!({"sessionId": "parent", "max": 1}));
    let others = one.ok("drain", json!({"sessionId": "parent", "max": 1}));
    assert_eq!(
        (
            list(&mine["completions"]).len(),
            list(&others["completions"]).len()
        ),
        (1, 1)
    );
    one.kill9();
    // What the dead client had is offered again; what this one has is not.
    let again = persist(
        &mut two,
        "drain",
        &json!({"sessionId": "parent", "waitMs": 20_000}),
    );
    let runs: Vec<&Value> = (list(&again["completions"]).iter())
        .map(|it| &it["runId"])
        .collect();
    assert_eq!(runs, [&others["completions"][0]["runId"]], "{again}");
    assert_eq!(again["completions"][0]["attempt"], 2, "{again}");
    for delivery in [&mine, &again] {
        let acked = two.ok("drain/ack", json!({"deliveryId": delivery["deliveryId"]}));
        assert_eq!(list(&acked["settled"]).len(), 1, "{acked}");
    }
    two.leave();
}

#[test]
fn the_latest_opening_decides_which_variables_a_session_has_also_after_a_takeover() {
    let world = World::new();
    let (one, mut two) = two(&world);
    let mut three = begun(world.start(), "attached");
    let open =
        |name: &str, value: &str| json!({"sessionId": name, "agent": "sh", "env": {"WHO": value}});
    for round in 0..5 {
        let session = format!("s{round}");
        two.ok("session/open", open(&session, "early"));
        three.ok("session/open", open(&session, "late"));
    }
    one.kill9();
    // Both are attached again.
    persist(&mut two, "agent/list", &json!({}));
    persist(&mut three, "agent/list", &json!({}));
    for round in 0..5 {
        let params = json!({"sessionId": format!("s{round}"), "prompt": "echo $WHO", "runId": format!("r{round}")});
        persist(&mut two, "prompt", &params);
        assert_eq!(
            two.ended(&format!("r{round}"), "completed")["text"],
            "late\n"
        );
    }
    // Whoever holds the store stays for the other.
    let owner = number(&two.ok("stats", json!({}))["ownerPid"]);
    if owner == u64::from(two.pid()) {
        std::mem::swap(&mut two, &mut three);
    }
    two.leave();
    three.leave();
}

#[test]
fn variables_are_not_forgotten_because_somebody_opened_the_session_later_without_them() {
    let world = World::new();
    let (one, mut knows) = two(&world);
    let mut other = begun(world.start(), "attached");
    knows.ok(
        "session/open",
        json!({"sessionId": "s", "agent": "sh", "env": {"WHO": "mine"}}),
    );
    other.ok("session/open", json!({"sessionId": "s"}));
    // The other one comes to the new owner first, and is that itself.
    knows.signal(Signal::STOP);
    one.kill9();
    persist(&mut other, "agent/list", &json!({}));
    knows.signal(Signal::CONT);
    persist(&mut knows, "agent/list", &json!({}));
    let params = json!({"sessionId": "s", "prompt": "echo $WHO", "runId": "r"});
    persist(&mut other, "prompt", &params);
    assert_eq!(other.ended("r", "completed")["text"], "mine\n");
    knows.leave();
    other.leave();
}

#[test]
fn what_was_given_back_of_a_delivery_is_not_held_after_a_takeover() {
    let world = World::new();
    let (one, mut two) = two(&world);
    two.open("parent", "script");
    two.ok(
        "session/open",
        json!({"sessionId": "x", "agent": "script", "parent": "parent"}),
    );
    for run in ["kept", "returned", "settled"] {
        let params = json!({"sessionId": "x", "prompt": "say done", "runId": run});
        two.ok("prompt", params);
        two.ended(run, "completed");
    }
    let taken = two.ok("drain", json!({"sessionId": "parent"}));
    let delivery = &taken["deliveryId"];
    two.ok(
        "drain/release",
        json!({"deliveryId": delivery, "runIds": ["returned"]}),
    );
    two.ok(
        "drain/ack",
        json!({"deliveryId": delivery, "runIds": ["settled"]}),
    );
    one.kill9();
    let again = persist(
        &mut two,
        "drain",
        &json!({"sessionId": "parent", "waitMs": 20_000}),
    );
    let runs: Vec<&Value> = (list(&again["completions"]).iter())
        .map(|it| &it["runId"])
        .collect();
    assert_eq!(runs, [&json!("returned")], "{again}");
    let counts = (number(&again["remaining"]), number(&again["leased"]));
    assert_eq!(counts, (0, 1), "{again}");
    two.leave();
}

#[test]
fn three_race_for_a_dead_owners_store_and_one_gets_it() {
    let world = World::new();
    let (mut one, two) = two(&world);
    let mut clients = vec![
        two,
        begun(world.start(), "attached"),
        begun(world.start(), "attached"),
    ];
    one.open("s", "script");
    for round in 0..5 {
        let run = clients[0].prompt("s", &format!("say {round}"));
        for client in &clients {
            client.ended(&run, "completed");
        }
    }
    one.kill9();
    let mut owners = Vec::new();
    for client in &mut clients {
        owners.push(number(&persist(client, "stats", &json!({}))["ownerPid"]));
    }
    assert!(owners.iter().all(|owner| *owner == owners[0]), "{owners:?}");
    assert!(
        clients
            .iter()
            .any(|client| u64::from(client.pid()) == owners[0])
    );
    let run = text(
        &persist(
            &mut clients[0],
            "prompt",
            &json!({"sessionId": "s", "prompt": "say on", "runId": "on"}),
        )["runId"],
    )
    .to_owned();
    for client in &clients {
        client.ended(&run, "completed");
        assert_eq!(client.completion_order().len(), 6);
    }
    // The new owner's client leaves: its process stays for the others.
    let new = clients
        .iter()
        .position(|client| u64::from(client.pid()) == owners[0]);
    let mut new = clients.remove(new.unwrap());
    new.close_stdin();
    new.wait_closed();
    assert!(lives(new.pid()));
    for client in clients {
        client.leave();
    }
    assert_eq!(new.wait_exit().code(), Some(0));
}

#[test]
fn an_owner_that_is_silent_for_too_long_is_ended_and_one_that_comes_back_in_time_is_not() {
    let world = World::configured("[limits]\nowner_timeout_ms = 1500\n");
    let (one, mut two) = two(&world);
    two.open("s", "script");
    one.signal(Signal::STOP);
    let id = two.send(
        "prompt",
        json!({"sessionId": "s", "prompt": "say a", "runId": "a"}),
    );
    std::thread::sleep(Duration::from_millis(500));
    one.signal(Signal::CONT);
    two.answer(&id).unwrap();
    two.ended("a", "completed");
    assert!(lives(one.pid()));
    one.signal(Signal::STOP);
    let stopped = Instant::now();
    let id = two.send(
        "prompt",
        json!({"sessionId": "s", "prompt": "say b", "runId": "b"}),
    );
    let refusal = two.answer(&id).unwrap_err();
    assert_eq!(refusal.kind(), "ownerLost", "{refusal:?}");
    assert!(
        stopped.elapsed() >= Duration::from_millis(1400),
        "{:?}",
        stopped.elapsed()
    );
    assert!(!lives(one.pid()));
    let again = persist(
        &mut two,
        "prompt",
        &json!({"sessionId": "s", "prompt": "say b", "runId": "b"}),
    );
    assert_eq!(again["runId"], "b");
    two.ended("b", "completed");
    assert_eq!(two.completion_order(), ["a", "b"]);
    two.leave();
}

#[test]
fn a_stop_that_meets_a_silent_owner_stops_whoever_takes_its_place() {
    let world = World::configured("[limits]\nowner_timeout_ms = 1000\n");
    let (one, mut two) = two(&world);
    one.signal(Signal::STOP);
    let stopped = world.run(&["stop"]);
    assert_eq!(stopped.code(), 0, "{}", stopped.err);
    two.wait_exit();
    assert!(!lives(one.pid()));
    assert_eq!(world.processes_but(&[]), [0; 0]);
    let mut next = begun(world.start(), "owner");
    next.open("s", "script");
    next.leave();
}

#[test]
fn a_stop_ends_a_silent_owner_to_which_nobody_is_attached() {
    let world = World::configured("[limits]\nowner_timeout_ms = 1000\n");
    let one = begun(world.start(), "owner");
    one.signal(Signal::STOP);
    let stopped = world.run(&["stop"]);
    assert_eq!(stopped.code(), 0, "{}", stopped.err);
    assert!(!lives(one.pid()));
}

#[test]
fn a_guard_that_somebody_has_stopped_does_not_keep_a_new_owner_waiting() {
    let world = World::new();
    let (one, mut two) = two(&world);
    two.open("s", "script");
    let a = two.hold("s", "a");
    let others = world.processes_but(&[one.pid(), two.pid()]);
    let guards = others
        .iter()
        .filter(|pid| command_line(**pid).contains("__guard"));
    let guards: Vec<&u32> = guards.collect();
    assert!(!guards.is_empty());
    for guard in &guards {
        signal(**guard, Signal::STOP);
    }
    one.kill9();
    two.ended(&a, "interrupted");
    assert!(guards.iter().all(|guard| !lives(**guard)));
    two.leave();
}

#[test]
fn a_socket_that_somebody_removed_is_made_again_and_others_come_in() {
    let world = World::new();
    let one = begun(world.start(), "owner");
    for _ in 0..2 {
        std::fs::remove_file(world.store().join("owner.sock")).unwrap();
        let two = begun(world.start(), "attached");
        two.leave();
    }
    one.leave();
    assert!(!world.store().join("owner.sock").exists());
}

#[test]
fn an_owner_that_can_not_make_its_socket_again_is_named_and_not_ended() {
    let world = World::configured("[limits]\nowner_timeout_ms = 300\n");
    let mut one = begun(world.start(), "owner");
    let socket = world.store().join("owner.sock");
    std::fs::remove_file(&socket).unwrap();
    std::fs::create_dir(&socket).unwrap();
    let refused = world.run(&["sessions"]);
    assert_eq!(refused.code(), 1, "{}", refused.err);
    for word in ["storeUnavailable", "owner.sock", &one.pid().to_string()] {
        assert!(refused.err.contains(word), "{}", refused.err);
    }
    assert_eq!(number(&one.ok("stats", json!({}))["clients"]), 1);
    one.leave();
}

#[test]
fn an_owner_in_another_container_lets_us_in_and_is_not_taken_for_us() {
    if !is_root() || !programs::has("unshare") {
        return;
    }
    let world = World::new();
    let inside = |world: &World| {
        let plain = world.turnlane(&[]);
        let mut command = world.program("unshare");
        command.args(["--pid", "--fork", "--kill-child"]);
        command.arg(plain.get_program()).args(plain.get_args());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Sidecar::spawn(world, command)
    };
    let one = begun(inside(&world), "owner");
    let mut two = begun(world.start(), "attached");
    // Its number may be the owner's there.
    let three = begun(inside(&world), "attached");
    two.open("s", "script");
    let run = two.prompt("s", "say hello");
    for client in [&one, &two, &three] {
        client.ended(&run, "completed");
    }
    three.leave();
    two.leave();
    one.leave();
}

#[test]
fn a_session_that_was_opened_without_a_question_is_open_again_with_its_variables() {
    let world = World::new();
    let (one, mut two) = two(&world);
    let open = json!({"sessionId": "s", "agent": "sh", "env": {"WORD": "hello"}});
    two.notify("session/open", open);
    let ask = json!({"sessionId": "s", "prompt": "echo $WORD"});
    let mut said = || {
        let run = persist(&mut two, "prompt", &ask)["runId"].clone();
        text(&two.ended(text(&run), "completed")["text"]).to_owned()
    };
    assert_eq!(said(), "hello\n");
    one.kill9();
    assert_eq!(said(), "hello\n");
    two.leave();
}

#[test]
fn a_client_that_said_that_it_leaves_does_so_for_the_next_owner_too() {
    let world = World::new();
    let (one, mut two) = two(&world);
    let mut three = begun(world.start(), "attached");
    two.open("s", "script");
    two.ok("shutdown", json!({}));
    one.kill9();
    persist(&mut three, "stats", &json!({}));
    let ask = json!({"sessionId": "s", "prompt": "say x"});
    let until = Instant::now() + HARD_LIMIT;
    let refusal = loop {
        let refusal = two.call("prompt", ask.clone()).unwrap_err();
        if refusal.kind() != "ownerLost" {
            break refusal;
        }
        assert!(Instant::now() < until);
    };
    assert_eq!(refusal.kind(), "shuttingDown", "{refusal:?}");
    two.close_stdin();
    three.leave();
    two.wait_exit();
}

#[test]
fn an_interrupt_that_is_lost_with_the_owner_is_obeyed_by_the_next_one() {
    let world = World::new();
    let mut one = begun(world.start(), "owner");
    one.open("s", "sh");
    let command = [
        "run",
        "--session",
        "s",
        "--json",
        "--",
        "echo at; sleep 1000",
    ];
    let mut first = world.turnlane(&command).spawn().unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    let mut hear = |what: &str| {
        let mut lines = lines.by_ref().map(Result::unwrap);
        lines.find(|line| line.contains(what)).unwrap()
    };
    hear("run/output");
    let queued = world.turnlane(&command).spawn().unwrap();
    let until = Instant::now() + HARD_LIMIT;
    while one.ok("session/get", json!({"sessionId": "s"}))["queued"] != 1 {
        assert!(Instant::now() < until);
    }
    // From here on nothing is answered, and what is asked is lost.
    one.signal(Signal::STOP);
    signal(queued.id(), Signal::INT);
    one.kill9();
    hear("run/completed");
    assert_eq!(first.wait().unwrap().code(), Some(125));
    let ended = Finished::of(queued, b"");
    assert_eq!(ended.code(), 130, "{}", ended.err);
}

#[test]
fn a_client_that_heard_nothing_for_long_goes_on_after_the_log_was_pruned() {
    let world = World::configured("[limits]\nretain_runs = 10\n").unaudited();
    let mut one = begun(world.start_with(&["--durability", "relaxed"]), "owner");
    let mut two = world.start();
    two.ok("initialize", json!({}));
    one.open("s", "script");
    let prompt = json!({"sessionId": "s", "prompt": "say x"});
    let prompts: Vec<_> = (0..600).map(|_| ("prompt", prompt.clone())).collect();
    let asked = one.send_all(&prompts);
    let accepted = asked.iter().map(|id| one.answer(id).unwrap());
    let accepted: Vec<String> = accepted
        .map(|answer| text(&answer["runId"]).to_owned())
        .collect();
    for run in &accepted {
        one.ended(run, "completed");
    }
    one.refused("run/get", json!({"runId": accepted[0]}), "runNotFound");
    // What the owner has said until now has come with this.
    two.ok("stats", json!({}));
    one.kill9();
    persist(&mut two, "stats", &json!({}));
    two.close_stdin();
    let said = two.all_said();
    assert!(!said.contains("lost to this client"), "{said}");
}
