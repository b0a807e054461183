use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::envelope::BOUNDS;
use crate::protocol::RpcError;
use crate::wire::{Arrival, Bounds, Call, Connection, Door, Ends, Framing, Switchboard};

/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the board waits for something of its own before the test looks at its end again.
const TURN: Duration = Duration::from_millis(1);

struct Client<W = UnixStream, R = UnixStream> {
    write: W,
    read: R,
    heard: Vec<u8>,
    arrivals: VecDeque<Arrival>,
    board: Switchboard,
    connection: Connection,
}

fn client(bounds: Bounds) -> Client {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let ends = [ours.try_clone().unwrap(), ours].map(OwnedFd::from);
    over(ends, theirs.try_clone().unwrap(), theirs, bounds)
}

fn over<W: Write, R: Read>(ends: [OwnedFd; 2], write: W, read: R, bounds: Bounds) -> Client<W, R> {
    let [input, output] = ends;
    let mut board = Switchboard::new().unwrap();
    let ends = Ends::new(input, output).unwrap();
    let connection = board
        .connect(1, ends, Framing::Auto, bounds, Door::Own)
        .unwrap();
    Client {
        write,
        read,
        heard: Vec::new(),
        arrivals: VecDeque::new(),
        board,
        connection,
    }
}

impl<W: Write, R: Read> Client<W, R> {
    fn say(&mut self, text: &str) {
        self.write_all(text.as_bytes());
        self.write_all(b"\n");
    }

    /// Writes it, while the board reads.
    fn write_all(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.write.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.turn(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn ask(&mut self, id: &str, method: &str) {
        self.say(&request(id, method));
    }

    fn turn(&mut self) {
        self.board.flush();
        self.board.wait(Some(TURN));
        let arrivals = &mut self.arrivals;
        self.board.take(|no, arrival| {
            assert_eq!(no, 1);
            arrivals.push_back(arrival);
        });
        self.board.flush();
    }

    /// A line, or what there is at the end.
    fn hear(&mut self) -> String {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(at) = self.heard.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=at).collect();
                return String::from_utf8(line).unwrap().trim_end().to_owned();
            }
            self.board.flush();
            let mut chunk = [0; 64 << 10];
            match self.read.read(&mut chunk) {
                Ok(0) => return String::from_utf8(std::mem::take(&mut self.heard)).unwrap(),
                Ok(bytes) => self.heard.extend(&chunk[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.turn(),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("nothing was said");
    }

    fn arrival(&mut self) -> Arrival {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(arrival) = self.arrivals.pop_front() {
                return arrival;
            }
            self.turn();
        }
        panic!("nothing arrived");
    }

    fn calls(&mut self) -> Vec<Call> {
        match self.arrival() {
            Arrival::Calls(calls) => calls,
            other @ (Arrival::Attach(_)
            | Arrival::Cancel(_)
            | Arrival::Drained
            | Arrival::Closed) => {
                panic!("{other:?}")
            }
        }
    }

    fn call(&mut self) -> Call {
        let mut calls = self.calls();
        assert_eq!(calls.len(), 1);
        calls.remove(0)
    }
}

fn request(id: &str, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"runId":"r"}}}}"#)
}

fn answer(call: Call, code: i32) {
    call.responder.answer(Err(RpcError {
        code,
        message: "m".into(),
        data: None,
    }));
}

fn error(id: &str, code: i32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"m"}}}}"#)
}

/// The id and the code of an answer.
fn told(line: &str) -> (String, i64) {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    (
        value["id"].to_string(),
        value["error"]["code"].as_i64().unwrap_or(0),
    )
}

#[test]
fn ids_of_every_kind_come_back_byte_for_byte() {
    let mut client = client(BOUNDS);
    for id in ["-7", "1.50", "\"a\\u0062\"", "18446744073709551616", "\"\""] {
        client.ask(id, "run/get");
        answer(client.call(), 1);
        assert_eq!(client.hear(), error(id, 1));
    }
}

#[test]
fn a_thousand_pipelined_calls_arrive_in_their_order() {
    let mut client = client(BOUNDS);
    let all: Vec<String> = (0..1000)
        .map(|id| request(&id.to_string(), "run/get"))
        .collect();
    client.say(&all.join("\n"));
    for no in 1..=1000 {
        let call = client.call();
        assert_eq!(call.no, no);
        answer(call, 1);
    }
    for id in 0..1000 {
        assert_eq!(client.hear(), error(&id.to_string(), 1));
    }
}

#[test]
fn an_answer_stands_where_it_was_given() {
    let mut client = client(BOUNDS);
    client.ask("1", "run/get");
    let call = client.call();
    client.connection.send("\"before\"".into());
    answer(call, 1);
    client.connection.send("\"after\"".into());
    assert_eq!(
        [client.hear(), client.hear(), client.hear()],
        ["\"before\"".into(), error("1", 1), "\"after\"".into()]
    );
}

#[test]
fn what_needs_no_loop_is_answered_at_once_and_notifications_never() {
    let mut client = client(BOUNDS);
    client.say(r#"{"jsonrpc":"2.0","method":"nonsense"}"#);
    client.say(r#"{"jsonrpc":"2.0","method":"$/setTrace","params":{}}"#);
    client.say(r#"{"jsonrpc":"2.0","method":"run/get","params":[1]}"#);
    client.ask("1", "$/nonsense");
    client.say(r#"{"jsonrpc":"2.0","id":2,"method":"run/get","params":[1]}"#);
    client.say("{");
    assert_eq!(told(&client.hear()), ("1".into(), -32601));
    assert_eq!(told(&client.hear()), ("2".into(), -32602));
    assert_eq!(told(&client.hear()), ("null".into(), -32700));
    client.say(r#"{"jsonrpc":"2.0","method":"run/get","params":{"runId":"r"}}"#);
    let call = client.call();
    assert!(!call.responder.heard());
    answer(call, 1);
    client.ask("3", "nonsense");
    assert_eq!(told(&client.hear()).0, "3");
}

#[test]
fn a_batch_is_answered_together_and_before_what_it_caused() {
    let mut client = client(BOUNDS);
    let note = r#"{"jsonrpc":"2.0","method":"run/get","params":{"runId":"r"}}"#;
    client.say(&format!(
        "[{},1,{note},{},{}]",
        request("1", "run/get"),
        request("2", "run/wait"),
        request("3", "run/get")
    ));
    let mut calls = client.calls();
    assert_eq!(
        calls.iter().map(|call| call.no).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    client.connection.send("\"event\"".into());
    assert!(client.connection.unread() > 0);
    answer(calls.pop().unwrap(), 3);
    answer(calls.remove(0), 1);
    let line = client.hear();
    let answers: Vec<serde_json::Value> = serde_json::from_str(&line).unwrap();
    let told: Vec<_> = answers
        .iter()
        .map(|answer| told(&answer.to_string()))
        .collect();
    let expected = [("1", 1), ("null", -32600), ("2", -32600), ("3", 3)];
    assert_eq!(told, expected.map(|(id, code)| (id.to_owned(), code)));
    assert_eq!(client.hear(), "\"event\"");
    client.say(&format!("[{note},{note}]"));
    assert_eq!(client.calls().len(), 2);
    client.ask("9", "nonsense");
    assert_eq!(self::told(&client.hear()).0, "9");
}

#[test]
fn a_cancel_request_names_the_latest_call_with_that_id() {
    let mut client = client(BOUNDS);
    client.ask("\"w\"", "run/wait");
    client.ask("\"w\"", "run/wait");
    let (first, second) = (client.call(), client.call());
    let cancel = r#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"w"}}"#;
    client.say(cancel);
    assert!(matches!(client.arrival(), Arrival::Cancel(2)));
    answer(second, -32800);
    client.say(cancel);
    assert!(matches!(client.arrival(), Arrival::Cancel(1)));
    answer(first, -32800);
    client.say(r#"{"jsonrpc":"2.0","id":5,"method":"$/cancelRequest","params":{"id":"w"}}"#);
    assert_eq!(
        [client.hear(), client.hear()],
        [error("\"w\"", -32800), error("\"w\"", -32800)]
    );
    assert_eq!(client.hear(), r#"{"jsonrpc":"2.0","id":5,"result":null}"#);
}

#[test]
fn a_cancel_request_is_read_as_every_method_is() {
    let mut client = client(BOUNDS);
    client.ask("1", "run/wait");
    let call = client.call();
    for (params, field) in [
        (r#"{"id":1,"ids":[1]}"#, "ids"),
        (r#"{"ID":1}"#, "ID"),
        (r#"{"id":1,"id":1}"#, "id"),
        ("{}", "id"),
        ("null", "id"),
        ("[1]", ""),
    ] {
        let request =
            |id| format!(r#"{{"jsonrpc":"2.0",{id}"method":"$/cancelRequest","params":{params}}}"#);
        client.say(&request(r#""id":2,"#));
        let refusal: serde_json::Value = serde_json::from_str(&client.hear()).unwrap();
        let error = &refusal["error"];
        assert_eq!(error["code"], -32602, "{params}: {refusal}");
        // What is no object has no field that could be named.
        if !field.is_empty() {
            assert_eq!(error["data"]["field"], field, "{params}: {refusal}");
        }
        // As a notification it does as little.
        client.say(&request(""));
    }
    let traced =
        r#"{"jsonrpc":"2.0","id":2,"method":"$/cancelRequest","params":{"id":1,"_by":"me"}}"#;
    client.say(traced);
    assert_eq!(client.hear(), r#"{"jsonrpc":"2.0","id":2,"result":null}"#);
    assert!(matches!(client.arrival(), Arrival::Cancel(1)));
    answer(call, -32800);
}

#[test]
fn over_the_bound_of_calls_further_ones_are_refused_until_one_is_answered() {
    let mut client = client(Bounds {
        requests: 2,
        ..BOUNDS
    });
    for id in ["1", "2", "3"] {
        client.ask(id, "run/wait");
    }
    assert_eq!(told(&client.hear()), ("3".into(), -32001));
    answer(client.call(), 1);
    assert_eq!(client.hear(), error("1", 1));
    client.ask("4", "run/wait");
    let (second, fourth) = (client.call(), client.call());
    drop(second);
    assert_eq!(told(&client.hear()), ("2".into(), -32603));
    answer(fourth, 4);
    assert_eq!(client.hear(), error("4", 4));
}

#[test]
fn over_the_bound_of_bytes_further_calls_are_refused_until_one_is_answered() {
    let mut client = client(Bounds {
        request_bytes: 20_000,
        ..BOUNDS
    });
    let ask = |client: &mut Client, id: &str, text: &str| {
        client.say(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"prompt","params":{{"sessionId":"s","prompt":"{text}"}}}}"#
        ));
    };
    // One alone may have more: it would never be taken otherwise.
    ask(&mut client, "1", &"x".repeat(30_000));
    ask(&mut client, "2", "y");
    assert_eq!(told(&client.hear()), ("2".into(), -32001));
    answer(client.call(), 1);
    assert_eq!(client.hear(), error("1", 1));
    for id in ["3", "4", "5"] {
        ask(&mut client, id, &"z".repeat(9_000));
    }
    let refused = client.hear();
    assert_eq!(told(&refused), ("5".into(), -32001));
    assert!(refused.contains("requestBytes"), "{refused}");
    // What is small as a text and large once it is parsed counts as what it is.
    answer(client.call(), 3);
    assert_eq!(client.hear(), error("3", 3));
    let many = vec![r#""r""#; 200].join(",");
    client.say(&format!(
        r#"{{"jsonrpc":"2.0","id":6,"method":"run/wait","params":{{"runIds":[{many}]}}}}"#
    ));
    assert_eq!(told(&client.hear()), ("6".into(), -32001));
    answer(client.call(), 4);
    assert_eq!(client.hear(), error("4", 4));
}

#[test]
fn a_slow_reader_is_offered_nothing_more_until_it_has_read() {
    let mut client = client(BOUNDS);
    client.ask("1", "run/get");
    answer(client.call(), 1);
    let text = format!("\"{}\"", "x".repeat(60_000));
    let mut offered = 0;
    while client.connection.offer(text.clone()) {
        offered += 1;
    }
    assert!(client.connection.unread() > BOUNDS.unread_bytes);
    client.connection.send("\"must\"".into());
    assert_eq!(client.hear(), error("1", 1));
    for _ in 0..offered {
        assert_eq!(client.hear(), text);
    }
    assert_eq!(client.hear(), "\"must\"");
    assert!(matches!(client.arrival(), Arrival::Drained));
    assert!(client.connection.offer("\"again\""));
    assert_eq!(client.hear(), "\"again\"");
}

#[test]
fn who_leaves_answers_unread_is_not_read_and_loses_nothing() {
    let mut client = client(Bounds {
        unread_answer_bytes: 1000,
        ..BOUNDS
    });
    let total = 20_000;
    let mut write = client.write.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        for id in 0..total {
            let line = format!("{}\n", request(&id.to_string(), "nonsense"));
            let mut left = line.as_bytes();
            while !left.is_empty() {
                match write.write(left) {
                    Ok(written) => left = &left[written..],
                    Err(_) => drop(poll(&mut [PollFd::new(&write, PollFlags::OUT)], None)),
                }
            }
        }
        write.shutdown(Shutdown::Write).unwrap();
    });
    for id in 0..total {
        assert_eq!(told(&client.hear()), (id.to_string(), -32601));
        assert!(client.connection.unread() < 1000 + 200, "it was read on");
    }
    writer.join().unwrap();
    assert!(matches!(client.arrival(), Arrival::Closed));
}

#[test]
fn a_client_that_is_gone_swallows_everything_and_closes_once() {
    let mut client = client(BOUNDS);
    client.ask("1", "run/wait");
    let call = client.call();
    client.read.shutdown(Shutdown::Both).unwrap();
    assert!(matches!(client.arrival(), Arrival::Closed));
    answer(call, 1);
    client.turn();
    assert!(client.connection.broken());
    client.connection.send("\"x\"".into());
    assert!(client.connection.offer("\"x\""));
    assert_eq!(client.connection.unread(), 0);
    client.turn();
    assert!(client.arrivals.is_empty());
    client.board.close(PATIENCE);
}

#[test]
fn closing_sends_what_is_queued_and_nothing_is_sent_before_the_first_message() {
    let mut silent = client(BOUNDS);
    silent.connection.send("\"early\"".into());
    silent.board.close(PATIENCE);
    assert!(silent.connection.broken());
    let mut client = client(BOUNDS);
    client.connection.send("\"held\"".into());
    client.ask("1", "run/get");
    answer(client.call(), 1);
    client.board.close(PATIENCE);
    assert_eq!(
        [client.hear(), client.hear()],
        ["\"held\"".into(), error("1", 1)]
    );
    silent.write.shutdown(Shutdown::Both).unwrap();
    assert_eq!(silent.hear(), "");
}

#[test]
fn a_header_block_that_cannot_be_read_is_answered_once_and_then_the_end_is_told() {
    let mut client = client(BOUNDS);
    client.say("hello\r\n\r\n");
    assert!(matches!(client.arrival(), Arrival::Closed));
    assert!(client.hear().starts_with("Content-Length: "));
    assert_eq!(client.hear(), "");
    client.board.close(PATIENCE);
}

/// Whatever the descriptors are, and whoever shares them: nothing about them is changed, and nothing is lost.
#[test]
fn pipes_are_read_and_written_without_a_change_to_their_flags() {
    use rustix::fs::{OFlags, fcntl_getfl};
    let (from, to) = std::io::pipe().unwrap();
    let (answers, out) = std::io::pipe().unwrap();
    let shared = [
        OwnedFd::from(from.try_clone().unwrap()),
        OwnedFd::from(out.try_clone().unwrap()),
    ];
    let flags = rustix::fs::fcntl_getfl(&answers).unwrap();
    rustix::fs::fcntl_setfl(&answers, flags | OFlags::NONBLOCK).unwrap();
    let mut client = over([from.into(), out.into()], to, answers, BOUNDS);
    let text = format!("\"{}\"", "x".repeat(300_000));
    client.ask("1", "run/get");
    answer(client.call(), 1);
    client.connection.send(text.clone());
    assert_eq!([client.hear(), client.hear()], [error("1", 1), text]);
    for fd in &shared {
        assert!(!fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK));
    }
}

#[test]
fn a_file_is_read_to_its_end_and_written_before_the_close_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let [input, output] = ["in", "out"].map(|name| directory.path().join(name));
    let requests: Vec<String> = (0..1000)
        .map(|id| request(&id.to_string(), "run/get"))
        .collect();
    std::fs::write(&input, requests.join("\n")).unwrap();
    let ends = [
        std::fs::File::open(&input).unwrap().into(),
        std::fs::File::create(&output).unwrap().into(),
    ];
    let mut client = over(ends, std::io::sink(), std::io::empty(), BOUNDS);
    for _ in 0..1000 {
        answer(client.call(), 1);
    }
    assert!(matches!(client.arrival(), Arrival::Closed));
    client.board.close(PATIENCE);
    let written = std::fs::read_to_string(&output).unwrap();
    let expected: Vec<String> = (0..1000).map(|id| error(&id.to_string(), 1)).collect();
    assert_eq!(written.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_bell_that_rings_before_the_wait_is_heard_in_it() {
    let mut board = Switchboard::new().unwrap();
    let bell = board.bell();
    board.doze();
    bell.ring();
    let began = Instant::now();
    board.wait(Some(PATIENCE));
    assert!(began.elapsed() < PATIENCE / 2);
}
