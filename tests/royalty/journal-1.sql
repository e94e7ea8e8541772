-- A journal as version 1 of the schema had it, with one signed batch.
CREATE TABLE ledger (chain_id INTEGER, genesis TEXT, contract TEXT, platform TEXT);
CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    number INTEGER NOT NULL CHECK (number > 0),
    day INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('planned', 'signed', 'sent', 'settled', 'void')),
    usage BLOB NOT NULL,
    total_nano TEXT NOT NULL,
    evidence BLOB NOT NULL UNIQUE,
    manifest BLOB NOT NULL,
    policy TEXT NOT NULL,
    resend TEXT NOT NULL,
    tx_hash TEXT,
    block INTEGER,
    block_hash TEXT,
    note TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX one_batch_a_number ON batches (number) WHERE state != 'void';
CREATE INDEX batches_of_a_day ON batches (day);
CREATE TABLE attempts (
    hash TEXT PRIMARY KEY,
    batch INTEGER NOT NULL REFERENCES batches (id),
    nonce INTEGER NOT NULL,
    sender TEXT NOT NULL,
    raw BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('live', 'reverted', 'lost'))
);
CREATE TABLE documents (
    digest TEXT PRIMARY KEY, kind TEXT NOT NULL, suffix TEXT NOT NULL, content BLOB NOT NULL
);
INSERT INTO ledger VALUES (31337, '0xaa', '0x1111111111111111111111111111111111111111',
    '0x2222222222222222222222222222222222222222');
INSERT INTO batches VALUES (1, 1, 20000, 'signed', CAST('usage' AS BLOB), '7', x'ab', x'7b7d',
    '0xpolicy', 'first', '0xa', NULL, NULL, '');
INSERT INTO attempts VALUES ('0xa', 1, 3, '0x33', CAST('raw' AS BLOB), 'live');
PRAGMA user_version = 1;
