//! How a run ended, in a line and as an exit status.

use std::time::Duration;

use serde_json::Value;

use super::{CANCELLED, OURS, TIMED_OUT};

/// A completion in one line.
pub(super) fn summary(completion: &Value) -> String {
    let mut line = completion["outcome"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if let Some(reason) = completion["reason"].as_str() {
        line += &format!(" ({reason})");
    }
    if let Some(message) = completion["error"]["message"].as_str() {
        let lines: Vec<&str> = message.lines().filter(|line| !line.is_empty()).collect();
        line += ": ";
        match lines[..] {
            // What a command said last: whoever watched has seen it.
            [first, _, ..] if completion["error"]["kind"] == "exitStatus" => {
                line += first;
                line.push('…');
            }
            _ => line += &lines.join(" / "),
        }
    } else if let Some(code) = completion["exitCode"].as_i64() {
        line += &format!(", exit {code}");
    }
    let began = completion["startedAt"]
        .as_i64()
        .or(completion["acceptedAt"].as_i64());
    if let (Some(began), Some(ended)) = (began, completion["endedAt"].as_i64()) {
        let took = Duration::from_millis(u64::try_from(ended - began).unwrap_or(0));
        line += &format!(", {}", humantime::format_duration(took));
    }
    format!(
        "{line} [{}]",
        completion["runId"].as_str().unwrap_or_default()
    )
}

/// A completion as an exit status.
pub(super) fn code(completion: &Value) -> u8 {
    let own = completion["exitCode"]
        .as_i64()
        .and_then(|code| u8::try_from(code & 0xff).ok());
    match completion["outcome"].as_str() {
        Some("cancelled") => CANCELLED,
        Some("timedOut") => TIMED_OUT,
        Some("interrupted" | "folded") => OURS,
        Some("completed") => own.unwrap_or(0),
        Some("failed") => own.filter(|code| *code != 0).unwrap_or(1),
        Some("exited") => own.unwrap_or(1),
        Some(_) | None => OURS,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_commands_own_exit_code_is_the_status_whatever_the_outcome_is_called() {
        for (outcome, own, status) in [
            ("completed", json!(0), 0),
            ("completed", json!(3), 3),
            ("completed", Value::Null, 0),
            ("exited", json!(0), 0),
            ("exited", json!(7), 7),
            ("exited", json!(137), 137),
            ("failed", json!(2), 2),
            ("failed", json!(0), 1),
            ("failed", Value::Null, 1),
            ("exited", Value::Null, 1),
            ("cancelled", json!(130), CANCELLED),
            ("timedOut", json!(137), TIMED_OUT),
            ("interrupted", Value::Null, OURS),
            ("folded", Value::Null, OURS),
        ] {
            let completion = json!({"outcome": outcome, "exitCode": own});
            assert_eq!(code(&completion), status, "{completion}");
        }
    }

    #[test]
    fn a_completion_is_told_in_a_line() {
        let failed = json!({
            "runId": "r", "outcome": "completed", "exitCode": 3, "startedAt": 1_000, "endedAt": 1_250,
        });
        assert_eq!(summary(&failed), "completed, exit 3, 250ms [r]");
        let exited = json!({
            "runId": "r", "outcome": "exited", "exitCode": 4, "error": {"message": "the shell ended"},
            "acceptedAt": 1_000, "endedAt": 1_001,
        });
        assert_eq!(summary(&exited), "exited: the shell ended, 1ms [r]");
        for (kind, shown) in [
            ("exitStatus", "failed: it exited. It wrote last:…, 1ms [r]"),
            (
                "start",
                "failed: it exited. It wrote last: / one / two, 1ms [r]",
            ),
        ] {
            let lines = json!({
                "runId": "r", "outcome": "failed", "acceptedAt": 1_000, "endedAt": 1_001,
                "error": {"kind": kind, "message": "it exited. It wrote last:\none\n\ntwo"},
            });
            assert_eq!(summary(&lines), shown);
        }
        let unfinished = json!({
            "runId": "r", "outcome": "failed", "error": {"message": "the command is not finished"},
            "acceptedAt": 1_000, "endedAt": 1_001,
        });
        assert_eq!(
            summary(&unfinished),
            "failed: the command is not finished, 1ms [r]"
        );
    }
}
