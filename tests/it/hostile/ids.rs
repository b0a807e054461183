//! Every kind of id, and the same one twice.

use serde_json::json;

use super::{FRAMINGS, Victim, in_both_framings, request, stats};
use crate::harness::World;

/// What JSON-RPC allows, as clients write it.
const LEGAL: &[&str] = &[
    "0",
    "-0",
    "-7",
    "1.50",
    "-2.5e-3",
    "1E+2",
    "9007199254740993",
    "18446744073709551616",
    "123456789012345678901234567890123456789012345678901234567890",
    "0.1000000000000000055511151231257827021181583404541015625",
    "\"\"",
    "\"1\"",
    "\"null\"",
    "\"a\\u0062\\n\\u0000\\/\"",
    "\"\u{1f600}\u{e9}\"",
    "\"\\ud83d\\ude00\"",
];

#[test]
fn every_legal_id_is_echoed_byte_for_byte() {
    let longest = format!("\"{}\"", "i".repeat(256));
    let digits = "1".repeat(256);
    in_both_framings(|victim| {
        let all = LEGAL.iter().copied().chain([&*longest, &*digits]);
        let all: Vec<&str> = all.collect();
        for id in &all {
            victim.sidecar.send_body(stats(id).as_bytes());
            victim
                .sidecar
                .wait(id, |mailbox| mailbox.answered.get(*id).copied());
        }
        // In a batch they stand side by side.
        let batch: Vec<String> = all.iter().map(|id| stats(id)).collect();
        let (one, rest) = batch.split_first().unwrap();
        victim
            .sidecar
            .send_body(format!("[{one},{}]", rest.join(",")).as_bytes());
        victim.sidecar.wait("the answers together", |mailbox| {
            let twice = |id: &&str| mailbox.answered.get(*id) == Some(&2);
            all.iter().all(twice).then_some(())
        });
        victim.sidecar.look(|mailbox| {
            mailbox
                .answered
                .retain(|id, times| !(all.contains(&&**id) && *times == 2))
        });
    });
}

#[test]
fn an_id_that_is_none_is_refused_under_null() {
    let longer = format!("\"{}\"", "i".repeat(257));
    let escaped = format!("\"{}\"", "\\u0069".repeat(43));
    let digits = "1".repeat(257);
    in_both_framings(|victim| {
        for id in [
            "null",
            "true",
            "false",
            "{}",
            "[]",
            "[1]",
            "{\"a\":1}",
            &longer,
            &escaped,
            &digits,
        ] {
            victim.refuses(stats(id).as_bytes(), -32600);
        }
        for id in [
            "01", "+1", ".5", "1.", "0x1", "'a'", "\"a", "-", "1e", "\"\n\"",
        ] {
            // A line end in a line makes two of them.
            if id.contains('\n') && victim.framing == crate::harness::Framing::Lines {
                continue;
            }
            victim.refuses(stats(id).as_bytes(), -32700);
        }
    });
}

#[test]
fn the_same_id_twice_in_flight_is_answered_twice() {
    for framing in FRAMINGS {
        let world = World::new();
        let mut victim = Victim::of(&world, world.turnlane(&[]), framing);
        victim.sidecar.open("held", "script");
        let run = victim.sidecar.hold("held", "gate");
        let wait = request("\"w\"", "run/wait", &json!({"runId": run}).to_string());
        for _ in 0..3 {
            victim.sidecar.send_body(wait.as_bytes());
        }
        // A number is another id than the same as a text.
        victim.sidecar.send_body(stats("1.0").as_bytes());
        victim.sidecar.send_body(stats("\"1.0\"").as_bytes());
        victim.sidecar.wait("both", |mailbox| {
            let both =
                mailbox.answered.contains_key("1.0") && mailbox.answered.contains_key("\"1.0\"");
            both.then_some(())
        });
        assert_eq!(victim.answered("\"w\""), 0);
        // One of them is given up, the latest; the others go on.
        victim.sidecar.notify("$/cancelRequest", json!({"id": "w"}));
        assert_eq!(victim.answer("\"w\"")["error"]["code"], -32800);
        victim.goes_on();
        assert_eq!(victim.answered("\"w\""), 1);
        victim.sidecar.release("held", "gate");
        victim.sidecar.wait("the others", |mailbox| {
            (mailbox.answered["\"w\""] == 3).then_some(())
        });
        victim.sidecar.ended(&run, "completed");
        victim.unharmed_but_for(&[("\"w\"", 3)]);
    }
}
