//! How many descriptors may be open: many in this process, and in agents as many as in whoever started us.
//!
//! A process that serves a thousand clients needs more than the usual 1,024. A program that waits with `select` breaks where a
//! descriptor has a number above that, so the higher limit is not handed down.

use std::ffi::OsStr;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is asked for, if the system allows as much.
const WANTED: u64 = 65_536;
/// The word for no limit.
const UNLIMITED: &str = "unlimited";

/// The limit before it was raised first. It belongs to the process.
static INHERITED: OnceLock<Option<u64>> = OnceLock::new();

/// Raises the limit of open descriptors as far as the system allows and we could need; agents keep that of before. The limit from
/// here on.
pub fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    INHERITED.get_or_init(|| current);
    let wanted = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    let now = current.unwrap_or(u64::MAX);
    let raised = Rlimit {
        current: Some(wanted),
        maximum,
    };
    if now >= wanted || setrlimit(Resource::Nofile, raised).is_err() {
        return now;
    }
    wanted
}

/// What a guard is told of its agent's limit: nothing where ours was never raised.
pub(super) fn for_agents() -> String {
    match INHERITED.get() {
        None => String::new(),
        Some(None) => UNLIMITED.to_owned(),
        Some(Some(limit)) => limit.to_string(),
    }
}

/// Gives a child that has no guard to do so the limit of before, if ours was raised. It may have begun already: what it does at first
/// must not depend on it.
#[cfg(target_os = "linux")]
pub(super) fn give_back_to(child: u32) {
    let pid = i32::try_from(child)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let (Some(current), Some(pid)) = (INHERITED.get(), pid) else {
        return;
    };
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: *current,
        maximum,
    };
    // It fails only for a child that is over.
    let _ = rustix::process::prlimit(Some(pid), Resource::Nofile, limit);
}

/// Elsewhere only a process itself sets its limits.
#[cfg(not(target_os = "linux"))]
pub(super) fn give_back_to(_child: u32) {}

/// Sets this process's limit, which its children inherit, to what its guard was told.
pub(super) fn give_back(told: &OsStr) {
    let current = match told.to_str() {
        Some(UNLIMITED) => None,
        Some(limit) => match limit.parse() {
            Ok(limit) => Some(limit),
            Err(_) => return,
        },
        None => return,
    };
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // One that was lowered meanwhile by somebody else stays.
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
}
