//! Frames that are broken, huge, split, cut off, or none.

use std::io::Write;

use serde_json::json;

use super::{FRAMINGS, PEAK_BYTES, Victim, in_both_framings, shown, stats};
use crate::harness::{Framing, World};

#[test]
fn a_header_block_that_cannot_be_read_is_answered_once_and_ends_the_connection() {
    let long = format!("X: {}\r\n\r\n", "y".repeat(9000));
    let endless = "y".repeat(100_000);
    let many = "X: y\r\n".repeat(65);
    for block in [
        "Content-Length: many\r\n\r\n{}",
        "Content-Length: -1\r\n\r\n{}",
        "Content-Length: +2\r\n\r\n{}",
        "Content-Length: 0x10\r\n\r\n{}",
        "Content-Length: 1.5\r\n\r\n{}",
        "Content-Length:\r\n\r\n{}",
        "Content-Length 2\r\n\r\n{}",
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "Content-Length: 2\0\r\n\r\n{}",
        "Content-Type: json\r\n\r\n{}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\"}\n",
        "\0\0\0\0\n",
        "nonsense\r\n\r\n",
        &long,
        &endless,
        &many,
    ] {
        let world = World::new();
        let mut victim = Victim::of(&world, world.turnlane(&[]), Framing::Headers);
        // What follows can't be told from it, and is not read.
        let after = "Content-Length: 2\r\n\r\n{}".repeat(2);
        let bytes = format!("{block}{after}");
        // It may have closed its end before all is written.
        let _ = victim.sidecar.input().write_all(bytes.as_bytes());
        let refused = victim
            .sidecar
            .wait("a refusal", |mailbox| mailbox.answers.remove("null"));
        assert_eq!(refused["error"]["code"], -32700, "{refused}");
        // Its input is still open: the connection is over all the same, and in order.
        let status = victim.sidecar.wait_exit();
        assert_eq!(status.code(), Some(0), "{}", shown(block.as_bytes()));
        assert_eq!(victim.answered("null"), 1, "{}", shown(block.as_bytes()));
        let said = victim.sidecar.said();
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_length_that_no_memory_holds_is_refused_at_once_and_nothing_is_held() {
    for length in [
        "1073741824",
        "4611686018427387904",
        "18446744073709551615",
        "18446744073709551617",
        "99999999999999999999999999999999",
    ] {
        let world = World::new();
        let mut victim = Victim::of(&world, world.turnlane(&[]), Framing::Headers);
        let head = format!("Content-Length: {length}\r\n\r\n");
        victim.sidecar.send_bytes(head.as_bytes());
        let refused = victim
            .sidecar
            .wait("a refusal", |mailbox| mailbox.answers.remove("null"));
        assert_eq!(refused["error"]["code"], -32015, "{refused}");
        // All that comes is a part of it, good requests as well.
        let body = [stats("\"inside\"").into_bytes(), vec![b'\n'; 1 << 20]].concat();
        for _ in 0..32 {
            victim.sidecar.send_bytes(&body);
        }
        victim.sidecar.has_read();
        assert!(victim.grown() < PEAK_BYTES / 4, "{}", victim.grown());
        victim.sidecar.close_stdin();
        let status = victim.sidecar.wait_exit();
        assert_eq!(status.code(), Some(0), "{length}");
        assert_eq!(victim.answered("\"inside\""), 0, "{length}");
        assert!(!victim.sidecar.said().contains("panicked"));
    }
}

#[test]
fn a_frame_over_the_limit_is_skipped_without_being_held_and_the_connection_goes_on() {
    for framing in FRAMINGS {
        let world = World::new();
        let command = world.turnlane(&["--max-frame", "100000"]);
        let mut victim = Victim::of(&world, command, framing);
        for bytes in [100_001, 64 << 20] {
            let refused = victim.refuses(&vec![b'['; bytes], -32015);
            let data = &refused["error"]["data"];
            assert_eq!(
                (&data["kind"], &data["limit"]),
                (&json!("frameTooLarge"), &json!(100_000))
            );
        }
        assert!(victim.grown() < 4 << 20, "{} bytes", victim.grown());
        let limits = victim.sidecar.ok("initialize", json!({}))["limits"].clone();
        assert_eq!(limits["maxFrameBytes"], 100_000);
        // One byte less is taken.
        let body = stats("\"fits\"");
        let body = format!("{body}{}", " ".repeat(100_000 - body.len()));
        victim.sidecar.send_body(body.as_bytes());
        assert!(victim.answer("\"fits\"")["result"].is_object());
        victim.unharmed();
    }
}

#[test]
fn a_frame_may_be_split_at_every_byte() {
    in_both_framings(|victim| {
        let body = |id: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"stats","params":{{"_é":"\n"}}}}"#)
        };
        let length = victim.sidecar.frame(body("000").as_bytes()).len();
        for at in 0..length {
            let id = format!("{at:03}");
            let frame = victim.sidecar.frame(body(&id).as_bytes());
            victim.sidecar.send_bytes(&frame[..at]);
            victim.sidecar.has_read();
            victim.sidecar.send_bytes(&frame[at..]);
            assert!(victim.answer(&format!("\"{id}\""))["result"].is_object());
        }
        for byte in victim.sidecar.frame(body("one").as_bytes()) {
            victim.sidecar.send_bytes(&[byte]);
            victim.sidecar.has_read();
        }
        assert!(victim.answer("\"one\"")["result"].is_object());
    });
}

#[test]
fn line_ends_blank_lines_and_marks_are_taken_for_what_they_are() {
    let world = World::new();
    let mut victim = Victim::of(&world, world.turnlane(&[]), Framing::Lines);
    let (a, b, c) = (stats("\"a\""), stats("\"b\""), stats("\"c\""));
    let mixed = format!("\n\r\n \t \r\n\r\r\n{a}\r\n\n\n{b}\n\r{c}\r\r\n\u{b}\n");
    victim.sidecar.send_bytes(mixed.as_bytes());
    for id in ["\"a\"", "\"b\"", "\"c\""] {
        assert!(victim.answer(id)["result"].is_object());
    }
    // A vertical tab is no white space of JSON's; a mark that is not at the beginning is no mark.
    let _ = victim.answer("null");
    victim.refuses(format!("\u{feff}{}", stats("1")).as_bytes(), -32700);
    victim.refuses(b"\0", -32700);
    victim.refuses(b"\0\0\0\0\0\0\0\0", -32700);
    victim.refuses(format!("{}\0", stats("1")).as_bytes(), -32700);
    victim.refuses(&[b'{', 0, b'}'], -32700);
    victim.unharmed();

    let world = World::new();
    let mut victim = Victim::of(&world, world.turnlane(&[]), Framing::Headers);
    let body = stats("\"a\"");
    for head in [
        format!("Content-Length: {}\n\n", body.len()),
        format!("\r\n\n\r\n \r\ncontent-length:{}\r\n\r\n", body.len()),
        format!("X-Y: z\nCONTENT-LENGTH :\t{}\t\r\nX:\n\r\n", body.len()),
        format!(
            "Content-Length: 000{0}\r\nContent-Length: {0}\r\n\r\n",
            body.len()
        ),
    ] {
        let before = victim.answered("\"a\"");
        victim
            .sidecar
            .send_bytes(format!("{head}{body}").as_bytes());
        assert!(victim.answer("\"a\"")["result"].is_object(), "{head:?}");
        assert_eq!(victim.answered("\"a\""), before + 1);
    }
    victim.refuses(b"", -32700);
    victim.refuses(b"\0\0", -32700);
    victim.refuses("\u{feff}{}".as_bytes(), -32700);
    victim.unharmed_but_for(&[("\"a\"", 4)]);
}

#[test]
fn an_end_of_input_in_mid_frame_ends_in_order_and_nothing_of_the_rest_is_done() {
    let prompt = r#"{"jsonrpc":"2.0","id":"p","method":"prompt","params":{"sessionId":"s","prompt":"say cut","runId":"cut"}}"#;
    for framing in FRAMINGS {
        let world = World::new();
        for kept in [1, 10, prompt.len() - 1] {
            let mut victim = Victim::of(&world, world.turnlane(&[]), framing);
            let frame = victim.sidecar.frame(prompt.as_bytes());
            let head = frame.len() - prompt.len() - usize::from(framing == Framing::Lines);
            victim.sidecar.send_bytes(&frame[..head + kept]);
            victim.sidecar.close_stdin();
            let status = victim.sidecar.wait_exit();
            assert_eq!(status.code(), Some(0), "{framing:?} {kept}");
            assert!(!victim.sidecar.said().contains("panicked"));
            assert_eq!(victim.answered("\"p\""), 0);
            victim.sidecar.leave();
        }
        let mut after = world.start();
        after.refused("run/get", json!({"runId": "cut"}), "runNotFound");
        after.leave();
    }
    // A last line that is whole needs no line end.
    let world = World::new();
    let mut victim = Victim::of(&world, world.turnlane(&[]), Framing::Lines);
    victim.sidecar.send_bytes(prompt.as_bytes());
    victim.sidecar.close_stdin();
    assert!(victim.answer("\"p\"")["result"].is_object());
    victim.sidecar.wait_exit();
    let mut after = world.start();
    assert_eq!(after.ok("run/get", json!({"runId": "cut"}))["runId"], "cut");
    after.leave();
}

#[test]
fn a_flood_of_garbage_is_answered_line_by_line_and_does_not_pile_up() {
    const LINES: usize = 100_000;
    let world = World::new();
    let mut victim = Victim::of(&world, world.turnlane(&[]), Framing::Lines);
    let before = victim.answered("null");
    let mut garbage = Vec::new();
    let mut state = 0x5eed_u32;
    for _ in 0..LINES {
        for _ in 0..1 + state % 40 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let byte = state.to_le_bytes()[3];
            // No line end, and nothing that makes it JSON or blank.
            garbage.push(if byte.is_ascii_whitespace() {
                b'?'
            } else {
                byte
            });
        }
        garbage.extend(b"?\n");
    }
    victim.sidecar.send_bytes(&garbage);
    victim.sidecar.wait("all refusals", |mailbox| {
        let answered = mailbox.answered.get("null").copied();
        (answered.unwrap_or_default() >= before + LINES).then_some(())
    });
    assert_eq!(victim.answered("null"), before + LINES);
    assert!(victim.grown() < PEAK_BYTES / 4, "{}", victim.grown());
    victim.unharmed();
}
