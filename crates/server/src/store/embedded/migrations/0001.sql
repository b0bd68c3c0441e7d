-- The first schema.
--
-- Times and order keys are microseconds since 1970-01-01T00:00:00Z. Ids are 12 letters and digits. Lists of ids are
-- separated by commas, tags are one JSON object.

-- Account and region, as the small number that all keys begin with.
CREATE TABLE scope (
    id         INTEGER PRIMARY KEY,
    account_id TEXT NOT NULL,
    region     TEXT NOT NULL,
    UNIQUE (account_id, region)
) STRICT;

-- The last order key ever given out. One row; kept because the room that had it may be gone by the next start.
CREATE TABLE order_clock (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    last_order_key INTEGER NOT NULL
) STRICT;
INSERT INTO order_clock (id, last_order_key) VALUES (1, 0);

CREATE TABLE logging_configuration (
    scope            INTEGER NOT NULL,
    id               TEXT NOT NULL,
    name             TEXT NOT NULL,
    create_time      INTEGER NOT NULL,
    order_key        INTEGER NOT NULL,
    destination_kind TEXT NOT NULL CHECK (destination_kind IN ('s3', 'cloudwatch-logs', 'firehose')),
    destination      TEXT NOT NULL,
    tags             TEXT NOT NULL,
    PRIMARY KEY (scope, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX logging_configuration_order ON logging_configuration (scope, order_key);

CREATE TABLE room (
    scope                  INTEGER NOT NULL,
    id                     TEXT NOT NULL,
    name                   TEXT NOT NULL,
    create_time            INTEGER NOT NULL,
    order_key              INTEGER NOT NULL,
    message_rate_max       INTEGER NOT NULL,
    message_length_max     INTEGER NOT NULL,
    handler_uri            TEXT,
    handler_fallback       TEXT CHECK (handler_fallback IN ('ALLOW', 'DENY')),
    logging_configurations TEXT NOT NULL,
    tags                   TEXT NOT NULL,
    PRIMARY KEY (scope, id),
    CHECK ((handler_uri IS NULL) = (handler_fallback IS NULL))
) STRICT, WITHOUT ROWID;

-- The lists of ListRooms. A room has a row for each combination of name, handler uri and one logging configuration
-- that finds it; an empty by_... is "no condition". Rows lie in list order and carry all that a list shows, so that a
-- page with any filters is one range. tags is NULL when they are too long to be carried up to 16 times.
CREATE TABLE posting (
    scope                  INTEGER NOT NULL,
    by_name                TEXT NOT NULL,
    by_handler             TEXT NOT NULL,
    by_logging             TEXT NOT NULL,
    order_key              INTEGER NOT NULL,
    room                   TEXT NOT NULL,
    name                   TEXT NOT NULL,
    create_time            INTEGER NOT NULL,
    handler_uri            TEXT,
    handler_fallback       TEXT,
    logging_configurations TEXT NOT NULL,
    tags                   TEXT,
    PRIMARY KEY (scope, by_name, by_handler, by_logging, order_key)
) STRICT, WITHOUT ROWID;

-- Secret keys of the server, by what they are for. The highest id seals; the others only open.
CREATE TABLE secret_key (
    purpose     TEXT NOT NULL CHECK (purpose IN ('chat-token', 'page-token')),
    id          INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    secret      BLOB NOT NULL CHECK (length(secret) = 32),
    PRIMARY KEY (purpose, id)
) STRICT, WITHOUT ROWID;
