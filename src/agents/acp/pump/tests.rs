use super::*;
use serde_json::json;
use tokio::sync::mpsc;

/// A pump, the session `s`, and what reaches the crate.
struct Bench {
    pump: Pump,
    heard: mpsc::UnboundedReceiver<Heard>,
    forwarded: Mutex<Vec<String>>,
}

fn bench() -> Bench {
    let (ear, heard) = mpsc::unbounded_channel();
    let routes = Routes::default();
    routes.add("s".into(), ear);
    Bench {
        pump: Pump::new(routes),
        heard,
        forwarded: Mutex::default(),
    }
}

impl Bench {
    async fn read(&self, said: &[u8]) {
        self.read_from(said).await;
    }

    async fn read_from(&self, pipe: impl AsyncRead + Unpin) {
        let forward = |frame: TransportFrame| {
            self.forwarded
                .lock()
                .unwrap()
                .push(frame.to_json().unwrap());
            true
        };
        self.pump.read(pipe, forward).await;
    }

    /// What the pump itself answers.
    async fn refused_lines(&self) -> String {
        let mut pipe = Vec::new();
        let nothing = futures_util::stream::empty();
        self.pump.write(Some(&mut pipe), nothing).await;
        String::from_utf8(pipe).unwrap()
    }

    async fn refused(&self) -> Vec<Value> {
        let lines = self.refused_lines().await;
        let read = |line| serde_json::from_str(line).unwrap();
        lines.lines().map(read).collect()
    }

    fn forwarded(&self) -> Vec<String> {
        self.forwarded.lock().unwrap().clone()
    }

    /// The crate says this to the agent.
    async fn write(&self, message: Value) -> String {
        let mut pipe = Vec::new();
        let frames = futures_util::stream::iter([TransportFrame::parse_json(&message.to_string())]);
        self.pump.write(Some(&mut pipe), frames).await;
        String::from_utf8(pipe).unwrap()
    }

    /// What the session heard so far, in a word each.
    fn heard(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(heard) = self.heard.try_recv() {
            all.push(match heard {
                Heard::Update(told) => told.json.get().to_owned(),
                Heard::AnswerRead => "answer".to_owned(),
                Heard::Asked(_) => "question".to_owned(),
            });
        }
        all
    }
}

fn prompt(id: u32) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": PROMPT, "params": {"sessionId": "s", "prompt": []}})
}

fn update(text: &str) -> String {
    let update =
        json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}});
    let params = json!({"sessionId": "s", "update": update});
    json!({"jsonrpc": "2.0", "method": "session/update", "params": params}).to_string() + "\n"
}

fn request(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"fs/read_text_file","params":{{}}}}"#)
}

#[tokio::test]
async fn what_is_no_message_goes_no_further_and_ends_nothing() {
    let mut bench = bench();
    let noise = [
        "starting up",
        "",
        "{\"level\":\"info\",\"method\":\"GET\",\"id\":1}",
        "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"session/update\"}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{\"sessionId\":\"s\",\"update\":3}}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{\"sessionId\":\"t\",\"update\":{}}}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"_of/tomorrow\",\"params\":{}}",
        "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fs/read_text_file\"}]",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":",
    ];
    let mut said = noise.join("\n").into_bytes();
    said.extend(b"\n\xff\xfe\x00\r\n");
    said.extend(update("a").as_bytes());
    said.extend(request(1).as_bytes());
    bench.read(&said).await;
    assert_eq!(bench.forwarded(), [request(1)]);
    assert_eq!(bench.heard().len(), 1);
    // The blank line does not count.
    assert_eq!(
        bench.pump.dropped.load(Ordering::Relaxed),
        noise.len() as u64
    );
}

#[tokio::test]
async fn an_answer_reaches_whoever_asked_once_and_after_what_was_said_before_it() {
    let mut bench = bench();
    assert_eq!(bench.write(prompt(1)).await, format!("{}\n", prompt(1)));
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"stopReason":"end_turn"}}"#;
    let said = format!("{}{answer}\n{answer}\n{}", update("a"), update("b"));
    bench.read(said.as_bytes()).await;
    assert_eq!(bench.forwarded(), [answer]);
    let heard = bench.heard();
    assert_eq!(heard.len(), 3);
    assert_eq!(heard[1], "answer");
}

#[tokio::test]
async fn an_answer_that_is_not_as_it_should_be_is_an_error_and_not_silence() {
    let bench = bench();
    for (id, odd) in [
        (1, r#""error":"out of order""#),
        (2, r#""error":{"code":"E_GONE"}"#),
    ] {
        bench.write(prompt(id)).await;
        let line = format!(r#"{{"jsonrpc":"2.0","id":{id},{odd}}}"#);
        bench.read(line.as_bytes()).await;
    }
    let forwarded = bench.forwarded();
    assert!(forwarded[0].contains("-32603") && forwarded[0].contains("out of order"));
    assert!(forwarded[1].contains("-32603") && forwarded[1].contains("E_GONE"));
}

#[tokio::test]
async fn a_method_that_is_not_served_goes_no_further_and_is_answered() {
    let bench = bench();
    let line = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
    bench.read(line.as_bytes()).await;
    assert!(bench.forwarded().is_empty());
    let answers = bench.refused().await;
    assert_eq!((&answers[0]["id"], answers.len()), (&json!(1), 1));
    assert_eq!(answers[0]["error"]["code"], UNSERVED);
}

#[tokio::test]
async fn a_request_under_an_id_that_the_crate_cant_hold_is_answered_under_it() {
    let bench = bench();
    for id in ["2.5", "1e300", "123456789012345678901234567890"] {
        let line = request(1).replace(r#""id":1"#, &format!(r#""id":{id}"#));
        bench.read(line.as_bytes()).await;
        let answers = bench.refused_lines().await;
        assert!(
            answers.contains(&format!(r#""id":{id},"error":{{"code":-32600"#)),
            "{answers}"
        );
    }
    bench
        .read(request(1).replace(r#""id":1"#, r#""id":{}"#).as_bytes())
        .await;
    assert_eq!(bench.refused().await[0]["id"], Value::Null);
    assert!(bench.forwarded().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_an_error_and_not_silence() {
    let mut bench = bench();
    bench.write(prompt(1)).await;
    let long = "x".repeat(MESSAGE_BYTES);
    for line in [
        format!(r#"{{"jsonrpc":"2.0","id":2,"result":{{"a":"{long}","id":1}}}}"#),
        format!(r#"{{"jsonrpc":"2.0","result":{{"a":"{long}"}},"id":1}}"#),
    ] {
        bench.read(line.as_bytes()).await;
    }
    let forwarded = bench.forwarded();
    assert_eq!(forwarded.len(), 1);
    let answer: Value = serde_json::from_str(&forwarded[0]).unwrap();
    assert_eq!(answer["id"], 1);
    assert_eq!(answer["error"]["message"], "its answer has over 16 MiB");
    assert_eq!(bench.heard(), ["answer"]);
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused() {
    let bench = bench();
    let long = "x".repeat(MESSAGE_BYTES);
    let line = request(7).replace("{}", &format!(r#"{{"content":"{long}"}}"#));
    bench.read(line.as_bytes()).await;
    assert!(bench.forwarded().is_empty());
    let answers = bench.refused().await;
    assert_eq!((&answers[0]["id"], answers.len()), (&json!(7), 1));
    assert_eq!(answers[0]["error"]["code"], INVALID);
}

#[tokio::test]
async fn messages_are_the_same_wherever_they_are_split() {
    let said = format!("noise\n{}{}\n", update("\u{e9}\u{2028}"), request(1));
    for at in 0..=said.len() {
        let mut bench = bench();
        let (one, two) = said.as_bytes().split_at(at);
        let pieces = [one, two].into_iter().filter(|piece| !piece.is_empty());
        let pieces = pieces.map(|piece| std::io::Result::Ok(bytes::Bytes::copy_from_slice(piece)));
        let pipe = futures_util::stream::iter(pieces.collect::<Vec<_>>());
        (bench.read_from(tokio_util::io::StreamReader::new(pipe))).await;
        assert_eq!(bench.forwarded(), [request(1)], "split at {at}");
        let heard = bench.heard();
        assert!(
            heard.len() == 1 && heard[0].contains("\u{e9}\u{2028}"),
            "split at {at}"
        );
    }
}

#[tokio::test]
async fn no_more_is_read_than_has_been_dealt_with() {
    let mut bench = bench();
    let said = update(&"x".repeat(WINDOW_BYTES / 4)).repeat(5);
    let (ear, mut heard) = mpsc::unbounded_channel();
    bench.pump.routes.add("s".into(), ear);
    bench.heard.close();
    let deals = async {
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(heard.recv().await.unwrap());
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!(heard.try_recv().is_err(), "there is no place for a fourth");
        held.clear();
        heard.recv().await.unwrap();
        heard.recv().await.unwrap();
    };
    tokio::join!(bench.read(said.as_bytes()), deals);
}

#[tokio::test]
async fn a_message_that_is_larger_than_all_that_fits_is_read_alone() {
    let mut bench = bench();
    bench.read(update(&"x".repeat(10 << 20)).as_bytes()).await;
    assert_eq!(bench.heard().len(), 1);
    let over = update(&"x".repeat(MESSAGE_BYTES));
    bench
        .read(format!("{over}{}", update("a")).as_bytes())
        .await;
    assert_eq!(bench.heard().len(), 1);
}

#[tokio::test]
async fn an_agent_that_reads_no_answers_gets_no_more_questions_in() {
    let bench = bench();
    let said: String = (0..20).map(|id| request(id) + "\n").collect();
    let fit = WINDOW_BYTES / LARGE_COST;
    let deals = async {
        for answered in 0..20 {
            while bench.forwarded().len() < (answered as usize + fit).min(20) {
                tokio::task::yield_now().await;
            }
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(bench.forwarded().len(), (answered as usize + fit).min(20));
            bench
                .write(json!({"jsonrpc": "2.0", "id": answered, "result": {}}))
                .await;
        }
    };
    tokio::join!(bench.read(said.as_bytes()), deals);
}

#[tokio::test]
async fn an_agent_that_reads_no_refusals_gets_nothing_more_refused() {
    let bench = bench();
    let asked = format!(
        "{}\n",
        json!({"jsonrpc": "2.0", "id": "u".repeat(WINDOW_BYTES / 5), "method": "x/y"})
    );
    let said = asked.repeat(9);
    let waiting = || bench.pump.refused.try_lock().unwrap().len();
    let deals = async {
        while waiting() < 4 {
            tokio::task::yield_now().await;
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(waiting(), 4, "there is no place for a fifth");
        let mut answered = 0;
        while answered < 9 {
            answered += bench.refused().await.len();
            tokio::task::yield_now().await;
        }
        assert_eq!(answered, 9);
    };
    tokio::join!(bench.read(said.as_bytes()), deals);
}

#[tokio::test]
async fn each_of_several_questions_under_one_id_costs() {
    let bench = bench();
    let said = format!("{}\n", request(1)).repeat(20);
    let fit = WINDOW_BYTES / LARGE_COST;
    let deals = async {
        for answered in 0..20 {
            let expected = (answered + fit).min(20);
            while bench.forwarded().len() < expected {
                tokio::task::yield_now().await;
            }
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(bench.forwarded().len(), expected);
            bench
                .write(json!({"jsonrpc": "2.0", "id": 1, "result": {}}))
                .await;
        }
    };
    tokio::join!(bench.read(said.as_bytes()), deals);
    assert!(bench.pump.open().theirs.is_empty());
}

#[tokio::test]
async fn of_a_text_that_was_cut_within_a_character_the_rest_is_heard() {
    let mut bench = bench();
    let said = update("lost").replace("lost", r"lost\ud83d");
    let ask = request(1).replace("{}", r#"{"title":"\ude00"}"#);
    bench.read(format!("{said}{ask}").as_bytes()).await;
    assert!(bench.heard()[0].contains(r"lost\ufffd"));
    assert!(bench.forwarded()[0].contains("\u{fffd}"));
    assert_eq!(bench.pump.repaired.load(Ordering::Relaxed), 2);
}
