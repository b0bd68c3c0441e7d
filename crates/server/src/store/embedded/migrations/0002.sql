-- A posting carries all that a list shows of its room in one text, ready to be written into an answer: to read it from
-- eight columns and to write it as JSON was most of what a page cost. The text is
--     ID CREATE_TIME LOGGING_CONFIGURATIONS DETAILS
-- with a space between each two, where details are JSON members: name, handler and tags. Tags that are too long to be
-- carried up to 16 times are left out at the end.
CREATE TABLE new_posting (
    scope      INTEGER NOT NULL,
    by_name    TEXT NOT NULL,
    by_handler TEXT NOT NULL,
    by_logging TEXT NOT NULL,
    order_key  INTEGER NOT NULL,
    entry      TEXT NOT NULL,
    PRIMARY KEY (scope, by_name, by_handler, by_logging, order_key)
) STRICT, WITHOUT ROWID;

INSERT INTO new_posting
SELECT scope, by_name, by_handler, by_logging, order_key,
       room || ' ' || create_time || ' ' || logging_configurations || ' '
       || '"name":' || json_quote(name)
       || iif(handler_uri IS NULL, '',
              ',"messageReviewHandler":{"uri":' || json_quote(handler_uri)
              || ',"fallbackResult":' || json_quote(handler_fallback) || '}')
       || ',"tags":' || coalesce(tags, '')
FROM posting
ORDER BY scope, by_name, by_handler, by_logging, order_key;

DROP TABLE posting;
ALTER TABLE new_posting RENAME TO posting;
