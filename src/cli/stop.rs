//! `turnlane stop`: the end for everyone who uses the store.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::args::{Common, Stop};
use super::client::{Incoming, Refused};
use super::inside::Ready;
use super::{CANCELLED, REFUSED, ours, say, usage};
use crate::store::{Holder, StoreError};

/// How often it is looked whether the holder is gone.
const LOOK: Duration = Duration::from_millis(5);
/// How long its last steps may take.
const LAST_STEPS: Duration = Duration::from_secs(10);

/// Stops whoever holds the store, and returns when nobody does any more.
pub(super) fn stop(common: &Common, asked: &Stop) -> ExitCode {
    let ready = match Ready::new(common) {
        Ok(ready) => ready,
        Err(status) => return status,
    };
    let Some(store) = ready.store().map(Path::to_owned) else {
        return usage("a store in memory belongs to its process: there is none to stop");
    };
    match is_held(&store) {
        Ok(true) => {}
        Ok(false) => return nobody(asked),
        Err(error) => return ours(&error),
    }
    let mut inside = match ready.enter_if_held() {
        Ok(inside) => inside,
        Err(error) => return ours(&error),
    };
    // If it dies meanwhile, whoever takes its place is asked as well.
    let answer = inside.client.ask("shutdown", &asked.params());
    if answer.is_ok() {
        while let Incoming::Message(_) = inside.client.next() {}
    }
    let _ = inside.leave();
    match (answer, is_gone(&store)) {
        (Ok(answer), Ok(true)) => show(asked, &answer),
        // It was about to end, or was silent and had to be ended.
        (Err(_), Ok(true)) => nobody(asked),
        (Ok(_), Ok(false)) => refuse(asked, &still_there()),
        (Err(refused), Ok(false)) => refuse(asked, &refused),
        (_, Err(error)) => ours(&error),
    }
}

fn is_held(store: &Path) -> Result<bool, StoreError> {
    Holder::read(store)?.map_or(Ok(false), |holder| holder.still_holds())
}

/// Whether nobody holds it any more, or soon.
fn is_gone(store: &Path) -> Result<bool, StoreError> {
    let until = Instant::now() + LAST_STEPS;
    while is_held(store)? {
        if Instant::now() > until {
            return Ok(false);
        }
        std::thread::sleep(LOOK);
    }
    Ok(true)
}

fn still_there() -> Refused {
    Refused::ours(
        "storeLocked",
        "a process holds the store again: somebody has started one meanwhile",
    )
}

fn nobody(asked: &Stop) -> ExitCode {
    if !asked.json {
        say(&"nobody holds the store");
    }
    ExitCode::SUCCESS
}

fn refuse(asked: &Stop, refused: &Refused) -> ExitCode {
    if asked.json {
        super::print(&refused.to_json());
    }
    say(&format!("{}: {}", refused.kind, refused.message));
    ExitCode::from(if refused.kind == super::client::INTERRUPTED {
        CANCELLED
    } else {
        REFUSED
    })
}

fn show(asked: &Stop, answer: &Value) -> ExitCode {
    if asked.json {
        super::print(answer);
    } else {
        say(&format!(
            "stopped: {} runs ended, {} were cancelled, {} stay queued",
            answer["completed"], answer["cancelled"], answer["left"]
        ));
    }
    ExitCode::SUCCESS
}

impl Stop {
    fn params(&self) -> Value {
        let mut params = json!({"everyone": true});
        if self.finish {
            params["mode"] = json!("finish");
        }
        if let Some(limit) = self.timeout {
            let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            params["timeoutMs"] = json!(ms.max(1));
        }
        params
    }
}
