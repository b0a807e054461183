//! What a line that is too long to be held is about: whom it asks or answers stands in it somewhere, and can be had in passing.

use agent_client_protocol::RawJsonRpcId;
use serde_json::value::RawValue;

/// Longest name or value that is looked at, as it stands in the line.
const HELD_BYTES: usize = 4 << 10;

/// Follows a line from its first byte, and holds next to nothing of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Skim {
    bytes: u64,
    /// How many objects and arrays are open.
    depth: u64,
    in_string: bool,
    escaped: bool,
    /// It is no object: nothing in it matters.
    is_other: bool,
    /// The name of the member that is being read, as it stands there.
    name: Vec<u8>,
    /// What was read of that name, or of the value, outside of objects and arrays in it.
    part: Vec<u8>,
    /// Whether that part is longer than is held.
    is_cut: bool,
    is_message: bool,
    has_method: bool,
    id: Option<Vec<u8>>,
}

/// What a line is.
#[derive(Debug)]
pub(super) enum About {
    /// It asks something under this id, as it stands there.
    Request(Box<RawValue>),
    /// It answers what was asked under this id.
    Response(RawJsonRpcId),
    /// Nobody waits for it.
    Nothing,
}

impl Skim {
    /// Takes the next bytes of the line.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let mut rest = bytes;
        while !self.is_other {
            if self.in_string && !self.escaped && self.depth > 1 {
                // Nearly all of a long line is this.
                let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                rest = &rest[end..];
            }
            let Some((&byte, after)) = rest.split_first() else {
                return;
            };
            self.step(byte);
            rest = after;
        }
    }

    /// How long the line is so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the line is, once it is at its end.
    pub(super) fn about(&self) -> About {
        let id = (self.id.as_deref())
            .filter(|_| self.is_message && self.depth == 0)
            .and_then(|id| serde_json::from_slice::<Box<RawValue>>(id).ok());
        match id {
            Some(id) if self.has_method => About::Request(id),
            Some(id) => serde_json::from_str(id.get()).map_or(About::Nothing, About::Response),
            None => About::Nothing,
        }
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            self.hold(byte);
            if self.escaped {
                self.escaped = false;
            } else if byte == b'\\' {
                self.escaped = true;
            } else if byte == b'"' {
                self.in_string = false;
            }
            return;
        }
        match byte {
            b' ' | b'\t' | b'\r' => {}
            b'{' | b'[' => {
                self.is_other |= self.depth == 0 && byte == b'[';
                self.depth += 1;
            }
            b'}' | b']' => {
                if self.depth == 1 {
                    self.member();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b':' if self.depth == 1 => {
                self.name = std::mem::take(&mut self.part);
                self.is_cut = false;
            }
            b',' if self.depth == 1 => self.member(),
            _ => {
                self.is_other |= self.depth == 0;
                self.in_string = byte == b'"';
                self.hold(byte);
            }
        }
    }

    fn hold(&mut self, byte: u8) {
        if self.depth != 1 {
            return;
        }
        if self.part.len() < HELD_BYTES {
            self.part.push(byte);
        } else {
            self.is_cut = true;
        }
    }

    /// A member of the message is at its end.
    fn member(&mut self) {
        let name = std::mem::take(&mut self.name);
        let value = std::mem::take(&mut self.part);
        let is_cut = std::mem::take(&mut self.is_cut);
        match serde_json::from_slice::<String>(&name).as_deref() {
            Ok("jsonrpc") => self.is_message = value == b"\"2.0\"",
            Ok("method") => self.has_method = true,
            // One that can't be given back is answered as one that could not be read.
            Ok("id") if is_cut || value.is_empty() => self.id = Some(b"null".to_vec()),
            Ok("id") => self.id = Some(value),
            Ok(_) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a line is about, wherever it is split.
    fn about(line: &str) -> String {
        let told = |pieces: &[&[u8]]| {
            let mut skim = Skim::default();
            pieces.iter().for_each(|piece| skim.feed(piece));
            assert_eq!(skim.bytes(), line.len() as u64);
            match skim.about() {
                About::Request(id) => format!("request {id}"),
                About::Response(id) => format!("response {id}"),
                About::Nothing => "nothing".to_owned(),
            }
        };
        let whole = told(&[line.as_bytes()]);
        for at in 0..line.len().min(200) {
            let (one, two) = line.as_bytes().split_at(at);
            assert_eq!(told(&[one, two]), whole, "split at {at}");
        }
        whole
    }

    #[test]
    fn who_is_asked_or_answered_is_found_wherever_it_stands() {
        let long = "x".repeat(10_000);
        for (line, expected) in [
            (
                format!(
                    r#"{{"jsonrpc":"2.0","id":7,"result":{{"id":8,"method":"m","a":"{long}"}}}}"#
                ),
                "response 7",
            ),
            (
                format!(
                    r#"{{"result":["{long}",{{"id":8}}], "jsonrpc" : "2.0" , "id" : "a\"b" }}"#
                ),
                "response a\"b",
            ),
            (
                format!(r#"{{"jsonrpc":"2.0","\u0069d":1,"result":"{long}\\\",\"id\":2"}}"#),
                "response 1",
            ),
            (
                format!(r#"{{"params":{{"a":"{long}"}},"method":"m","id":2.5,"jsonrpc":"2.0"}}"#),
                "request 2.5",
            ),
            (
                format!(r#"{{"jsonrpc":"2.0","id":"{long}","method":"m"}}"#),
                "request null",
            ),
            (
                format!(r#"{{"jsonrpc":"2.0","id":{{"a":1}},"method":"{long}"}}"#),
                "request null",
            ),
            (
                format!(r#"{{"jsonrpc":"2.0","method":"session/update","params":"{long}"}}"#),
                "nothing",
            ),
            (
                format!(r#"{{"level":"info","id":1,"msg":"{long}"}}"#),
                "nothing",
            ),
            (
                format!(r#"{{"jsonrpc":"2.0","id":1,"result":"{long}"#),
                "nothing",
            ),
            (
                format!(r#"[{{"jsonrpc":"2.0","id":1,"result":"{long}"}}]"#),
                "nothing",
            ),
            (
                format!(r#"log: {{"jsonrpc":"2.0","id":1,"result":"{long}"}}"#),
                "nothing",
            ),
        ] {
            assert_eq!(about(&line), expected, "{}", &line[..60]);
        }
    }
}
