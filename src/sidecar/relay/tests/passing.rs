//! What passes, and what is changed on the way.

use super::*;

#[test]
fn messages_pass_in_order_and_byte_for_byte_both_ways() {
    let mut world = world();
    let mut owner = world.welcome();
    assert_eq!(owner.attach["pid"], 7);
    assert_eq!(owner.attach.get("state"), None);
    let texts = [
        r#"{"jsonrpc":"2.0", "id": -1.50,"method":"run/get","params":{"runId":"\u0041 "}}"#,
        r#"[{"jsonrpc":"2.0","method":"stats","id":"a"},7]"#,
        r#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":-1.50}}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"prompt","params":{"sessionId":"s","prompt":"x","runId":"r"}}"#,
    ];
    world.say(&texts.join("\n"));
    for text in texts {
        assert_eq!(String::from_utf8(owner.hear()).unwrap(), text);
    }
    let texts = [
        r#"{"jsonrpc":"2.0","id":-1.50,"error":{"code":-32800,"message":"m"}}"#,
        r#"{"jsonrpc":"2.0","method":"run/changed","params":{"later": [1]}}"#,
        r#"[{"jsonrpc":"2.0","id":"a","result":null}]"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}"#,
    ];
    for text in texts {
        owner.say(text);
    }
    for text in texts {
        assert_eq!(world.hear(), text);
    }
}

#[test]
fn what_owners_say_to_each_other_never_reaches_a_client() {
    let mut world = world();
    let mut owner = world.welcome();
    world.say(&request(1, "stats", &json!({})));
    owner.answer(&json!({}));
    world.hear();
    owner.say(&added("s", "store:3"));
    owner.say(&note("$/later", &json!({})));
    owner.say(&note("wake/skipped", &json!({})));
    assert_eq!(world.hear_json()["method"], "wake/skipped");
}

#[test]
fn what_is_made_without_a_name_is_given_one_and_nothing_else_changes() {
    let mut world = world();
    let mut owner = world.welcome();
    let before = r#"{"jsonrpc":"2.0", "id":1,"method":"prompt","params":{ "sessionId":"s","prompt":"a\u2028b", "_x":[ ]}}"#;
    world.say(before);
    let heard = String::from_utf8(owner.hear()).unwrap();
    let run = serde_json::from_str::<Value>(&heard).unwrap()["params"]["runId"].clone();
    let run = run.as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(run).unwrap().get_version_num(), 7);
    assert_eq!(heard.replace(&format!("\"runId\":\"{run}\","), ""), before);
    let batch = format!(
        "[{},{},{},{}]",
        request(2, "wake", &json!({"sessionId": "s", "runId": null})),
        request(3, "session/open", &json!({})),
        note("prompt", &json!({"sessionId": "s"})),
        request(4, "session/open", &json!({"sessionId": "mine"})),
    );
    world.say(&batch);
    let heard = owner.hear_json();
    assert!(heard[0]["params"]["runId"].is_string());
    assert!(heard[1]["params"]["sessionId"].is_string());
    assert!(heard[2]["params"].get("runId").is_none());
    assert_eq!(heard[3]["params"], json!({"sessionId": "mine"}));
}

#[test]
fn a_message_that_a_name_would_make_too_large_goes_without_one() {
    let mut config = config();
    let long = request(
        1,
        "prompt",
        &json!({"sessionId": "s", "prompt": "x".repeat(300)}),
    );
    config.limits.max_frame_bytes = long.len() as u64;
    let mut world = world_of(&config);
    let mut owner = world.welcome();
    world.say(&long);
    assert_eq!(String::from_utf8(owner.hear()).unwrap(), long);
}

#[test]
fn what_cannot_be_passed_on_is_answered_as_the_owner_would() {
    let mut config = config();
    config.limits.max_frame_bytes = 1_000;
    let mut world = world_of(&config);
    let mut owner = world.owner();
    owner.say(&note(
        "$/attached",
        &json!({"attach": ATTACH, "version": "x", "cursor": "c", "resumed": true, "maxFrameBytes": 500}),
    ));
    for bytes in [2_000, 700] {
        world.say(&format!("{{\"x\":\"{}\"}}", "x".repeat(bytes)));
        let refused = world.hear_json();
        assert_eq!(refused["id"], Value::Null);
        assert_eq!(kind(&refused), "frameTooLarge");
    }
    world.say(&request(1, "stats", &json!({})));
    assert_eq!(owner.answer(&json!(null))["id"], 1);
    assert_eq!(world.hear_json()["id"], 1);
}

#[test]
fn what_is_no_request_is_answered_here_and_no_owner_hears_it() {
    let mut world = world();
    let mut owner = world.welcome();
    for (said, id, code) in [
        ("{ this is no JSON", Value::Null, -32700),
        ("[]", Value::Null, -32600),
        ("7", Value::Null, -32600),
        (
            r#"{"jsonrpc":"1.0","id":4,"method":"stats"}"#,
            json!(4),
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"stats"}"#,
            Value::Null,
            -32600,
        ),
    ] {
        world.say(said);
        let refused = world.hear_json();
        assert_eq!(
            (&refused["id"], &refused["error"]["code"]),
            (&id, &json!(code)),
            "{said}: {refused}"
        );
    }
    world.say(&request(1, "stats", &json!({})));
    assert_eq!(owner.answer(&json!(null))["id"], 1);
    assert_eq!(world.hear_json()["id"], 1);
}

#[test]
fn a_header_block_that_cannot_be_read_is_answered_and_is_the_clients_leave() {
    let mut world = world();
    let mut owner = world.welcome();
    world.say("hello\r\n\r");
    owner.hears_the_end();
    drop(owner);
    let (said, ended) = world.end();
    assert!(said.contains("-32700"), "{said}");
    ended.unwrap();
}

/// Neither side is read on while the other does not read: what lies between them is bounded.
#[test]
fn a_client_that_does_not_read_holds_the_owner_back_and_the_other_way_round() {
    let text = "x".repeat(32_000);
    let mut config = config();
    config.limits.unread_bytes = 100_000;
    // What the kernel holds for both sockets, and what one read takes, is more than nothing and far less than this.
    let much = 128;
    let mut world = world_of(&config);
    let mut owner = world.welcome();
    world.say(&request(0, "stats", &json!({})));
    owner.answer(&json!(null));
    let mut write = owner.stream.get_ref().try_clone().unwrap();
    let event = note("run/output", &json!({"text": text}));
    let framed = format!("Content-Length: {}\r\n\r\n{event}", event.len());
    let said = fill(&mut write, framed.as_bytes(), much);
    assert!(said < much, "all was taken");
    world.hear();
    let writer = std::thread::spawn(move || write_all(write, framed.as_bytes(), much - said));
    for _ in 0..much {
        assert_eq!(world.hear(), event);
    }
    writer.join().unwrap();
    let mut write = world.client.get_ref().try_clone().unwrap();
    let asked = format!("{}\n", note("prompt", &json!({"text": text})));
    let said = fill(&mut write, asked.as_bytes(), much);
    assert!(said < much, "all was taken");
    let again = asked.clone();
    let writer = std::thread::spawn(move || write_all(write, again.as_bytes(), much - said));
    for _ in 0..much {
        assert_eq!(owner.hear(), asked.trim_end().as_bytes());
    }
    writer.join().unwrap();
}

/// Writes this so often, or until nothing more is taken for a while; how often it was written, the last time perhaps in part.
fn fill(stream: &mut UnixStream, bytes: &[u8], times: usize) -> usize {
    stream
        .set_write_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    for time in 0..times {
        let mut left = bytes;
        while !left.is_empty() {
            match stream.write(left) {
                Ok(written) => left = &left[written..],
                Err(_) => {
                    // The rest of it comes first, from here on by whoever waits.
                    let mut rest = stream.try_clone().unwrap();
                    let left = left.to_vec();
                    stream.set_write_timeout(None).unwrap();
                    std::thread::spawn(move || rest.write_all(&left).unwrap());
                    return time + 1;
                }
            }
        }
    }
    times
}

fn write_all(mut stream: UnixStream, bytes: &[u8], times: usize) {
    for _ in 0..times {
        stream.write_all(bytes).unwrap();
    }
}
