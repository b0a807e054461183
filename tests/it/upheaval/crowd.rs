//! Many clients of one process, and such as mean harm: each costs so much and no more, and the others are served.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::harness::{HARD_LIMIT, Sidecar, World, number, text};

const CLIENTS: usize = 1_000;
const STATS: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\"}\n";
/// Memory that a client may cost who asks for little.
const EACH_BYTES: u64 = 64 << 10;
/// Memory that those may cost who mean harm, all together: one of them may leave 32 MiB of answers unread.
const HARM_BYTES: u64 = 64 << 20;
/// How long others may have to wait for them: a turn of everybody's takes 50 ms, on a machine that does nothing else.
const HELD_UP: Duration = Duration::from_secs(10);
/// More than the longest frame.
const LONG: usize = 24 << 20;
/// More than anybody has to take of one of them.
const MUCH: usize = 256 << 20;

/// A client that speaks with the socket itself.
struct Visitor(BufReader<UnixStream>);

impl Visitor {
    fn new(world: &World) -> Self {
        let stream = UnixStream::connect(world.store().join("owner.sock")).unwrap();
        stream.set_read_timeout(Some(HARD_LIMIT)).unwrap();
        stream.set_write_timeout(Some(HARD_LIMIT)).unwrap();
        Self(BufReader::new(stream))
    }

    /// One that has asked.
    fn asking(world: &World) -> Self {
        let mut visitor = Self::new(world);
        assert!(visitor.say(STATS));
        visitor
    }

    /// Says something; `false` if nobody listens any more.
    fn say(&mut self, what: &[u8]) -> bool {
        self.0.get_mut().write_all(what).is_ok()
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "no answer");
                None
            }
        }
    }

    fn stats(&mut self) -> Value {
        self.say(STATS);
        self.line().expect("an answer")
    }

    /// Waits until the other side ends the connection; what it said before.
    fn until_its_end(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => rest,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "it is not ended");
                rest
            }
        }
    }
}

fn begun(world: &World, role: &str) -> Sidecar {
    let mut sidecar = world.start();
    assert_eq!(sidecar.ok("initialize", json!({}))["role"], role);
    sidecar
}

fn many_files() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, all).unwrap();
}

fn refused(answer: &Value) -> bool {
    let refused = answer["error"]["data"]["kind"] == "overloaded";
    assert!(refused || answer["result"]["ownerPid"].is_u64(), "{answer}");
    refused
}

#[test]
fn a_thousand_clients_are_served_one_more_is_refused_and_a_place_that_is_left_is_taken() {
    many_files();
    let world = World::new();
    let mut owner = begun(&world, "owner");
    let calm = owner.memory();
    let mut visitors: Vec<Visitor> = Vec::new();
    for round in 0..3 {
        if round > 0 {
            visitors.iter_mut().for_each(|it| assert!(it.say(STATS)));
        } else {
            visitors.extend((0..CLIENTS).map(|_| Visitor::asking(&world)));
        }
        for visitor in &mut visitors {
            let answer = visitor.line().unwrap();
            assert!(!refused(&answer));
            assert_eq!(answer["id"], 1);
        }
    }
    let stats = owner.ok("stats", json!({}));
    assert_eq!(number(&stats["clients"]), CLIENTS as u64 + 1);
    let grown = owner.memory().saturating_sub(calm);
    assert!(grown < CLIENTS as u64 * EACH_BYTES, "{grown} bytes for all");

    let mut late = Visitor::new(&world);
    let answer = late.stats();
    assert!(refused(&answer) && answer["id"].is_null(), "{answer}");
    assert!(
        text(&answer["error"]["message"]).contains("1000"),
        "{answer}"
    );
    assert_eq!(late.until_its_end(), b"");
    let mut late = world.start();
    late.refused("initialize", json!({}), "overloaded");
    assert_ne!(late.wait_exit().code(), Some(0));

    drop(visitors.pop());
    let until = Instant::now() + HARD_LIMIT;
    while refused(&Visitor::new(&world).stats()) {
        assert!(Instant::now() < until, "the place stays taken");
    }
    for visitor in &mut visitors {
        assert!(!refused(&visitor.stats()));
    }
    drop(visitors);
    owner.leave();
}

/// Does harm; who stays until it is over.
type Harm = fn(&World) -> Vec<Visitor>;

/// Garbage that looks like nothing.
fn garbage(world: &World) -> Vec<Visitor> {
    for seed in 1..10_u64 {
        let mut dice = seed;
        let bytes = (0..10_000).map(|_| {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33).to_le_bytes()[0]
        });
        let bytes: Vec<u8> = bytes.collect();
        let mut visitor = Visitor::new(world);
        visitor.say(&bytes);
        let _ = visitor.0.get_mut().shutdown(std::net::Shutdown::Write);
        visitor.until_its_end();
    }
    Vec::new()
}

/// Half a frame of each kind, and then nothing; they stay until the end.
fn halves(world: &World) -> Vec<Visitor> {
    let said: [&[u8]; 5] = [
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"meth",
        b"Content-Length: 16000000\r\n\r\n{\"jsonrpc",
        b"Content-Length: 1",
        b"C",
        b"[",
    ];
    let twenty = said.iter().cycle().take(100);
    twenty
        .map(|half| {
            let mut visitor = Visitor::new(world);
            visitor.say(half);
            visitor
        })
        .collect()
}

/// A header, and a line, without an end.
fn endless(world: &World) -> Vec<Visitor> {
    for (begin, piece, ends) in [
        (&b"Content-Length: 1\r\nX: "[..], vec![b'x'; 1 << 16], true),
        (b"Content-Length: 1\r\n", b"X: y\r\n".repeat(10_000), true),
        (b"{\"jsonrpc\":\"2.0\",\"x\":\"", vec![b'x'; 1 << 16], false),
    ] {
        let mut visitor = Visitor::new(world);
        visitor.say(begin);
        let mut said = 0;
        while said < LONG && visitor.say(&piece) {
            said += piece.len();
        }
        assert_eq!(said < LONG, ends, "{said} bytes of {begin:?}");
    }
    Vec::new()
}

/// Asks and asks, and reads nothing. It stays until the end.
fn deaf(world: &World) -> Vec<Visitor> {
    let question = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"run/list\"}\n";
    let mut visitor = Visitor::new(world);
    let patience = Some(Duration::from_secs(2));
    visitor.0.get_mut().set_write_timeout(patience).unwrap();
    let many = question.repeat(1 + (1 << 16) / question.len());
    let mut said = 0;
    while said < MUCH && visitor.say(&many) {
        said += many.len();
    }
    assert!(said < MUCH, "everything is taken from who reads nothing");
    vec![visitor]
}

/// What only a process of ours says, said wrongly.
fn impostors(world: &World) -> Vec<Visitor> {
    let env: String = (0..2_000)
        .map(|no| format!("\"V{no}\":\"{no}\","))
        .collect();
    let state = json!({"initialized": true, "cursor": "nonsense:99", "sessions": ["none"], "output": true,
        "opened": [{"sessionId": "none"}], "leases": [{"deliveryId": "none", "leaseMs": 1}]});
    let whole = |more: &str| {
        format!(
            r#"{{"attach":1,"version":"0","instanceId":"i","pid":1,"cwd":"relative","env":{{{env}"A":"b"}}{more}}}"#
        )
    };
    let said = [
        "7".to_owned(),
        "null".to_owned(),
        "[1,2]".to_owned(),
        r#"{"attach":"x"}"#.to_owned(),
        r#"{"attach":99,"version":"9.9","instanceId":"i"}"#.to_owned(),
        r#"{"attach":1,"env":[]}"#.to_owned(),
        whole(""),
        whole(&format!(r#","state":{state}"#)),
        whole(&format!(r#","state":{}"#, json!({"cursor": 5}))),
    ];
    for params in said {
        let message =
            format!("{{\"jsonrpc\":\"2.0\",\"method\":\"$/attach\",\"params\":{params}}}\n");
        let mut visitor = Visitor::new(world);
        // Said twice, and with a request after it.
        visitor.say(message.as_bytes());
        visitor.say(message.as_bytes());
        visitor.say(STATS);
        let _ = visitor.0.get_mut().shutdown(std::net::Shutdown::Write);
        let answer = String::from_utf8(visitor.until_its_end()).unwrap();
        assert!(
            answer.contains("\"jsonrpc\""),
            "{params:.60}: {answer:.400}"
        );
    }
    Vec::new()
}

/// Pulses that nobody reads, and what begins as one.
fn pulses(world: &World) -> Vec<Visitor> {
    let mut visitor = Visitor::new(world);
    let mut said = 0;
    while said < MUCH && visitor.say(&[b'p'; 1 << 16]) {
        said += 1 << 16;
    }
    assert!(said < MUCH);
    let mut visitor = Visitor::new(world);
    visitor.say(b"pq");
    let mut rest = [0; 8];
    while !matches!(visitor.0.read(&mut rest), Ok(0) | Err(_)) {}
    Vec::new()
}

#[test]
fn clients_that_mean_harm_cost_little_and_keep_nobody_waiting() {
    let world = World::new();
    let mut owner = begun(&world, "owner");
    owner.open("s", "script");
    let mut innocent = begun(&world, "attached");
    for _ in 0..20 {
        let run = innocent.prompt("s", "say hello");
        innocent.ended(&run, "completed");
    }
    let harm: [(&str, Harm); 6] = [
        ("garbage", garbage),
        ("halves", halves),
        ("endless", endless),
        ("impostors", impostors),
        ("pulses", pulses),
        ("deaf", deaf),
    ];
    for (name, harm) in harm {
        let calm = owner.memory();
        owner.forget_peak();
        let mut slowest = Duration::ZERO;
        let held = thread::scope(|scope| {
            let world = &world;
            let harm = scope.spawn(move || harm(world));
            while !harm.is_finished() {
                let asked = Instant::now();
                let run = innocent.prompt("s", "say hello");
                innocent.ended(&run, "completed");
                slowest = slowest.max(asked.elapsed());
            }
            harm.join().unwrap()
        });
        let grown = owner.peak().saturating_sub(calm);
        eprintln!("{name}: {grown} bytes more than {calm}; others waited {slowest:?} at the most");
        assert!(grown < HARM_BYTES, "{name}");
        assert!(slowest < HELD_UP, "{name}");
        drop(held);
    }
    let until = Instant::now() + HARD_LIMIT;
    while number(&innocent.ok("stats", json!({}))["clients"]) > 2 {
        assert!(Instant::now() < until, "they are not gone");
    }
    innocent.leave();
    owner.leave();
}
