-- What a new database begins with: the same as all migrations one after the other, which is tested, and several times as fast.

-- One row. The marks hold what the newest rows no longer tell once they were removed.
CREATE TABLE meta (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    store_id   TEXT NOT NULL,
    epoch      INTEGER NOT NULL DEFAULT 0,
    last_seq   INTEGER NOT NULL DEFAULT 0,
    last_event INTEGER NOT NULL DEFAULT 0,
    pruned_to  INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The policies `wake` and `heartbeat` are read and written whole: JSON.
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
    created_at  INTEGER NOT NULL,
    keep        TEXT NOT NULL DEFAULT 'all',
    wake        TEXT,
    heartbeat   TEXT,
    wake_streak INTEGER NOT NULL DEFAULT 0,
    hushed      INTEGER NOT NULL DEFAULT 0,
    conversation TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_closed ON sessions (created_at, id) WHERE closed = 1;
CREATE INDEX sessions_parent ON sessions (parent) WHERE parent IS NOT NULL;

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

-- `why` tells why a completion became a dead letter; it is null in other events.
CREATE TABLE events (
    n       INTEGER PRIMARY KEY,
    session TEXT NOT NULL,
    kind    TEXT NOT NULL,
    run_id  TEXT NOT NULL,
    why     TEXT
) STRICT;
CREATE INDEX events_session ON events (session, n);
CREATE INDEX events_dead     ON events (n)      WHERE kind = 'deadLetter/added';
CREATE INDEX events_dead_run ON events (run_id) WHERE kind = 'deadLetter/added';

-- `n` is the event that announced the completion: an inbox is read in the order in which runs ended. An entry has all that a drain
-- needs to choose by: the runs are read only for what is handed out. `replaced` is null or a JSON list of the ids of the runs whose
-- completions it took the place of.
CREATE TABLE inbox (
    session        TEXT NOT NULL,
    n              INTEGER NOT NULL,
    run_id         TEXT NOT NULL,
    child          TEXT NOT NULL,
    attempt        INTEGER NOT NULL,
    failures       INTEGER NOT NULL,
    weight         INTEGER NOT NULL,
    ended_at       INTEGER NOT NULL,
    replaced       TEXT,
    replaced_count INTEGER NOT NULL,
    PRIMARY KEY (session, n)
) STRICT, WITHOUT ROWID;

-- `n` is the event that announced the completion: dead letters are listed in the order in which their runs ended.
CREATE TABLE dead_letters (
    n              INTEGER PRIMARY KEY,
    run_id         TEXT NOT NULL UNIQUE,
    parent         TEXT NOT NULL,
    why            TEXT NOT NULL,
    at             INTEGER NOT NULL,
    child          TEXT NOT NULL,
    attempt        INTEGER NOT NULL,
    failures       INTEGER NOT NULL,
    weight         INTEGER NOT NULL,
    ended_at       INTEGER NOT NULL,
    replaced       TEXT,
    replaced_count INTEGER NOT NULL
) STRICT;
CREATE INDEX dead_letters_parent ON dead_letters (parent, n);

-- What was handed out, so that an acknowledgement can name it for as long as ended runs are kept. `number` is in the order of time,
-- `entries` a JSON list of pairs: the event that announced the completion, and the run.
CREATE TABLE deliveries (
    number  INTEGER PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE,
    session TEXT NOT NULL,
    at      INTEGER NOT NULL,
    entries TEXT NOT NULL
) STRICT;
CREATE INDEX deliveries_session ON deliveries (session);

-- Sessions that were purged and not opened since: what comes for them is a dead letter.
CREATE TABLE purged (
    id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- What made the runs of kind `wake`, and what they carried: JSON.
CREATE TABLE wakes (
    seq   INTEGER PRIMARY KEY,
    facts TEXT NOT NULL
) STRICT;

-- Wakes that are accepted and not due yet. `runs` is a JSON list of the ids that they wait for.
CREATE TABLE scheduled_wakes (
    run_id          TEXT PRIMARY KEY,
    session         TEXT NOT NULL,
    if_busy         TEXT NOT NULL,
    only_if_pending INTEGER NOT NULL,
    need            INTEGER NOT NULL,
    runs            TEXT NOT NULL,
    facts           TEXT NOT NULL
) STRICT;
CREATE INDEX scheduled_wakes_session ON scheduled_wakes (session);

-- Wakes that joined another: whoever repeats one finds the run that it went into.
CREATE TABLE joined_wakes (
    run_id   TEXT PRIMARY KEY,
    into_run TEXT NOT NULL,
    session  TEXT NOT NULL,
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX joined_wakes_at      ON joined_wakes (at);
CREATE INDEX joined_wakes_session ON joined_wakes (session);
