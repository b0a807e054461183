//! Agents by name and inline.

use serde_json::json;

use super::super::*;
use crate::domain::{
    AgentKind, AgentRef, AgentSource, Limits, OnStall, PermissionPolicy, Preset, PromptInput,
};

fn object(json: &str) -> AgentObject {
    serde_json::from_str(json).unwrap()
}

#[test]
fn defaults_follow_from_how_a_command_takes_its_prompt() {
    let limits = Limits::default();
    let of = |json: &str| object(json).resolve("x", &limits).unwrap();
    let stdin = of(r#"{"kind":"command","command":["cat"]}"#);
    assert_eq!((stdin.input, stdin.prose), (PromptInput::Stdin, true));
    let argument = of(r#"{"kind":"command","command":["echo","say {prompt}"]}"#);
    assert_eq!(
        (argument.input, argument.prose),
        (PromptInput::Argument, false)
    );
    let told = of(r#"{"kind":"command","command":["x"],"input":"stdin","prose":false}"#);
    assert_eq!((told.input, told.prose), (PromptInput::Stdin, false));
    let both = object(r#"{"kind":"command","command":["x","{prompt}"],"input":"stdin"}"#);
    assert_eq!(both.resolve("x", &limits).unwrap_err().field, "input");
    assert_eq!(
        (
            stdin.grace_ms,
            stdin.start_ms,
            stdin.stall_ms,
            stdin.idle_stop_ms
        ),
        (limits.grace_ms, limits.start_ms, None, limits.idle_stop_ms)
    );
    assert_eq!(
        (stdin.on_stall, stdin.permissions),
        (OnStall::Notify, PermissionPolicy::Ask)
    );
}

#[test]
fn the_words_of_the_configuration_are_the_same_in_snake_case() {
    let camel = object(
        r#"{"kind":"script","graceMs":1,"startMs":2,"stallMs":3,"onStall":"cancel","idleStopMs":4}"#,
    );
    let snake: AgentObject = toml::from_str(
        "kind = \"script\"\ngrace_ms = 1\nstart_ms = 2\nstall_ms = 3\non_stall = \"cancel\"\nidle_stop_ms = 4",
    )
    .unwrap();
    assert_eq!(camel, snake);
    assert!(toml::from_str::<AgentObject>("kind = \"script\"\ngrace = 1").is_err());
}

#[test]
fn the_agents_that_are_known_resolve() {
    for (name, object) in AgentObject::known() {
        let spec = object.resolve(name, &Limits::default()).unwrap();
        if let Some(preset) = Preset::named(name) {
            assert_eq!(spec.command, preset.command);
            assert_eq!((spec.kind, spec.prose), (AgentKind::Acp, true));
            continue;
        }
        match name {
            "sh" => {
                assert_eq!(spec.command, ["sh", "-c", "{prompt}"]);
                assert_eq!((spec.kind, spec.prose), (AgentKind::Command, false));
            }
            "shell" => {
                assert_eq!(spec.command, ["bash"]);
                assert_eq!((spec.kind, spec.prose), (AgentKind::Shell, false));
                assert!(!spec.rc && !spec.record);
            }
            _ => assert_eq!((spec.kind, spec.prose), (AgentKind::Script, true)),
        }
    }
}

#[test]
fn an_agent_is_described_with_the_words_of_its_kind_and_no_others() {
    let of = |json: &str| object(json).resolve("x", &Limits::default());
    let zsh =
        r#"{"kind":"shell","shell":"/bin/zsh","rc":true,"record":true,"prose":false,"stallMs":5}"#;
    let spec = of(zsh).unwrap();
    assert_eq!((spec.rc, spec.record, spec.prose), (true, true, false));
    assert_eq!(
        (spec.command, spec.stall_ms),
        (vec!["/bin/zsh".to_owned()], Some(5))
    );
    let snake: AgentObject =
        toml::from_str("kind = \"shell\"\nshell = \"/bin/zsh\"\nrc = true\nrecord = true\nprose = false\nstall_ms = 5")
            .unwrap();
    assert_eq!(object(zsh), snake);
    for (json, field) in [
        (r#"{"kind":"shell","command":["bash"]}"#, "command"),
        (r#"{"kind":"shell","input":"stdin"}"#, "input"),
        (r#"{"kind":"shell","prose":true}"#, "prose"),
        (r#"{"kind":"shell","idleStopMs":5}"#, "idleStopMs"),
        (r#"{"kind":"shell","shell":""}"#, "shell"),
        (r#"{"kind":"shell","shell":"a\u0000b"}"#, "shell"),
        (
            r#"{"kind":"command","command":["x"],"shell":"sh"}"#,
            "shell",
        ),
        (r#"{"kind":"command","command":["x"],"rc":false}"#, "rc"),
        (
            r#"{"kind":"command","command":["x"],"record":true}"#,
            "record",
        ),
        (r#"{"kind":"script","record":false}"#, "record"),
        (r#"{"kind":"script","command":["x"]}"#, "command"),
        (r#"{"kind":"script","input":"stdin"}"#, "input"),
        (r#"{"kind":"acp"}"#, "command"),
        (r#"{"kind":"acp","command":[]}"#, "command"),
        (r#"{"kind":"acp","command":["x"],"prose":false}"#, "prose"),
        (r#"{"kind":"acp","command":["x"],"input":"stdin"}"#, "input"),
        (r#"{"kind":"acp","command":["x"],"rc":true}"#, "rc"),
        (
            r#"{"kind":"acp","command":["x"],"textFrom":"stdout"}"#,
            "textFrom",
        ),
        (
            r#"{"kind":"acp","command":["x"],"stopSignal":"SIGINT"}"#,
            "stopSignal",
        ),
        (r#"{"kind":"acp","command":["x"],"model":""}"#, "model"),
        (r#"{"kind":"shell","shared":true}"#, "shared"),
        (
            r#"{"kind":"command","command":["x"],"terminals":false}"#,
            "terminals",
        ),
    ] {
        let fault = of(json).unwrap_err();
        assert_eq!(fault.field, field, "{json}: {fault}");
    }
}

#[test]
fn a_text_is_taken_from_where_a_json_pointer_can_point() {
    let of = |from: &str| {
        let agent = json!({"kind": "command", "command": ["x"], "textFrom": from});
        object(&agent.to_string()).resolve("x", &Limits::default())
    };
    for from in ["json:", "json:/", "json:/result", "json:/a~0b/c~1d/~01"] {
        assert!(of(from).is_ok(), "{from}");
    }
    for from in ["", "json", "json:result", "json:/a~2b", "json:/a~"] {
        assert_eq!(of(from).unwrap_err().field, "textFrom", "{from}");
    }
}

#[test]
fn what_is_stored_of_an_inline_agent_has_no_env_and_can_be_read_again() {
    let with = object(r#"{"kind":"command","command":["cat"],"env":{"KEY":"secret"},"graceMs":9}"#);
    let AgentRef::Inline(stored) = AgentParam::Inline(Box::new(with.clone())).to_ref() else {
        panic!()
    };
    assert!(!stored.contains("secret") && !stored.contains("KEY"));
    assert_eq!(object(&stored), AgentObject { env: None, ..with });
}

#[test]
fn a_long_command_is_shown_cut() {
    let many = vec!["x".repeat(1_000); 20];
    let mut spec = object(r#"{"kind":"command","command":["x"]}"#)
        .resolve("x", &Limits::default())
        .unwrap();
    let info = AgentInfo::of(&spec, AgentSource::Configured, false);
    assert!(
        !serde_json::to_string(&info)
            .unwrap()
            .contains("command\":[")
    );
    assert_eq!(&*info.clone().with_command(&spec).command, ["x".into()]);
    spec.command = many;
    let shown = info.with_command(&spec).command;
    assert_eq!((shown.len(), &*shown[16]), (17, "…"));
    assert!(shown.iter().all(|part| part.len() <= 256), "{shown:?}");
}
