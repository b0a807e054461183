-- What an agent keeps for a session over its own restarts: JSON.

ALTER TABLE sessions ADD COLUMN conversation TEXT;
