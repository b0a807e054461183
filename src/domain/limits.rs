//! Everything has a limit, and every limit has its name in this one table.

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $field:ident / $wire:literal = $default:expr;)+) => {
        /// Every limit by name. [`Default`] is the table; a configuration may change single ones.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        /// The names: as in the configuration, as in the protocol, the default, and what it bounds.
        pub const TABLE: &[(&str, &str, u64, &str)] = &[
            $((stringify!($field), $wire, $default, concat!($($doc),+)),)+
        ];

        impl Limits {
            /// Each limit's protocol name and value, in the table's order.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$(($wire, self.$field),)+]
            }

            /// Sets a limit by its configuration name; `false` when there is none of that name.
            pub fn set(&mut self, name: &str, value: u64) -> bool {
                match name {
                    $(stringify!($field) => self.$field = value,)+
                    _ => return false,
                }
                true
            }
        }
    };
}

/// Limits that are part of the protocol: clients rely on them, so no configuration changes them.
pub const FIXED: &[&str] = &[
    "line_bytes",
    "text_bytes",
    "shown_prompt_bytes",
    "update_bytes",
    "batch",
    "request_id_bytes",
    "param_text_bytes",
    "terminal_line_bytes",
    "keys",
];

/// Bytes of a text in parameters: more than an argument or a variable of a program may have (128 KiB), however it is escaped.
pub const PARAM_TEXT_BYTES: u64 = 1 << 20;

limits! {
    /// Bytes of one incoming frame.
    max_frame_bytes / "maxFrameBytes" = 16 << 20;
    /// Bytes of one outgoing line, batches aside.
    line_bytes / "lineBytes" = 64 << 10;
    /// Bytes of a text as encoded in JSON.
    text_bytes / "textBytes" = 32 << 10;
    /// Bytes of a stored prompt as it is shown.
    shown_prompt_bytes / "shownPromptBytes" = 4 << 10;
    /// Bytes of one prompt.
    prompt_bytes / "promptBytes" = 1 << 20;
    /// Bytes of one line that is typed into a terminal, without the line's end.
    terminal_line_bytes / "terminalLineBytes" = super::terminal::LINE_BYTES;
    /// Keys of one `run/input`.
    keys / "keys" = 1_024;
    /// Bytes of an agent's update before it is replaced by its size.
    update_bytes / "updateBytes" = 48 << 10;
    /// Calls in one batch.
    batch / "batch" = 256;
    /// Bytes of a request's id.
    request_id_bytes / "requestIdBytes" = 256;
    /// Levels of nesting in a message.
    json_depth / "jsonDepth" = 128;
    /// Values in a message, by its brackets and commas: what is small as a text can be large once it is parsed.
    json_values / "jsonValues" = 65_536;
    /// Bytes of a text in parameters as encoded in JSON, prompts and what is typed aside.
    param_text_bytes / "paramTextBytes" = PARAM_TEXT_BYTES;
    /// Clients that one process serves over its store's socket; fewer where it may not have three descriptors for each.
    clients / "clients" = 1_000;
    /// Milliseconds without a word after which the process that holds a store is ended by those that are attached to it.
    owner_timeout_ms / "ownerTimeoutMs" = 10_000;
    /// Requests of one connection under way, waiting ones included.
    requests / "requests" = 32_768;
    /// Bytes of the parameters of one connection's requests under way, 64 more for each value in them. One alone may have more.
    request_bytes / "requestBytes" = 64 << 20;
    /// Bytes of answers and events that one connection may leave unread before lossy events are dropped.
    unread_bytes / "unreadBytes" = 1 << 20;
    /// Bytes of unread answers at which a connection's requests are no longer read.
    unread_answer_bytes / "unreadAnswerBytes" = 32 << 20;
    /// Runs queued in one session.
    queue / "queue" = 10_000;
    /// Runs under way in all sessions together.
    active_runs / "activeRuns" = 64;
    /// Completions that an inbox may hold or expect.
    inbox / "inbox" = 100_000;
    /// Most completions of one delivery.
    drain / "drain" = 1_000;
    /// Milliseconds that a delivery's lease lasts unless it says so itself.
    lease_ms / "leaseMs" = 30_000;
    /// Failed deliveries after which a completion becomes a dead letter.
    max_attempts / "maxAttempts" = 5;
    /// Days that completions wait for a parent that was never opened.
    absent_days / "absentDays" = 7;
    /// Bytes of the reasons and prompts that join in one wake.
    wake_joined_bytes / "wakeJoinedBytes" = 32 << 10;
    /// Bytes of the completions' texts that one wake run carries.
    wake_bytes / "wakeBytes" = 256 << 10;
    /// Wake runs of one session in `wakeBurstMs`.
    wake_burst / "wakeBurst" = 5;
    /// Milliseconds in which at most `wakeBurst` wake runs of a session start.
    wake_burst_ms / "wakeBurstMs" = 60_000;
    /// Milliseconds until a session is woken again after a wake run that failed; each further failure doubles them.
    wake_backoff_ms / "wakeBackoffMs" = 1_000;
    /// Milliseconds that they grow to.
    wake_backoff_max_ms / "wakeBackoffMaxMs" = 300_000;
    /// Wakes of one session that wait for runs or for time.
    scheduled_wakes / "scheduledWakes" = 1_000;
    /// Runs named by one wait.
    wait_runs / "waitRuns" = 1_000;
    /// Rows of one page of a list.
    list / "list" = 1_000;
    /// Bytes of a live run's output that can be read again.
    output_bytes / "outputBytes" = 1 << 20;
    /// Milliseconds that a run may take to start.
    start_ms / "startMs" = 60_000;
    /// Milliseconds between asking a run to stop and killing its processes.
    grace_ms / "graceMs" = 5_000;
    /// Milliseconds that an unused agent process is kept.
    idle_stop_ms / "idleStopMs" = 1_800_000;
    /// Milliseconds until a permission request is denied while no client is attached.
    permission_timeout_ms / "permissionTimeoutMs" = 300_000;
    /// Milliseconds that a shutdown in mode `stop` may take.
    stop_ms / "stopMs" = 10_000;
    /// Milliseconds that a shutdown in mode `finish` may take before it becomes `stop`.
    finish_ms / "finishMs" = 600_000;
    /// Days that ended runs, and recordings, are kept.
    retain_days / "retainDays" = 30;
    /// Ended runs that are kept.
    retain_runs / "retainRuns" = 100_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_can_be_set_by_its_name_and_is_shown() {
        for (index, (name, wire, default, what)) in TABLE.iter().enumerate() {
            let mut limits = Limits::default();
            assert_eq!(limits.entries()[index], (*wire, *default));
            assert!(limits.set(name, default + 1));
            assert_eq!(limits.entries()[index].1, default + 1);
            assert!(what.ends_with('.'), "{name}");
        }
        assert!(!Limits::default().set("quue", 1));
    }
}
