-- Under a constraint, which a foreign key might refer to, a new order key would be a new identity: whoever changes it
-- would wait for all who give the logging configuration to rooms. An index on a condition is no such thing.
ALTER TABLE logging_configuration DROP CONSTRAINT logging_configuration_order;
CREATE UNIQUE INDEX logging_configuration_order ON logging_configuration (account_id, region, order_key)
    WHERE order_key IS NOT NULL;

-- What was updated or deleted lately, for the other servers: by the transaction that did it. Whoever has looked knows by its
-- snapshot which of them came to light since, however long each took.
DROP TABLE room_change;
CREATE TABLE room_change (
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    account_id  text COLLATE "C" NOT NULL,
    region      text COLLATE "C" NOT NULL,
    room        text COLLATE "C" NOT NULL,
    PRIMARY KEY (transaction, account_id, region, room)
);
