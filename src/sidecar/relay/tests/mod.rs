//! A relay between a client and owners that say what a test has them say.

mod keeping;
mod leaving;
mod losing;
mod passing;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Found, Owners, Relay, Tell, Told, ends};
use crate::protocol::{ATTACH, AttachParams, Following, RpcError};
use crate::sidecar::pulse::{Subject, reach};
use crate::sidecar::{Config, Flags};
use crate::store::StoreError;
use crate::wire::Ends;

/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Owners on a socket, one after the other.
struct Listed {
    socket: PathBuf,
    /// From here on there will be none.
    fails: Arc<Mutex<Option<StoreError>>>,
    settled: Arc<Mutex<bool>>,
}

impl Owners for Listed {
    fn find(&mut self) -> Result<Found, StoreError> {
        if let Some(error) = self.fails.lock().unwrap().clone() {
            return Err(error);
        }
        Ok(match reach(&self.socket) {
            Ok(socket) => Found::Owner(ends(socket).unwrap()),
            Err(_) => Found::NotYet(Duration::from_millis(1)),
        })
    }

    fn subject(&mut self) -> Option<Box<dyn Subject>> {
        None
    }

    fn may_go_on(&mut self, refusal: &RpcError) -> bool {
        refusal.message == "not me"
    }

    fn settle(&mut self, _: Receiver<Told>) -> Result<(), StoreError> {
        *self.settled.lock().unwrap() = true;
        Ok(())
    }
}

/// A relay under way, and its client's end of it.
struct World {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    listener: Option<UnixListener>,
    client: BufReader<UnixStream>,
    tell: Tell,
    fails: Arc<Mutex<Option<StoreError>>>,
    settled: Arc<Mutex<bool>>,
    relay: JoinHandle<Result<(), StoreError>>,
}

fn config() -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    let flags = Flags {
        config: Some(file.path().into()),
        store: Some(":memory:".into()),
        ..Flags::default()
    };
    Config::load(&flags).unwrap()
}

fn who() -> AttachParams {
    AttachParams {
        attach: ATTACH,
        pid: 7,
        ..AttachParams::default()
    }
}

fn world() -> World {
    world_of(&config())
}

fn world_of(config: &Config) -> World {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("owner.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (theirs, ours) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    let ends = Ends::new(theirs.try_clone().unwrap().into(), theirs.into()).unwrap();
    let (fails, settled) = (Arc::default(), Arc::default());
    let owners = Listed {
        socket: socket.clone(),
        fails: Arc::clone(&fails),
        settled: Arc::clone(&settled),
    };
    let relay = Relay::new(config, PATIENCE, who(), ends, owners).unwrap();
    let tell = relay.teller();
    World {
        _directory: directory,
        socket,
        listener: Some(listener),
        client: BufReader::new(ours),
        tell,
        fails,
        settled,
        relay: std::thread::spawn(move || relay.run()),
    }
}

impl World {
    /// The next owner, asked to take the client.
    fn owner(&mut self) -> Owner {
        let (stream, _) = self.listener.as_ref().unwrap().accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut owner = Owner {
            stream: BufReader::new(stream),
            attach: Value::Null,
        };
        let attach: Value = serde_json::from_slice(&owner.hear()).unwrap();
        assert_eq!(attach["method"], "$/attach");
        owner.attach = attach["params"].clone();
        owner
    }

    /// The next owner, which takes the client.
    fn welcome(&mut self) -> Owner {
        let mut owner = self.owner();
        owner.say(&attached("store:0", true));
        owner
    }

    /// Nobody is there from here on.
    fn alone(&mut self) {
        self.listener = None;
        std::fs::remove_file(&self.socket).unwrap();
    }

    /// Somebody is there again.
    fn listen(&mut self) {
        self.listener = Some(UnixListener::bind(&self.socket).unwrap());
    }

    fn say(&mut self, text: &str) {
        let client = self.client.get_mut();
        client.write_all(format!("{text}\n").as_bytes()).unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.client.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "{line:?}: the end");
        line.trim_end().to_owned()
    }

    fn hear_json(&mut self) -> Value {
        serde_json::from_str(&self.hear()).unwrap()
    }

    /// Loses its owner; once this is over the relay has noticed.
    fn lose(&mut self, mut owner: Owner) {
        self.say(&request(99, "stats", &json!({})));
        owner.hear();
        drop(owner);
        let lost = self.hear_json();
        assert_eq!((kind(&lost), &lost["id"]), ("ownerLost", &json!(99)));
    }

    fn hang_up(&mut self) {
        self.client.get_mut().shutdown(Shutdown::Write).unwrap();
    }

    /// What is said until the end, and how it ended.
    fn end(mut self) -> (String, Result<(), StoreError>) {
        let mut rest = String::new();
        self.client.read_to_string(&mut rest).unwrap();
        let ended = self.relay.join().unwrap();
        assert!(*self.settled.lock().unwrap());
        (rest, ended)
    }
}

/// An owner's end of a connection.
struct Owner {
    stream: BufReader<UnixStream>,
    /// What it was told of the client.
    attach: Value,
}

impl Owner {
    fn say(&mut self, text: &str) {
        let framed = format!("Content-Length: {}\r\n\r\n{text}", text.len());
        self.stream.get_mut().write_all(framed.as_bytes()).unwrap();
    }

    /// A message, as its bytes.
    fn hear(&mut self) -> Vec<u8> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.stream.read_line(&mut head).unwrap() > 0, "the end");
        }
        let length = head.trim().strip_prefix("Content-Length: ").unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        body
    }

    fn hear_json(&mut self) -> Value {
        serde_json::from_slice(&self.hear()).unwrap()
    }

    fn hears_the_end(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }

    /// Takes a request, and answers it with this.
    fn answer(&mut self, result: &Value) -> Value {
        let asked = self.hear_json();
        self.say(&answer(&asked["id"], result));
        asked
    }
}

fn request(id: u64, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

fn note(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
}

fn answer(id: &Value, result: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
}

fn attached(cursor: &str, resumed: bool) -> String {
    note(
        "$/attached",
        &json!({"attach": ATTACH, "version": "x", "cursor": cursor, "resumed": resumed}),
    )
}

fn added(session: &str, cursor: &str) -> String {
    Following::Added {
        added: crate::domain::SessionId::parse(session).unwrap(),
        cursor: cursor.into(),
    }
    .to_json()
}

fn kind(answer: &Value) -> &str {
    answer["error"]["data"]["kind"].as_str().unwrap_or_default()
}
