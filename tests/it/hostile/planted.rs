//! The checks after an attack fail where they should: a toy that speaks as much of the protocol as they need, sound or broken in one
//! way, and the real binary with a weakened setting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};

use super::{FRAMINGS, Victim, pipes, stats};
use crate::harness::{Framing, World};
use crate::programs::has;

/// A sidecar in a page; its first argument is how it is broken.
const TOY: &str = r#"
import json, re, sys
broken, hoard, runs = sys.argv[1], [], 0
def say(text):
    data = text.encode()
    if headers: sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
    else: sys.stdout.buffer.write(data + b"\n")
    sys.stdout.buffer.flush()
def read():
    if not headers: return sys.stdin.buffer.readline()
    head = sys.stdin.buffer.readline()
    if not head: return b""
    while sys.stdin.buffer.readline().strip(): pass
    return sys.stdin.buffer.read(int(head.split(b":")[1]))
headers = sys.stdin.buffer.peek(1)[:1] != b"{"
while body := read():
    if broken == "must log":
        sys.stderr.write("a line\n")
        sys.stderr.flush()
    try: message = json.loads(body)
    except ValueError:
        if broken == "panics": sys.stderr.write("thread 'main' panicked at toy.rs\n")
        if broken == "dies": sys.exit(3)
        if broken == "hoards": hoard.append(b"x" * (100 << 20))
        say('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}')
        if broken == "refuses twice": say('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}')
        continue
    raw = re.search(rb'"id":("[^"]*"|[^,}]*)', body).group(1).decode()
    if broken == "rounds ids" and "." in raw: raw = json.dumps(float(raw))
    method, params = message["method"], message.get("params") or {}
    if method == "prompt":
        runs += 1
        run = {"runId": "r%d" % runs, "sessionId": params["sessionId"]}
        accepted = {**run, "seq": runs, "state": "starting", "position": 0, "duplicate": False}
        say('{"jsonrpc":"2.0","id":%s,"result":%s}' % (raw, json.dumps(accepted)))
        said = params["prompt"].removeprefix("say ") + "\n"
        run.update(seq=runs, outcome="completed", cursor="c", acceptedAt=0, endedAt=0, text=said, truncated=False, kind="prompt")
        for _ in range(2 if broken == "completes twice" else 1):
            say(json.dumps({"jsonrpc": "2.0", "method": "run/completed", "params": run}))
        continue
    session = {"sessionId": "s", "agent": "script", "cwd": "/", "createdAt": 0, "state": "idle", "settled": True, "queued": 0, "clients": 1, "wake": {"budgetLeft": 3},
        "inbox": {"pending": 0, "leased": 0}}
    counts = ["ownerPid", "uptimeMs", "clients", "accepted", "ended", "commits", "droppedEvents", "droppedOutputBytes", "droppedLogLines", "pending", "scheduledWakes", "waiting"]
    stats = {"role": "owner", "instanceId": "toy", "sessions": {}, "runs": {}, **{name: 0 for name in counts}}
    result = stats if method == "stats" else {"session": session, "created": True, "recovered": 0}
    answer = '{"jsonrpc":"2.0","id":%s,"result":%s}' % (raw, json.dumps(result))
    say(answer)
    if broken == "answers twice" and raw.startswith('"'): say(answer)
"#;

/// The toy, broken in this way.
fn toy(world: &World, broken: &str) -> Command {
    let mut command = world.program("python3");
    command.args(["-c", TOY, broken]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// An attack on the toy, and all checks; what they say, if they fail.
fn attacked(broken: &str, framing: Framing) -> Result<(), String> {
    let world = World::new().unaudited();
    let command = toy(&world, broken);
    let attack = || {
        let mut victim = Victim::of(&world, command, framing);
        victim.refuses(b"{nonsense", -32700);
        for id in ["\"text\"", "1.50"] {
            victim.sidecar.send_body(stats(id).as_bytes());
            victim.goes_on();
        }
        assert_eq!(victim.answered("1.50"), 1, "an id came back as another");
        victim.unharmed();
    };
    said_by(attack)
}

/// What a check says when it fails.
fn said_by(check: impl FnOnce()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(check)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()))
            .unwrap_or_default()
    })
}

#[test]
fn a_toy_that_is_sound_passes_and_one_that_is_broken_does_not() {
    if !has("python3") {
        return;
    }
    for framing in FRAMINGS {
        attacked("no", framing).unwrap();
        for (broken, noticed) in [
            ("panics", "panicked"),
            ("dies", "closed its output"),
            ("hoards", "memory is not flat"),
            ("refuses twice", "left"),
            ("rounds ids", "an id came back as another"),
            ("completes twice", "after the completion"),
            (
                "answers twice",
                "\"text\" was asked 1 times and answered 2 times",
            ),
        ] {
            let said = attacked(broken, framing).expect_err(broken);
            assert!(said.contains(noticed), "{broken}: {said}");
        }
    }
}

#[test]
fn a_limit_that_is_raised_is_noticed_as_memory_that_is_not_flat() {
    let world = World::new();
    let weak = world.turnlane(&["--max-frame", "1073741824"]);
    let said = said_by(|| {
        let mut victim = Victim::of(&world, weak, Framing::Lines);
        victim.refuses(&vec![b'['; 96 << 20], -32700);
        victim.unharmed();
    });
    let said = said.expect_err("a frame of 96 MiB is held");
    assert!(said.contains("memory is not flat"), "{said}");
}

#[test]
fn a_count_of_values_that_is_raised_is_noticed_as_memory_that_is_not_flat() {
    let world = World::configured("[limits]\njson_values = 1000000000\n");
    let said = said_by(|| {
        let mut victim = Victim::of(&world, world.turnlane(&[]), Framing::Lines);
        let many = vec!["\"a\""; 3 << 20].join(",");
        let wait = super::request("1000000", "run/wait", &format!("{{\"runIds\":[{many}]}}"));
        victim.sidecar.send_body(wait.as_bytes());
        victim.answer("1000000");
        victim.unharmed();
    });
    let said = said.expect_err("millions of values are parsed");
    assert!(said.contains("memory is not flat"), "{said}");
}

#[test]
fn a_sidecar_that_goes_with_its_reader_or_with_its_log_is_noticed() {
    if !has("python3") {
        return;
    }
    // A toy dies of what it can't write.
    let world = World::new().unaudited();
    let said = said_by(|| pipes::outlives_its_reader(toy(&world, "no")));
    let said = said.expect_err("it goes with its reader");
    assert!(
        said.contains("BrokenPipe") || said.contains("Broken pipe"),
        "{said}"
    );
    for (broken, goes) in [("no", false), ("must log", true)] {
        let mut command = toy(&world, broken);
        let (unread, closed) = std::io::pipe().unwrap();
        command.stderr(closed);
        drop(unread);
        let said = said_by(|| Victim::of(&world, command, Framing::Lines).unharmed());
        assert_eq!(said.is_err(), goes, "{said:?}");
    }
}

#[test]
fn a_sidecar_that_reads_on_while_nobody_reads_its_answers_is_noticed() {
    let world = World::configured("[limits]\nunread_answer_bytes = 1073741824\nrequests = 1000\n");
    let said = said_by(|| pipes::stops_with_its_reader(&world, Framing::Lines));
    let said = said.expect_err("it reads on");
    assert!(said.contains("nobody reads the answers"), "{said}");
}
