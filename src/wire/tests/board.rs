use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::envelope::BOUNDS;
use crate::protocol::{ATTACH, AttachParams};
use crate::wire::{
    Arrival, Bounds, Came, Connection, Door, Ends, Frame, Framing, Intake, Style, Switchboard,
};

/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

fn connect<I: Intake>(board: &mut Switchboard<I>, no: u64, door: Door) -> (Connection, UnixStream) {
    connect_with(board, no, door, BOUNDS)
}

fn connect_with<I: Intake>(
    board: &mut Switchboard<I>,
    no: u64,
    door: Door,
    bounds: Bounds,
) -> (Connection, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let ends = Ends::new(ours.try_clone().unwrap().into(), ours.into()).unwrap();
    let connection = board
        .connect(no, ends, Framing::Auto, bounds, door)
        .unwrap();
    (connection, theirs)
}

/// Turns until so much was told.
fn told<I: Intake>(board: &mut Switchboard<I>, count: usize) -> Vec<(u64, I::Told)> {
    let end = Instant::now() + PATIENCE;
    let mut told = Vec::new();
    while told.len() < count {
        assert!(Instant::now() < end, "nothing more is told");
        board.flush();
        board.wait(Some(PATIENCE));
        board.take(|no, it| told.push((no, it)));
        board.flush();
    }
    told
}

/// Turns while the other side, which does not wait, reads to the end.
fn read_to_end<I: Intake>(board: &mut Switchboard<I>, theirs: &mut UnixStream) -> Vec<u8> {
    theirs.set_nonblocking(true).unwrap();
    let end = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    loop {
        assert!(Instant::now() < end, "the end does not come");
        board.flush();
        match theirs.read_to_end(&mut said) {
            Ok(_) => return said,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                board.wait(Some(Duration::from_millis(1)));
            }
            // So ends a connection of which something was left unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return said,
            Err(error) => panic!("{error}"),
        }
    }
}

fn message(text: &str) -> Came {
    Came::Frame(Frame::Message(Bytes::copy_from_slice(text.as_bytes())))
}

#[test]
fn a_connection_that_is_given_up_is_written_to_its_end_and_tells_nothing_more() {
    let mut board = Switchboard::raw().unwrap();
    let (connection, mut theirs) = connect(&mut board, 1, Door::Own);
    theirs.write_all(b"{}\n").unwrap();
    assert_eq!(told(&mut board, 1), [(1, message("{}"))]);
    let text = format!("\"{}\"", "x".repeat(700_000));
    for _ in 0..3 {
        connection.send(text.clone());
    }
    theirs.write_all(b"{\"late\":1}\n").unwrap();
    board.disconnect(1);
    connection.send("\"swallowed\"".into());
    let said = read_to_end(&mut board, &mut theirs);
    assert_eq!(said, format!("{text}\n").repeat(3).as_bytes());
    assert!(connection.broken());
    board.wait(Some(Duration::ZERO));
    board.take(|_, told| panic!("{told:?}"));
}

#[test]
fn a_connection_that_is_given_up_and_not_read_is_freed_in_bound_and_nobody_waits_for_it() {
    let mut board = Switchboard::raw().unwrap();
    let (connection, mut stuck) = connect(&mut board, 1, Door::Own);
    stuck.write_all(b"{}\n").unwrap();
    told(&mut board, 1);
    connection.send(format!("\"{}\"", "x".repeat(4 << 20)));
    board.flush();
    let began = Instant::now();
    board.disconnect(1);
    let (_other, mut other) = connect(&mut board, 2, Door::Own);
    other.write_all(b"[]\n").unwrap();
    assert_eq!(told(&mut board, 1), [(2, message("[]"))]);
    while !connection.broken() {
        assert!(began.elapsed() < PATIENCE, "it is never freed");
        // A limit of time of its own brings the thread back.
        board.wait(Some(PATIENCE));
        board.flush();
    }
    assert_eq!(connection.unread(), 0);
    let mut rest = Vec::new();
    stuck.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 4 << 20);
}

#[test]
fn one_that_never_spoke_is_closed_at_once() {
    let mut board = Switchboard::raw().unwrap();
    let (connection, mut theirs) = connect(&mut board, 1, Door::Own);
    connection.send("\"early\"".into());
    board.disconnect(1);
    board.disconnect(1);
    board.disconnect(7);
    board.flush();
    assert!(connection.broken());
    assert_eq!(theirs.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn what_is_held_back_is_not_read_until_it_is_let_go_or_has_hung_up() {
    let mut board = Switchboard::raw().unwrap();
    let (_first, mut first) = connect(&mut board, 1, Door::Own);
    let (_second, mut second) = connect(&mut board, 2, Door::Own);
    board.hold_back(1, true);
    first.write_all(b"{\"a\":1}\n").unwrap();
    second.write_all(b"{\"b\":1}\n").unwrap();
    assert_eq!(told(&mut board, 1), [(2, message("{\"b\":1}"))]);
    second.write_all(b"{\"b\":2}\n").unwrap();
    assert_eq!(told(&mut board, 1), [(2, message("{\"b\":2}"))]);
    board.hold_back(1, false);
    assert_eq!(told(&mut board, 1), [(1, message("{\"a\":1}"))]);
    board.hold_back(1, true);
    first.write_all(b"{\"a\":2}").unwrap();
    first.shutdown(Shutdown::Write).unwrap();
    assert_eq!(
        told(&mut board, 2),
        [(1, message("{\"a\":2}")), (1, Came::Closed)]
    );
}

#[test]
fn messages_pass_byte_for_byte_and_an_output_can_end_before_the_input() {
    let mut board = Switchboard::raw().unwrap();
    let (connection, mut theirs) = connect(&mut board, 1, Door::Own);
    connection.begin(Style::Headers);
    let odd = b"{\"a\":\n\"\xe2\x80\xa8\xff\"}";
    connection.pass(odd.to_vec());
    board.end_output(1);
    connection.pass(b"{}".to_vec());
    let said = read_to_end(&mut board, &mut theirs);
    assert_eq!(
        said,
        [b"Content-Length: 13\r\n\r\n".as_slice(), odd].concat()
    );
    theirs.write_all(b"Content-Length: 2\r\n\r\n{}").unwrap();
    assert_eq!(told(&mut board, 1), [(1, message("{}"))]);
    theirs.write_all(b"hello\r\n\r\n").unwrap();
    let unreadable = told(&mut board, 2);
    assert!(matches!(
        unreadable[..],
        [(1, Came::Frame(Frame::Unreadable(_))), (1, Came::Closed)]
    ));
}

fn attach(name: &str) -> String {
    let params = AttachParams {
        attach: ATTACH,
        instance_id: name.into(),
        ..AttachParams::default()
    };
    format!("{}\n", params.to_json())
}

#[test]
fn only_the_first_message_through_the_socket_says_who_passes_a_client_on() {
    let mut board = Switchboard::new().unwrap();
    let (_own, mut own) = connect(&mut board, 1, Door::Own);
    let (_far, mut far) = connect(&mut board, 2, Door::Socket);
    let call = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\"}\n";
    own.write_all(format!("{}{call}", attach("no")).as_bytes())
        .unwrap();
    let arrivals = told(&mut board, 1);
    assert!(matches!(&arrivals[..], [(1, Arrival::Calls(calls))] if calls.len() == 1));
    far.write_all(format!("{}{}{call}", attach("yes"), attach("again")).as_bytes())
        .unwrap();
    let arrivals = told(&mut board, 2);
    assert!(
        matches!(&arrivals[..], [(2, Arrival::Attach(params)), (2, Arrival::Calls(calls))]
            if params.instance_id == "yes" && calls.len() == 1)
    );
}

#[test]
fn an_attach_may_be_large_and_nothing_else_may() {
    let bounds = Bounds {
        max_frame_bytes: 1_000,
        ..BOUNDS
    };
    let mut board = Switchboard::new().unwrap();
    let (_far, far) = connect_with(&mut board, 1, Door::Socket, bounds);
    let large = attach(&"x".repeat(300_000));
    let writer = std::thread::spawn(move || {
        let mut far = far;
        far.write_all(large.as_bytes()).unwrap();
        far.write_all(large.as_bytes()).unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        far
    });
    let arrivals = told(&mut board, 2);
    assert!(matches!(
        arrivals[..],
        [(1, Arrival::Attach(_)), (1, Arrival::Closed)]
    ));
    let mut far = writer.join().unwrap();
    board.close(PATIENCE);
    let mut said = String::new();
    far.read_to_string(&mut said).unwrap();
    assert!(said.contains("frameTooLarge"), "{said}");
}

#[test]
fn an_attach_that_cannot_be_read_is_refused_and_ends_the_input() {
    let mut board = Switchboard::new().unwrap();
    let (_far, mut far) = connect(&mut board, 1, Door::Socket);
    far.write_all(
        b"{\"jsonrpc\":\"2.0\",\"method\":\"$/attach\",\"params\":{\"attach\":\"x\"}}\n{}\n",
    )
    .unwrap();
    assert!(matches!(told(&mut board, 1)[..], [(1, Arrival::Closed)]));
    board.disconnect(1);
    let said = String::from_utf8(read_to_end(&mut board, &mut far)).unwrap();
    assert!(said.contains("$/refused"), "{said}");
    assert!(said.contains("invalidParams"), "{said}");
    assert_eq!(said.lines().count(), 1);
}
