-- A posting carries all that a list shows of its room in one text, ready to be written into an answer:
--     ID CREATE_TIME LOGGING_CONFIGURATIONS DETAILS
-- with a space between each two, where details are JSON members: name, handler and tags. Tags that are too long to be
-- carried up to 16 times are left out at the end.

-- Servers of the first version may still be at work; what they write must not fall between the copy and what replaces it.
LOCK TABLE room, posting IN ACCESS EXCLUSIVE MODE;

CREATE TABLE new_posting (
    account_id text COLLATE "C" NOT NULL,
    region     text COLLATE "C" NOT NULL,
    by_name    text COLLATE "C" NOT NULL,
    by_handler text COLLATE "C" NOT NULL,
    by_logging text COLLATE "C" NOT NULL,
    order_key  bigint NOT NULL,
    entry      text COLLATE "C" NOT NULL,
    PRIMARY KEY (account_id, region, by_name, by_handler, by_logging, order_key)
);

INSERT INTO new_posting
SELECT account_id, region, by_name, by_handler, by_logging, order_key,
       room || ' ' || create_time || ' ' || logging_configurations || ' '
       || '"name":' || to_json(name)
       || CASE WHEN handler_uri IS NULL THEN ''
               ELSE ',"messageReviewHandler":{"uri":' || to_json(handler_uri)
                    || ',"fallbackResult":' || to_json(handler_fallback) || '}' END
       || ',"tags":' || coalesce(tags, '')
FROM posting
ORDER BY account_id, region, by_name, by_handler, by_logging, order_key;

DROP TABLE posting;
ALTER TABLE new_posting RENAME TO posting;
ALTER INDEX new_posting_pkey RENAME TO posting_pkey;
