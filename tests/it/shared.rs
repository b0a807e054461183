//! One store and several processes: everyone behaves the same, and nobody's leave ends what belongs to others.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Sidecar, World, lives, number, text};

/// The owner of the store and one that attached.
fn two(world: &World) -> (Sidecar, Sidecar) {
    (owner(world), attached(world))
}

fn owner(world: &World) -> Sidecar {
    begun(world.start(), "owner")
}

fn attached(world: &World) -> Sidecar {
    begun(world.start(), "attached")
}

fn begun(mut sidecar: Sidecar, role: &str) -> Sidecar {
    let hello = sidecar.ok("initialize", json!({}));
    assert_eq!(hello["role"], role, "{hello}");
    sidecar.ok("subscribe", json!({"sessions": "all"}));
    sidecar
}

#[test]
fn whoever_comes_second_attaches_and_says_so() {
    let world = World::new();
    let (mut one, mut two) = two(&world);
    let (first, second) = (one.ok("stats", json!({})), two.ok("stats", json!({})));
    assert_eq!(first["role"], "owner");
    assert_eq!(second["role"], "attached");
    for stats in [&first, &second] {
        assert_eq!(number(&stats["ownerPid"]), u64::from(one.pid()));
        assert_eq!(number(&stats["clients"]), 2, "{stats}");
    }
    assert_ne!(first["instanceId"], second["instanceId"]);
    two.open("s", "script");
    let run = two.prompt("s", "say hello");
    assert_eq!(two.ended(&run, "completed")["text"], "hello\n");
    // Both hear of it, from the same place in the same log.
    assert_eq!(one.completed(&run)["cursor"], two.completed(&run)["cursor"]);
    two.leave();
    assert!(lives(one.pid()));
    one.leave();
}

#[test]
fn an_attached_process_has_a_framing_of_its_own() {
    let world = World::new();
    let one = owner(&world);
    let mut two = Sidecar::spawn_with_headers(&world, world.turnlane(&[]));
    two.open("s", "script");
    let run = two.prompt("s", "say \u{2028} hello");
    assert_eq!(two.ended(&run, "completed")["text"], "\u{2028} hello\n");
    one.completed(&run);
    two.leave();
    one.leave();
}

#[test]
fn a_session_begins_where_its_client_lives() {
    let world = World::configured(
        "[agents.where]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", \"pwd; echo $PLACE\"]\n",
    );
    let one = owner(&world);
    let elsewhere = world.path("home");
    let mut command = world.turnlane(&[]);
    command.current_dir(&elsewhere).env("PLACE", "over there");
    let mut two = Sidecar::spawn(&world, command);
    two.open("s", "where");
    let run = two.prompt("s", "go");
    let expected = format!(
        "{}\nover there\n",
        elsewhere.canonicalize().unwrap().display()
    );
    assert_eq!(two.ended(&run, "completed")["text"], expected.as_str());
    two.leave();
    one.leave();
}

#[test]
fn any_client_cancels_any_run_and_nobody_gets_an_error() {
    let world = World::new();
    let (mut one, mut two) = two(&world);
    one.open("s", "script");
    let run = one.hold("s", "a");
    let waits = one.send("run/wait", json!({"runId": run}));
    let answer = two.ok("cancel", json!({"sessionId": "s"}));
    assert_eq!(answer["runs"][0]["runId"], run.as_str());
    for client in [&one, &two] {
        assert_eq!(client.ended(&run, "cancelled")["reason"], "client");
    }
    assert_eq!(one.answer(&waits).unwrap()["timedOut"], false);
    two.leave();
    one.leave();
}

#[test]
fn a_prompt_and_a_cancel_in_one_write_keep_their_order_through_an_attached_process() {
    let world = World::new();
    let (one, mut two) = two(&world);
    two.open("s", "script");
    for round in 0..50 {
        let (a, c) = (format!("a{round}"), format!("c{round}"));
        let ids = two.send_all(&[
            (
                "prompt",
                json!({"sessionId": "s", "prompt": "hold x", "runId": a}),
            ),
            ("cancel", json!({"sessionId": "s"})),
            (
                "prompt",
                json!({"sessionId": "s", "prompt": "say c", "runId": c}),
            ),
        ]);
        for id in &ids {
            two.answer(id).unwrap();
        }
        two.ended(&a, "cancelled");
        two.ended(&c, "completed");
    }
    two.leave();
    one.leave();
}

/// How a client goes.
fn goes(client: &mut Sidecar, how: &str) {
    match how {
        "shutdown" => {
            let answer = client.ok("shutdown", json!({}));
            assert_eq!(
                (&answer["completed"], &answer["cancelled"], &answer["left"]),
                (&json!(0), &json!(0), &json!(0)),
                "{answer}"
            );
            client.refused(
                "prompt",
                json!({"sessionId": "s", "prompt": "late"}),
                "shuttingDown",
            );
            client.notify("exit", json!({}));
        }
        "exit" => client.notify("exit", json!({})),
        "end of input" => client.close_stdin(),
        "SIGTERM" => client.signal(Signal::TERM),
        "SIGHUP" => client.signal(Signal::HUP),
        "kill -9" => client.signal(Signal::KILL),
        other => panic!("{other}"),
    }
}

#[test]
fn an_attached_client_that_leaves_ends_nothing_of_the_others() {
    for how in [
        "shutdown",
        "exit",
        "end of input",
        "SIGTERM",
        "SIGHUP",
        "kill -9",
    ] {
        let world = World::new();
        let (mut one, mut two) = two(&world);
        one.open("s", "script");
        let a = one.hold("s", "a");
        two.open("t", "script");
        let b = two.hold("t", "b");
        goes(&mut two, how);
        two.wait_exit();
        one.wait("the other to be gone", |_| Some(()));
        // Its run belongs to its session.
        one.release("t", "b");
        one.ended(&b, "completed");
        one.release("s", "a");
        one.ended(&a, "completed");
        assert_eq!(number(&one.ok("stats", json!({}))["clients"]), 1, "{how}");
        drop(two);
        one.leave();
    }
}

#[test]
fn the_owners_client_that_leaves_ends_nothing_of_the_others() {
    for how in ["shutdown", "exit", "end of input", "SIGTERM", "SIGHUP"] {
        let world = World::new();
        let (mut one, mut two) = two(&world);
        one.open("s", "script");
        let a = one.hold("s", "a");
        goes(&mut one, how);
        one.wait_closed();
        // Its process stays, silent, for the other.
        two.release("s", "a");
        two.ended(&a, "completed");
        let b = two.prompt("s", "say b");
        two.ended(&b, "completed");
        let stats = two.ok("stats", json!({}));
        assert_eq!(number(&stats["ownerPid"]), u64::from(one.pid()), "{how}");
        assert_eq!(number(&stats["clients"]), 1, "{how}");
        assert!(lives(one.pid()));
        two.leave();
        assert_eq!(one.wait_exit().code(), Some(0), "{how}");
    }
}

#[test]
fn the_last_client_that_leaves_ends_the_engine_whoever_it_is() {
    let world = World::new();
    let (mut one, mut two) = two(&world);
    two.open("s", "script");
    let a = two.hold("s", "a");
    let b = two.prompt("s", "say b");
    one.close_stdin();
    one.wait_closed();
    two.close_stdin();
    assert_eq!(two.wait_exit().code(), Some(0));
    assert_eq!(two.ended_already(&a)["reason"], "shutdown");
    assert_eq!(one.wait_exit().code(), Some(0));
    let mut next = owner(&world);
    assert_eq!(next.ok("run/get", json!({"runId": b}))["state"], "queued");
    next.leave();
}

#[test]
fn a_second_signal_ends_a_process_that_stays_for_others() {
    let world = World::new();
    let (mut one, mut two) = two(&world);
    two.open("s", "script");
    let a = two.hold("s", "a");
    one.signal(Signal::TERM);
    one.wait_closed();
    assert!(lives(one.pid()));
    one.signal(Signal::TERM);
    one.wait_exit();
    // The other takes over, and goes on.
    two.ended(&a, "interrupted");
    let b = two.prompt("s", "say b");
    two.ended(&b, "completed");
    two.leave();
}

#[test]
fn everyone_means_everyone() {
    for how in ["shutdown", "stop"] {
        let world = World::new();
        let (mut one, mut two) = two(&world);
        let mut three = attached(&world);
        two.open("s", "script");
        let a = two.hold("s", "a");
        if how == "stop" {
            let stopped = world.run(&["stop", "--json"]);
            assert_eq!(stopped.code(), 0, "{}", stopped.err);
            assert_eq!(
                stopped.json(),
                [json!({"completed": 0, "cancelled": 1, "left": 0})]
            );
        } else {
            let answer = three.ok("shutdown", json!({"everyone": true}));
            assert_eq!(answer["cancelled"], 1, "{answer}");
        }
        for client in [&mut one, &mut two, &mut three] {
            assert_eq!(
                client.wait_exit().code(),
                Some(0),
                "{how}: {}",
                client.said()
            );
        }
        assert_eq!(two.ended_already(&a)["reason"], "shutdown");
        assert_eq!(world.processes_but(&[]), [0; 0]);
        let again = world.run(&["stop"]);
        assert_eq!(again.code(), 0, "{}", again.err);
    }
}

/// The clients of one session, and what they were told of it.
fn order(client: &Sidecar) -> Vec<String> {
    client.completion_order()
}

#[test]
fn eight_clients_of_one_session_have_one_order_and_never_two_runs_at_once() {
    let world = World::new();
    let mut clients = vec![owner(&world)];
    clients.extend((1..8).map(|_| attached(&world)));
    clients[0].open("s", "script");
    let mut runs = Vec::new();
    for round in 0..10 {
        let asked: Vec<Value> = (clients.iter_mut())
            .enumerate()
            .map(|(no, client)| {
                let run = format!("{no}-{round}");
                client.send(
                    "prompt",
                    json!({"sessionId": "s", "prompt": "say x", "runId": run}),
                )
            })
            .collect();
        for (client, id) in clients.iter().zip(asked) {
            let accepted = client.answer(&id).unwrap();
            runs.push((
                number(&accepted["seq"]),
                text(&accepted["runId"]).to_owned(),
            ));
        }
    }
    runs.sort();
    for (_, run) in &runs {
        for client in &clients {
            client.ended(run, "completed");
        }
    }
    let accepted: Vec<String> = runs.into_iter().map(|(_, run)| run).collect();
    for client in &clients {
        assert_eq!(order(client), accepted);
    }
    while let Some(client) = clients.pop() {
        client.leave();
    }
}

#[test]
fn a_process_that_attaches_in_another_way_is_refused_by_name() {
    let world = World::new();
    let one = owner(&world);
    let mut socket = UnixStream::connect(world.store().join("owner.sock")).unwrap();
    let attach =
        r#"{"jsonrpc":"2.0","method":"$/attach","params":{"attach":99,"version":"9.9.9"}}"#;
    writeln!(socket, "{attach}").unwrap();
    let mut said = String::new();
    socket.read_to_string(&mut said).unwrap();
    for word in ["$/refused", "storeLocked", "9.9.9", &one.pid().to_string()] {
        assert!(said.contains(word), "{said}");
    }
    one.leave();
}

#[test]
fn only_our_own_processes_attach_and_others_speak_the_protocol_as_it_is() {
    let world = World::new();
    let mut one = owner(&world);
    let attach = json!({"attach": 1});
    // On standard input it is a notification that nobody knows.
    one.notify("$/attach", attach);
    assert_eq!(one.ok("stats", json!({}))["role"], "owner");
    // A person with a socket is a client like any other.
    let mut socket = UnixStream::connect(world.store().join("owner.sock")).unwrap();
    writeln!(socket, r#"{{"jsonrpc":"2.0","id":1,"method":"stats"}}"#).unwrap();
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
    let answer: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(number(&answer["result"]["clients"]), 2, "{answer}");
    drop((lines, socket));
    one.leave();
}

#[test]
fn whoever_heard_of_a_purged_session_does_not_hear_of_a_new_one_of_its_name() {
    let world = World::new();
    let mut one = world.start();
    assert_eq!(one.ok("initialize", json!({}))["role"], "owner");
    let mut two = world.start();
    let clients = |opened: &Value| number(&opened["session"]["clients"]);
    one.open("s", "script");
    assert_eq!(clients(&two.open("s", "script")), 2);
    two.ok("session/close", json!({"sessionId": "s", "purge": true}));
    assert_eq!(clients(&one.open("s", "script")), 1);
    two.leave_others();
    one.leave();
}
