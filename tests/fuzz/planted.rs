//! Each property fails when what it looks at is broken: bugs are planted here, of the kinds that others had.

use bytes::BytesMut;
use turnlane::protocol::{Request, RpcError};
use turnlane::sidecar::Config;
use turnlane::wire::{Frame, FrameCodec, Framing};

use crate::properties::codec::{self, Cutter};
use crate::properties::envelope::{self, One, Seen};
use crate::properties::terminal::{self, Found};
use crate::properties::{Verdict, config, connection, names, params};
use crate::{corpus, tried};

/// A planted bug is found in the corpus or in its variations.
fn caught(name: &str, property: impl Fn(&[u8]) -> Verdict) -> String {
    let in_corpus = corpus(name)
        .iter()
        .find_map(|(_, bytes)| property(bytes).err());
    in_corpus
        .or_else(|| tried(name, property).err())
        .unwrap_or_else(|| panic!("nobody notices this bug in {name}"))
}

#[test]
fn a_codec_without_a_limit_is_noticed() {
    caught("codec", |data| {
        codec::holds_for(data, |framing, _| FrameCodec::new(framing, 1 << 20))
    });
}

/// Forgets where it was whenever it needs more.
struct Forgetful(FrameCodec, Framing, usize);

impl Cutter for Forgetful {
    fn next(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        let frame = self.0.next(buffer);
        if frame.is_none() {
            self.0 = FrameCodec::new(self.1, self.2);
        }
        frame
    }

    fn last(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        self.0.last(buffer)
    }
}

#[test]
fn a_codec_that_forgets_where_it_was_is_noticed() {
    caught("codec", |data| {
        codec::holds_for(data, |framing, limit| {
            Forgetful(FrameCodec::new(framing, limit), framing, limit)
        })
    });
}

/// Takes the frame after a bad one for a part of it.
struct Greedy(FrameCodec, bool);

impl Cutter for Greedy {
    fn next(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        let frame = self.0.next(buffer)?;
        let after_bad = std::mem::replace(&mut self.1, matches!(frame, Frame::TooLarge { .. }));
        if after_bad {
            self.next(buffer)
        } else {
            Some(frame)
        }
    }

    fn last(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        self.0.last(buffer)
    }
}

#[test]
fn a_codec_that_loses_the_frame_after_a_bad_one_is_noticed() {
    caught("codec", |data| {
        codec::holds_for(data, |framing, limit| {
            Greedy(FrameCodec::new(framing, limit), false)
        })
    });
}

/// The real reading, with each entry changed.
fn envelopes_through(change: impl Fn(One) -> One) -> String {
    caught("envelope", |data| {
        envelope::holds_for(data, |bytes, bounds| match envelope::see(bytes, bounds) {
            Seen::Single(one) => Seen::Single(change(one)),
            Seen::Batch(all) => Seen::Batch(all.into_iter().map(&change).collect()),
            whole @ Seen::Whole(_) => whole,
        })
    })
}

#[test]
fn ids_that_pass_through_floating_point_are_noticed() {
    envelopes_through(|one| match one {
        One::Call(Some(id), method, params) => {
            let id = id.parse::<f64>().map_or(id, |number| number.to_string());
            One::Call(Some(id), method, params)
        }
        other @ (One::Call(None, ..) | One::Answer | One::Invalid(..)) => other,
    });
}

#[test]
fn a_request_with_a_negative_id_that_is_taken_for_a_notification_is_noticed() {
    envelopes_through(|one| match one {
        One::Call(Some(id), method, params) if id.starts_with('-') => {
            One::Call(None, method, params)
        }
        other @ (One::Call(..) | One::Answer | One::Invalid(..)) => other,
    });
}

#[test]
fn an_unknown_parameter_that_is_overlooked_is_noticed() {
    caught("params", |data| {
        params::holds_for(data, |method, text| {
            let known = text.replace("\"colour\"", "\"_colour\"");
            Request::parse(method, Some(&known))
        })
    });
}

#[test]
fn a_refusal_that_repeats_what_was_sent_is_noticed() {
    let long = [&[0][..], b"{\"processId\":\"", &[b'x'; 70_000], b"\"}"].concat();
    let verdict = params::holds_for(&long, |method, text| {
        Request::parse(method, Some(text)).map_err(|error| RpcError {
            message: format!("{error}: {text}"),
            ..error
        })
    });
    assert!(verdict.is_err_and(|why| why.contains("bytes")));
}

#[test]
fn a_refusal_that_names_no_field_is_noticed() {
    caught("params", |data| {
        params::holds_for(data, |method, text| {
            Request::parse(method, Some(text)).map_err(|error| RpcError {
                data: None,
                ..error
            })
        })
    });
}

#[test]
fn a_connection_that_answers_twice_or_never_is_noticed() {
    let said_through = |change: fn(&str) -> String| {
        caught("connection", |data| {
            connection::holds_for(data, |pieces| {
                let said = connection::answers_to(pieces);
                change(&String::from_utf8_lossy(&said)).into_bytes()
            })
        });
    };
    said_through(|said| said.repeat(2));
    said_through(|said| {
        said.lines()
            .skip(1)
            .map(|line| format!("{line}\n"))
            .collect()
    });
    said_through(|said| said.replace("-1.50", "-1.5"));
    said_through(|said| said.replace("},{\"jsonrpc\"", "}]\n[{\"jsonrpc\""));
}

#[test]
fn a_configuration_fault_without_its_line_is_noticed() {
    caught("config", |data| {
        config::holds_for(data, |flags| {
            Config::load(flags).map_err(|why| why.replace("line", "place"))
        })
    });
    caught("config", |data| {
        config::holds_for(data, |flags| {
            Config::load(flags).map(|mut config| {
                config.agents.remove("sh");
                config
            })
        })
    });
}

#[test]
fn an_id_that_is_put_right_is_noticed() {
    caught("names", |data| {
        names::holds_for(data, |text| {
            let text = text.trim();
            turnlane::domain::SessionId::parse(text)
                .ok()
                .map(|id| id.as_str().to_owned())
        })
    });
}

#[test]
fn a_finder_that_forgets_or_swallows_is_noticed() {
    let forgets = |parts: &[&[u8]]| {
        let mut all = Found {
            bytes: Vec::new(),
            reports: Vec::new(),
            held: 0,
        };
        for part in parts {
            let found = terminal::find(&[part]);
            let before = all.bytes.len();
            let reports = found.reports.into_iter();
            all.reports
                .extend(reports.map(|(at, word)| (before + at, word)));
            all.bytes.extend(found.bytes);
        }
        all
    };
    caught("terminal", |data| terminal::holds_for(data, forgets));
    let swallows = |parts: &[&[u8]]| {
        let mut found = terminal::find(parts);
        found.bytes.retain(|byte| *byte != 0x1b);
        found
    };
    caught("terminal", |data| terminal::holds_for(data, swallows));
}
