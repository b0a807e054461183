//! What a fuzzer begins with: one of each kind, by hand.

use turnlane::protocol::Request;

use crate::properties::terminal::NONCE;

/// The seeds of every property.
pub fn all() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    vec![
        ("codec", codec()),
        ("envelope", envelope()),
        ("params", params()),
        ("connection", connection()),
        ("config", texts(CONFIG)),
        ("names", texts(NAMES)),
        ("terminal", terminal()),
    ]
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

const BODIES: &[&str] = &[
    "{\"a\":1}\n",
    "\u{feff} \r\n\r\n[1]\r\n\n \t\n{}\n",
    "{\"text\":\"\u{2028}\u{2029}\u{e9}\"}\n{\"cut",
    "{\0}\n\0\n{}\r\r\n\r{}\n\r\n",
    "Content-Length: 2\r\n\r\n{}",
    "content-LENGTH:2\nContent-Type: x; charset=utf-8\n\n{}\r\n\r\nContent-Length: 0\r\n\r\n",
    "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "Content-Length: 1073741824\r\n\r\n{}Content-Length: 2\r\n\r\n{}",
    "Content-Length: 4611686018427387904\r\n\r\n",
    "Content-Length: 99999999999999999999999999\r\n\r\n{}",
    "Content-Length: -1\r\n\r\n{}",
    "Content-Length: +2\r\n\r\n{}",
    "Content-Length: 2x\r\n\r\n{}",
    "Content-Length:\r\n\r\n{}",
    "Content-Length 2\r\n\r\n{}",
    "Content-Type: json\r\n\r\n{}",
    "Content-Length: 300\r\n\r\nshort",
    "nonsense\r\n\r\nContent-Length: 2\r\n\r\n{}",
    "Content-Length: 2\r\n\r\n{}{\"a\":1}\n",
    " \r\n\u{feff}\u{feff}\r\nContent-Length: 2\r\n\r\n{}",
];

fn codec() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (number, body) in BODIES.iter().enumerate() {
        let framing = u8::try_from(number % 3).unwrap();
        for framing in [0, framing] {
            let limit = if number % 2 == 0 { 0 } else { 40 };
            all.push([&[framing, limit, 7], body.as_bytes()].concat());
        }
    }
    all.push([&[1, 5, 1][..], &[b'['; 300], b"\n{}\n"].concat());
    all.push([&[2, 5, 1][..], "X: y\r\n".repeat(65).as_bytes()].concat());
    all.push([&[2, 5, 1][..], b"X: ", &[b'y'; 8200]].concat());
    all.push(b"\x00\x40\x02\xef\xbb".to_vec());
    all.sort();
    all.dedup();
    all
}

const MESSAGES: &[&str] = &[
    r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#,
    r#" { "params" : {"x":[1]} , "method":"a\u0062","id":"q","jsonrpc":"2.0","extra":null} "#,
    r#"{"jsonrpc":"2.0","method":"a","params":null}"#,
    r#"{"jsonrpc":"2.0","id":-1,"method":"a","params":[1,{"y":2}]}"#,
    r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#,
    r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"a","method":"b"}"#,
    r#"{"jsonrpc":"2.0","id":7,"params":{},"params":5,"method":"a"}"#,
    r#"{"jsonrpc":"1.0","id":7,"method":"a"}"#,
    r#"{"jsonrpc":"2.0","id":7,"method":5}"#,
    r#"{"jsonrpc":"2.0","id":7,"method":"a","params":"x"}"#,
    r#"{"jsonrpc":"2.0","id":7,"result":1}"#,
    r#"{"jsonrpc":"2.0","id":{},"error":{"code":1}}"#,
    r#"{"jsonrpc":"2.0","id":"\ud800","method":"\ud800"}"#,
    r#"[1,{},{"jsonrpc":"2.0","id":1.50,"method":"a"},{"jsonrpc":"2.0","method":"b"}]"#,
    r#"[{"jsonrpc":"2.0","method":"b"},{"jsonrpc":"2.0","id":1,"result":0}]"#,
    "[]",
    "[1,2,3,4,5]",
    "[[[[[[[1]]]]]]]",
    "5",
    "{}",
    "",
    "{",
    r#"{"jsonrpc":"2.0"} x"#,
    r#"["[[[[[[[[,,,,\"{{{"]"#,
    "0",
    "-7",
    "1.50",
    "-2.5e-3",
    "1e999",
    "18446744073709551616",
    "\"\"",
    "\"a\\u0062\\n\"",
    "\"0123456789abcdef\"",
    "\"0123456789abcdefg\"",
    "true",
    "null",
];

fn envelope() -> Vec<Vec<u8>> {
    let mut all = texts(MESSAGES);
    all.push(b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"a\"}".to_vec());
    all.push(format!("[{}]", vec!["0"; 60].join(",")).into_bytes());
    all
}

const PARAMS: &[(&str, &str)] = &[
    (
        "initialize",
        r#"{"processId":1,"clientInfo":{"name":"x","version":"1"},"protocolVersion":1,"resumeFrom":"s:1","sessions":["a"]}"#,
    ),
    ("initialize", r#"{"sessions":"all","protocolVersion":2}"#),
    (
        "shutdown",
        r#"{"mode":"finish","timeoutMs":5,"everyone":false}"#,
    ),
    ("exit", "null"),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":"hi","runId":"r","ifBusy":"steer","timeoutMs":1,"queueTimeoutMs":2,"notify":null,"permissions":"ask","traceparent":"00-1-2-3"}"#,
    ),
    (
        "prompt",
        r#"{"sessionId":"a","notify":"b","replaces":"q","prompt":[{"type":"text","text":"x"},{"type":"resource_link","name":"n","uri":"u"},{"type":"image","mimeType":"m","data":"d"},{"type":"resource","resource":{"uri":"u","z":1.5,"b":[]}}]}"#,
    ),
    ("prompt", r#"{"sessionId":"a","prompt":[]}"#),
    ("prompt", r#"{"sessionId":"a","prompt":"hi","notify":"a"}"#),
    (
        "prompt",
        r#"{"sessionId":"self","prompt":["x"],"timeoutMs":0}"#,
    ),
    ("cancel", r#"{"sessionId":"a","scope":"queued"}"#),
    ("cancel", r#"{"runId":"r","scope":"all"}"#),
    (
        "run/wait",
        r#"{"runIds":["a","b","a"],"mode":"atLeast","n":2,"timeoutMs":0}"#,
    ),
    ("run/wait", r#"{"runId":"a","mode":"any"}"#),
    ("run/get", r#"{"runId":"r\u0065"}"#),
    (
        "run/list",
        r#"{"sessionId":"a","state":"queued","parent":"b","limit":18446744073709551615,"before":7}"#,
    ),
    ("run/output", r#"{"runId":"r","from":18446744073709551615}"#),
    (
        "run/input",
        r#"{"runId":"r","keys":["C-d","F12","M-x"],"cols":80,"rows":24}"#,
    ),
    ("run/input", r#"{"runId":"r","text":"a\n","cols":65536}"#),
    (
        "session/open",
        r#"{"sessionId":"a","agent":"sh","cwd":"/","env":{"A":"1"},"parent":"b","title":"t","timeoutMs":1,"permissions":"deny","recover":"cancel","inbox":null}"#,
    ),
    (
        "session/open",
        r#"{"agent":{"kind":"command","command":["x","{prompt}"],"input":"argument","env":{"A":"B"},"cwd":"/","graceMs":1,"startMs":2,"stallMs":3,"onStall":"cancel","permissions":"allow","idleStopMs":4,"prose":true}}"#,
    ),
    (
        "session/open",
        r#"{"agent":{"kind":"shell","shell":"zsh","rc":true,"record":false,"grace_ms":9}}"#,
    ),
    ("session/open", r#"{"agent":{"kind":"acp"},"wake":{}}"#),
    ("session/close", r#"{"sessionId":"a","purge":true}"#),
    ("session/get", r#"{"sessionId":"\ud83d\ude00"}"#),
    ("session/list", r#"{"after":"a","limit":0}"#),
    (
        "session/wait",
        r#"{"sessionId":"a","until":"settled","timeoutMs":1}"#,
    ),
    (
        "permission/respond",
        r#"{"runId":"r","requestId":"q","optionId":"yes"}"#,
    ),
    ("subscribe", r#"{"sessions":["a","b"],"output":false}"#),
    ("subscribe", r#"{"sessions":"none"}"#),
    ("events/replay", r#"{"after":"s:7","limit":3}"#),
    ("agent/list", "{}"),
    ("stats", r#"{"_x":1,"_x":2,"a":1,"a":2}"#),
    ("stats", "[1]"),
    ("stats", "{\"a\""),
    ("run/get", r#"{"runId":"\ud800","runId":1e999}"#),
];

fn params() -> Vec<Vec<u8>> {
    let number = |method: &str| {
        let place = Request::METHODS.iter().position(|known| *known == method);
        u8::try_from(place.unwrap()).unwrap()
    };
    PARAMS
        .iter()
        .map(|(method, text)| [&[number(method)], text.as_bytes()].concat())
        .collect()
}

const CALLS: &[&str] = &[
    r#"{"jsonrpc":"2.0","id":"a","method":"stats"}"#,
    r#"{"jsonrpc":"2.0","id":-1.50,"method":"run/get","params":{"runId":"r"}}"#,
    r#"{"jsonrpc":"2.0","id":2,"method":"run/get","params":{"colour":"red"}}"#,
    r#"{"jsonrpc":"2.0","id":3,"method":"no/such"}"#,
    r#"{"jsonrpc":"2.0","method":"stats"}"#,
    r#"{"jsonrpc":"2.0","id":4,"method":"$/cancelRequest","params":{"id":2}}"#,
    r#"[{"jsonrpc":"2.0","id":5,"method":"stats"},{"jsonrpc":"2.0","id":"w","method":"run/wait","params":{"runId":"r"}},7]"#,
    r#"[{"jsonrpc":"2.0","method":"exit"}]"#,
    "{nonsense",
    "[]",
    "null",
];

fn connection() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = CALLS
        .iter()
        .map(|call| format!("\u{7}{call}\r\n").into_bytes())
        .collect();
    all.push([b"\x01", CALLS.join("\n").as_bytes()].concat());
    let framed: Vec<String> = CALLS
        .iter()
        .map(|call| format!("Content-Length: {}\r\n\r\n{call}", call.len()))
        .collect();
    all.push([b"\x02", framed.concat().as_bytes()].concat());
    for body in BODIES {
        all.push([b"\x03", body.as_bytes()].concat());
    }
    all
}

const CONFIG: &[&str] = &[
    "",
    "default_agent = \"dev\"\ndurability = \"relaxed\"\nstore = \"/tmp/x\"\n[limits]\nqueue = 7\nmaxFrameBytes = 9\n[agents.dev]\nkind = \"command\"\ncommand = [\"cat\"]\ngrace_ms = 123\n",
    "[agents.z]\nkind = \"shell\"\nshell = \"zsh\"\nrc = true\nrecord = true\n",
    "\ncolour = 1\n",
    "[limits]\nqueue = 1\nquue = 1\n",
    "[limits]\nqueue = 0\n",
    "[limits]\nqueue = -1\n",
    "[limits]\nline_bytes = 7\n",
    "[agents.a]\nkind = \"command\"\n",
    "[agents.a]\ncommand = []\nkind = \"zork\"\n",
    "[agents.\"\u{e9}\\n\"]\nkind = \"script\"\nprose = false\n",
    "agents.a = { kind = \"shell\", idle_stop_ms = 5 }\n",
    "\r\n\r\ndefault_agent = \"nobody\"\r\n",
    "store = \"~/x\"\n",
    "durability = \"none\"\n",
    "[limits",
    "a = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "[agents.a]\n[agents.a]\n",
    "limits = 5\nagents = []\n",
    "[limits]\nqueue = 99999999999999999999\n",
];

const NAMES: &[&str] = &[
    "",
    "a",
    "self",
    "Self",
    "\u{fc}ber",
    "a b",
    "a\nb",
    "a\u{85}",
    "x",
    "C-d",
    "C-S-Left",
    "M-C-x",
    "S-Tab",
    "F12",
    "F13",
    "C--",
    "M--",
    "-",
    "S-\u{df}",
    "C-Space",
    "PageDown",
    "BSpace",
    "\u{1f980}",
    "store:7",
    "store:0",
    "s:t:12",
    "store:",
    ":1",
    "store:-1",
    "store:+1",
    "store:01",
    "store:18446744073709551615",
    "store:18446744073709551616",
];

fn terminal() -> Vec<Vec<u8>> {
    let report = |run: &str, word: &str| format!("\u{1b}]7717;{NONCE};{run};{word}\u{7}");
    let ends = report("7", "end;3");
    let mut all = vec![
        "plain\r\nwords\t\u{e9}".to_owned(),
        format!("a\u{1b}[31m{}out\u{1b}{ends}", report("7", "start")),
        format!("{}{}", report("7", "back;130"), report("8", "lost;-1")),
        report("7", "end;99999999999999"),
        report("x", "start"),
        report("18446744073709551616", "start"),
        report("7", "end;3;4"),
        "\u{1b}]7717;0123456789abcdee;1;start\u{7}".to_owned(),
        format!("\u{1b}\u{1b}]7717;{NONCE};\u{7}"),
        format!("\u{1b}]7717;{NONCE};{}", "1".repeat(60)),
        "\u{1b}[6n\u{1b}[c\u{1b}]11;?\u{7}\u{9b}31m\u{1b}P1;2q\u{1b}\\".to_owned(),
    ];
    for at in [1, 5, 20, ends.len() - 1] {
        all.push(format!("text{}", &ends[..at]));
    }
    let mut all: Vec<Vec<u8>> = all
        .into_iter()
        .map(|text| [b"\x05", text.as_bytes()].concat())
        .collect();
    all.push(b"\x05\xff\xfe\x1b\xc3\x1b]\x00\x18\x1a".to_vec());
    all
}
