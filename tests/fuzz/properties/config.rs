//! The configuration file: what it means, or what is wrong in which line.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use turnlane::sidecar::{Config, Flags};

use super::{Verdict, hold};

thread_local! {
    static PLACE: TempDir = tempfile::tempdir().expect("there is room for a file");
}

/// The property of the real reading.
pub fn holds(data: &[u8]) -> Verdict {
    holds_for(data, Config::load)
}

/// The bytes are the file.
pub fn holds_for(data: &[u8], load: impl Fn(&Flags) -> Result<Config, String>) -> Verdict {
    PLACE.with(|place| {
        let path = place.path().join("turnlane.toml");
        fs::write(&path, data).expect("it can be written");
        let flags = Flags {
            config: Some(path.clone()),
            store: Some(":memory:".into()),
            ..Flags::default()
        };
        let loaded = load(&flags);
        let again = load(&flags);
        let alike = match (&loaded, &again) {
            (Ok(one), Ok(two)) => format!("{one:?}") == format!("{two:?}"),
            (Err(one), Err(two)) => one == two,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        hold(alike, || format!("{loaded:?}, and then {again:?}"))?;
        match (loaded, std::str::from_utf8(data)) {
            (Ok(_), Err(_)) => Err("what is no text is understood".into()),
            (Err(why), Err(_)) => names(&why, &path),
            (Err(why), Ok(text)) => names(&why, &path).and_then(|()| has_a_line(&why, text)),
            (Ok(config), Ok(_)) => is_sound(&config),
        }
    })
}

fn names(why: &str, path: &Path) -> Verdict {
    let path = path.display().to_string();
    hold(why.starts_with(&path), || {
        format!("the file is not named: {why}")
    })
}

/// The line that is named is there.
fn has_a_line(why: &str, text: &str) -> Verdict {
    let number = why.split_once("line ").and_then(|(_, rest)| {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit());
        rest[..digits.unwrap_or(rest.len())].parse::<usize>().ok()
    });
    let lines = text.matches('\n').count() + 1;
    hold(
        number.is_some_and(|line| (1..=lines).contains(&line)),
        || format!("of {lines} lines: {why}"),
    )
}

fn is_sound(config: &Config) -> Verdict {
    for (name, value) in config.limits.entries() {
        hold(value >= 1, || format!("{name} is {value}"))?;
    }
    let agents = &config.agents;
    for built_in in ["sh", "shell", "script"] {
        hold(agents.contains_key(built_in), || {
            format!("{built_in} is gone")
        })?;
    }
    let default = config.default_agent.as_ref();
    hold(default.is_none_or(|name| agents.contains_key(name)), || {
        format!("the default agent {default:?} is none")
    })
}
