-- Inboxes that are drained, dead letters that can be put back, wakes.

ALTER TABLE sessions ADD COLUMN keep        TEXT NOT NULL DEFAULT 'all';
-- Policies that are read and written whole: JSON.
ALTER TABLE sessions ADD COLUMN wake        TEXT;
ALTER TABLE sessions ADD COLUMN heartbeat   TEXT;
ALTER TABLE sessions ADD COLUMN wake_streak INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN hushed      INTEGER NOT NULL DEFAULT 0;

CREATE INDEX sessions_parent ON sessions (parent) WHERE parent IS NOT NULL;

-- What is asked of held runs is asked by run.
DROP INDEX runs_held;

-- An entry has all that a drain needs to choose by: the runs are read only for what is handed out. `replaced` is null or a JSON list of
-- the ids of the runs whose completions it took the place of.
-- What an older turnlane left is as heavy as its texts can become; no completion was heavier than 45,000 bytes then.
ALTER TABLE inbox RENAME TO inbox_1;
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
-- LEFT JOIN: an entry whose run is missing stops the migration, it is not dropped.
INSERT INTO inbox
SELECT old.session, old.n, old.run_id, runs.session, old.attempt, 0,
    min(45000, 1024 + 6 * (octet_length(old.run_id) + octet_length(runs.session) + octet_length(old.session)
        + ifnull(octet_length(runs.into_run), 0) + octet_length(runs.text) + ifnull(octet_length(runs.stop_reason), 0)
        + ifnull(octet_length(runs.error_message), 0) + ifnull(octet_length(runs.usage), 0))),
    runs.ended_at, NULL, 0
FROM inbox_1 AS old LEFT JOIN runs ON runs.run_id = old.run_id;
DROP TABLE inbox_1;

-- `n` is the event that announced the completion: dead letters are listed in the order in which their runs ended.
ALTER TABLE dead_letters RENAME TO dead_letters_1;
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
INSERT INTO dead_letters
SELECT runs.event, old.run_id, old.parent, old.why, old.at, runs.session, 0, 0,
    min(45000, 1024 + 6 * (octet_length(old.run_id) + octet_length(runs.session) + octet_length(old.parent)
        + ifnull(octet_length(runs.into_run), 0) + octet_length(runs.text) + ifnull(octet_length(runs.stop_reason), 0)
        + ifnull(octet_length(runs.error_message), 0) + ifnull(octet_length(runs.usage), 0))),
    runs.ended_at, NULL, 0
FROM dead_letters_1 AS old LEFT JOIN runs ON runs.run_id = old.run_id;
DROP TABLE dead_letters_1;
CREATE INDEX dead_letters_parent ON dead_letters (parent, n);

-- Why a completion became a dead letter; null in other events.
ALTER TABLE events ADD COLUMN why TEXT;
CREATE INDEX events_dead     ON events (n)      WHERE kind = 'deadLetter/added';
CREATE INDEX events_dead_run ON events (run_id) WHERE kind = 'deadLetter/added';

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
