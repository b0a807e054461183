//! What is known of a process by its number.

/// When this process started; 0 where that is unknown.
pub(super) fn start_of_own() -> u64 {
    start_of(std::process::id()).unwrap_or(0)
}

/// When a process started, in the kernel's ticks since the machine did. With its number this names it among all that ever were.
/// `None` if there is no such process, or no `/proc`.
pub(super) fn start_of(pid: u32) -> Option<u64> {
    field(pid, 22)?.parse().ok()
}

/// Whether somebody has stopped a process with a signal.
pub(super) fn is_stopped(pid: u32) -> bool {
    field(pid, 3).is_some_and(|state| state == "T")
}

/// A field of `/proc/PID/stat`, the third or a later one, as proc(5) counts them.
fn field(pid: u32, number: usize) -> Option<String> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, also parentheses and spaces: what follows its last parenthesis is plain, the third field first.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    let field = rest.split_ascii_whitespace().nth(number - 3)?;
    Some(field.to_owned())
}

/// As whom a process acts. `None` if there is no such process, or no `/proc`.
#[cfg(target_os = "linux")]
pub(super) fn user_of(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_ascii_whitespace().nth(1)?.parse().ok()
}
