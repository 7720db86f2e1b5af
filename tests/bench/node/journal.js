// The journal of same_work.js, in a thread of its own: SQLite, WAL, synchronous FULL, one transaction for
// all that came while the last one was written. The tables and indexes are those of tallygate that its way
// through a posting touches; audit rows form a chain of SHA-256.
'use strict';
const { parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const Database = require('better-sqlite3');

const db = new Database(workerData);
db.pragma('journal_mode = WAL');
db.pragma('synchronous = FULL');
db.exec(`
CREATE TABLE events(id INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, tenant TEXT, client TEXT,
  source TEXT, ce_id TEXT, type TEXT, idem_key TEXT, correlation_id TEXT, body_sha256 TEXT,
  received_ms INTEGER, journalled_ms INTEGER, state INTEGER, identity BLOB UNIQUE, body BLOB);
CREATE TABLE objects(id INTEGER PRIMARY KEY, event INTEGER REFERENCES events(id), kind TEXT,
  object_id TEXT, key BLOB, version INTEGER, state INTEGER, master_version TEXT, json TEXT);
CREATE INDEX objects_event ON objects(event);
CREATE INDEX objects_key ON objects(key, version);
CREATE TABLE postings(id INTEGER PRIMARY KEY, object INTEGER REFERENCES objects(id), destination TEXT,
  kind TEXT, leg TEXT, key BLOB UNIQUE, period TEXT, quantity_micros INTEGER, state INTEGER,
  attempt INTEGER, first_sent_ms INTEGER, ref TEXT, payload TEXT);
CREATE INDEX postings_object ON postings(object);
CREATE INDEX postings_open ON postings(destination) WHERE state BETWEEN 2 AND 5;
CREATE INDEX postings_posted ON postings(destination, kind, period) WHERE state IN (6, 10);
CREATE TABLE attempts(id INTEGER PRIMARY KEY, posting INTEGER REFERENCES postings(id), attempt INTEGER,
  outcome TEXT, at_ms INTEGER);
CREATE INDEX attempts_posting ON attempts(posting);
CREATE TABLE audit(seq INTEGER PRIMARY KEY, at_ms INTEGER, action TEXT, subject TEXT, detail TEXT,
  prev BLOB, hash BLOB);
CREATE INDEX audit_subject ON audit(subject);
CREATE TABLE totals(destination TEXT, kind TEXT, period TEXT, micros INTEGER, count INTEGER,
  PRIMARY KEY(destination, kind, period));
`);

const one = {
  event: db.prepare('INSERT INTO events VALUES(?,?,?,?,?,?,?,?,?,?,?,?,1,?,?)'),
  object: db.prepare('INSERT INTO objects VALUES(?,?,?,?,?,?,1,?,?)'),
  posting: db.prepare('INSERT INTO postings VALUES(?,?,?,?,?,?,?,?,2,0,0,NULL,?)'),
  sent: db.prepare('UPDATE postings SET state = 3, attempt = ?, first_sent_ms = ? WHERE id = ?'),
  posted: db.prepare('UPDATE postings SET state = 6, ref = ? WHERE id = ?'),
  attempt: db.prepare("INSERT INTO attempts VALUES(NULL,?,?,'posted',?)"),
  total: db.prepare('INSERT INTO totals VALUES(?,?,?,?,1) ON CONFLICT DO UPDATE SET '
    + 'micros = micros + excluded.micros, count = count + 1'),
  audit: db.prepare('INSERT INTO audit VALUES(NULL,?,?,?,?,?,?)'),
};
let last = Buffer.alloc(32);

function audit(now, action, subject, detail) {
  const hash = crypto.createHash('sha256').update(last)
    .update(`${now}\n${action}\n${subject}\n${detail}`).digest();
  one.audit.run(now, action, subject, detail, last, hash);
  last = hash;
}

const apply = db.transaction((rows) => {
  for (const row of rows) {
    if (row.what === 'posted') {
      one.posted.run(row.ref, row.id);
      one.attempt.run(row.id, row.attempt, row.now);
      one.total.run(row.destination, row.kind, row.period, row.micros);
      audit(row.now, 'posting.posted', `posting ${row.id}`, row.detail);
    } else {
      one[row.what].run(...row.values);
    }
  }
});

parentPort.on('message', (rows) => {
  apply(rows);
  parentPort.postMessage(rows.length);
});
