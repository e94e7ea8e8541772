-- A journal as version 2 of the schema had it, with a settled batch and an adopted one.
CREATE TABLE attempts (
    hash TEXT PRIMARY KEY,
    batch INTEGER NOT NULL REFERENCES batches (id),
    nonce INTEGER NOT NULL,
    sender TEXT NOT NULL,
    raw BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('live', 'reverted', 'lost'))
);
INSERT INTO "attempts" VALUES('0xh',1,4,'0xs',X'726177','live');
CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    number INTEGER NOT NULL CHECK (number > 0),
    day INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('planned', 'signed', 'sent', 'settled', 'adopted', 'void')),
    usage BLOB NOT NULL,
    total_nano TEXT NOT NULL,
    evidence BLOB NOT NULL,
    manifest BLOB NOT NULL,
    policy TEXT NOT NULL,
    resend TEXT NOT NULL,
    tx_hash TEXT,
    block INTEGER,
    block_hash TEXT,
    note TEXT NOT NULL DEFAULT ''
);
INSERT INTO "batches" VALUES(1,1,20000,'settled',X'000000010001000001000005000003','7',X'6565656565656565656565656565656565656565656565656565656565656565',X'7B22646179223A22323032342D30352D3130227D','0xp','first','0xh',9,'0xb','');
INSERT INTO "batches" VALUES(2,2,20001,'adopted',X'000000010001000001000005000003','7',X'6666666666666666666666666666666666666666666666666666666666666666',X'','','','0xt',10,'0xc','adopted');
CREATE TABLE documents (
    digest TEXT PRIMARY KEY, kind TEXT NOT NULL, suffix TEXT NOT NULL, content BLOB NOT NULL
);
CREATE TABLE ledger (chain_id INTEGER, genesis TEXT, contract TEXT, platform TEXT);
INSERT INTO "ledger" VALUES(31337,'0xaa','0x1111111111111111111111111111111111111111','0x2222222222222222222222222222222222222222');
CREATE UNIQUE INDEX one_batch_a_number ON batches (number) WHERE state != 'void';
CREATE INDEX batches_of_a_day ON batches (day);
CREATE INDEX batches_by_evidence ON batches (evidence);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('batches',2);
PRAGMA user_version = 2;
