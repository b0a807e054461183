-- One row. The marks hold what the newest rows no longer tell once they were removed.
CREATE TABLE meta (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    store_id   TEXT NOT NULL,
    epoch      INTEGER NOT NULL DEFAULT 0,
    last_seq   INTEGER NOT NULL DEFAULT 0,
    last_event INTEGER NOT NULL DEFAULT 0,
    pruned_to  INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE sessions (
    id          TEXT PRIMARY KEY,
    agent_form  TEXT NOT NULL,
    agent       TEXT NOT NULL,
    cwd         TEXT NOT NULL,
    env_names   TEXT NOT NULL,
    parent      TEXT,
    title       TEXT,
    timeout_ms  INTEGER,
    permissions TEXT,
    closed      INTEGER NOT NULL,
    cancel_mark INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_closed ON sessions (created_at, id) WHERE closed = 1;

-- A run is live until `ended_at` is set. `held` is 1 while an inbox or a dead letter names it.
-- Large columns come last: whoever reads the others does not touch them.
CREATE TABLE runs (
    seq              INTEGER PRIMARY KEY,
    run_id           TEXT NOT NULL UNIQUE,
    session          TEXT NOT NULL,
    kind             TEXT NOT NULL,
    place            INTEGER NOT NULL,
    notify           TEXT,
    timeout_ms       INTEGER,
    queue_timeout_ms INTEGER,
    permissions      TEXT,
    traceparent      TEXT,
    accepted_at      INTEGER NOT NULL,
    started_at       INTEGER,
    stop             TEXT,
    into_seq         INTEGER,
    ended_at         INTEGER,
    event            INTEGER,
    held             INTEGER NOT NULL DEFAULT 0,
    outcome          TEXT,
    reason           TEXT,
    truncated        INTEGER,
    exit_code        INTEGER,
    stop_reason      TEXT,
    error_kind       TEXT,
    error_message    TEXT,
    into_run         TEXT,
    usage            TEXT,
    text             TEXT,
    prompt_form      TEXT NOT NULL,
    prompt           TEXT NOT NULL
) STRICT;
CREATE INDEX runs_session  ON runs (session, seq);
CREATE INDEX runs_notify   ON runs (notify, seq) WHERE notify IS NOT NULL;
CREATE INDEX runs_live     ON runs (seq) WHERE ended_at IS NULL;
CREATE INDEX runs_ended    ON runs (seq) WHERE ended_at IS NOT NULL;
CREATE INDEX runs_prunable ON runs (ended_at, seq) WHERE ended_at IS NOT NULL AND held = 0;
CREATE INDEX runs_held     ON runs (session, notify, event) WHERE held = 1;

CREATE TABLE events (
    n       INTEGER PRIMARY KEY,
    session TEXT NOT NULL,
    kind    TEXT NOT NULL,
    run_id  TEXT NOT NULL
) STRICT;
CREATE INDEX events_session ON events (session, n);

-- `n` is the event that announced the completion: an inbox is read in the order in which runs ended.
CREATE TABLE inbox (
    session     TEXT NOT NULL,
    n           INTEGER NOT NULL,
    run_id      TEXT NOT NULL,
    attempt     INTEGER NOT NULL,
    lease_id    TEXT,
    lease_until INTEGER,
    PRIMARY KEY (session, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters (
    run_id TEXT PRIMARY KEY,
    parent TEXT NOT NULL,
    why    TEXT NOT NULL,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Sessions that were purged and not opened since: what comes for them is a dead letter.
CREATE TABLE purged (
    id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
