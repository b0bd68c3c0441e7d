-- The first schema.
--
-- Times and order keys are microseconds since 1970-01-01T00:00:00Z. Ids are 12 letters and digits. Lists of ids are
-- separated by commas, tags are one JSON object. What keys are made of is compared byte by byte (collation "C"): that is
-- fast, and no update of the system's locales can put an index out of order.

CREATE TABLE logging_configuration (
    account_id       text COLLATE "C" NOT NULL,
    region           text COLLATE "C" NOT NULL,
    id               text COLLATE "C" NOT NULL,
    name             text NOT NULL,
    create_time      bigint NOT NULL,
    order_key        bigint NOT NULL,
    destination_kind text NOT NULL CHECK (destination_kind IN ('s3', 'cloudwatch-logs', 'firehose')),
    destination      text NOT NULL,
    tags             text NOT NULL,
    PRIMARY KEY (account_id, region, id),
    CONSTRAINT logging_configuration_order UNIQUE (account_id, region, order_key)
);

CREATE TABLE room (
    account_id             text COLLATE "C" NOT NULL,
    region                 text COLLATE "C" NOT NULL,
    id                     text COLLATE "C" NOT NULL,
    name                   text NOT NULL,
    create_time            bigint NOT NULL,
    order_key              bigint NOT NULL,
    message_rate_max       bigint NOT NULL,
    message_length_max     bigint NOT NULL,
    handler_uri            text,
    handler_fallback       text CHECK (handler_fallback IN ('ALLOW', 'DENY')),
    logging_configurations text NOT NULL,
    tags                   text NOT NULL,
    PRIMARY KEY (account_id, region, id),
    CHECK ((handler_uri IS NULL) = (handler_fallback IS NULL))
);

-- The lists of ListRooms. A room has a row for each combination of name, handler uri and one logging configuration
-- that finds it; an empty by_... is "no condition". The key is in list order and a row carries all that a list shows,
-- so that a page with any filters is one range of it. tags is NULL when they are too long to be carried up to 16
-- times. Every room is in the list without conditions, so the key also sees to it that no two rooms of a scope have the
-- same order key.
CREATE TABLE posting (
    account_id             text COLLATE "C" NOT NULL,
    region                 text COLLATE "C" NOT NULL,
    by_name                text COLLATE "C" NOT NULL,
    by_handler             text COLLATE "C" NOT NULL,
    by_logging             text COLLATE "C" NOT NULL,
    order_key              bigint NOT NULL,
    room                   text COLLATE "C" NOT NULL,
    name                   text NOT NULL,
    create_time            bigint NOT NULL,
    handler_uri            text,
    handler_fallback       text,
    logging_configurations text NOT NULL,
    tags                   text,
    PRIMARY KEY (account_id, region, by_name, by_handler, by_logging, order_key)
);

-- What was updated or deleted lately, for the other servers.
CREATE TABLE room_change (
    change_time bigint NOT NULL,
    account_id  text COLLATE "C" NOT NULL,
    region      text COLLATE "C" NOT NULL,
    room        text COLLATE "C" NOT NULL,
    PRIMARY KEY (change_time, account_id, region, room)
);

-- Chat tokens that were used, by the end of the time span in which they expire (seconds since 1970). claim is that of
-- the client who was first.
CREATE TABLE redemption (
    bucket   bigint NOT NULL,
    token_id bytea NOT NULL CHECK (length(token_id) = 16),
    claim    bytea NOT NULL CHECK (length(claim) = 16),
    PRIMARY KEY (bucket, token_id)
);

-- Secret keys of the servers, by what they are for. The highest id seals; the others only open.
CREATE TABLE secret_key (
    purpose     text COLLATE "C" NOT NULL CHECK (purpose IN ('chat-token', 'page-token')),
    id          bigint NOT NULL,
    create_time bigint NOT NULL,
    secret      bytea NOT NULL CHECK (length(secret) = 32),
    PRIMARY KEY (purpose, id)
);

-- The database's clock. All order keys and times come from it, so that all servers have one.
CREATE FUNCTION order_clock() RETURNS bigint LANGUAGE sql VOLATILE
    AS 'SELECT (extract(epoch from clock_timestamp()) * 1000000)::bigint';
