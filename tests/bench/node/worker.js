// The rival of pipeline.py: reads the stream, parses and checks each event, posts it to both
// destinations with a key that shows a repeat, acknowledges. 64 events at a time, keep-alive.
// node worker.js SOCKET PASSWORD STREAM SINK_PORT COUNT
'use strict';
const Redis = require('ioredis');
const { Pool } = require('undici');
const crypto = require('crypto');

const [socket, password, stream, port, count] = process.argv.slice(2);
const redis = new Redis({ path: socket, username: 'admin', password });
const sink = new Pool(`http://127.0.0.1:${port}`, { connections: 64, pipelining: 1 });
const REQUIRED = ['id', 'version', 'worker', 'project', 'task', 'date', 'hours'];

async function post(destination, leg, entry) {
  const key = crypto.createHash('sha256')
    .update(`${destination}/${entry.id}@${entry.version}/${leg}`).digest('hex').slice(0, 32);
  const { statusCode, body } = await sink.request({
    path: `/${destination}/${key}`, method: 'PUT',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify({ ...entry, leg }),
  });
  await body.dump();
  if (statusCode !== 201) throw new Error(`${destination}: ${statusCode}`);
}

async function handle([id, fields]) {
  let body;
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === 'body') body = fields[i + 1];
  const entry = JSON.parse(body).data;
  for (const name of REQUIRED) if (entry[name] === undefined) throw new Error(`no ${name}`);
  await Promise.all([post('erp', 'cost', entry), post('payroll', 'regular', entry)]);
  return id;
}

async function main() {
  let done = 0;
  while (done < Number(count)) {
    const answer = await redis.xreadgroup('GROUP', 'node', 'one', 'COUNT', 64, 'BLOCK', 1000,
      'STREAMS', stream, '>');
    if (!answer) continue;
    const ids = await Promise.all(answer[0][1].map(handle));
    await redis.xack(stream, 'node', ...ids);
    done += ids.length;
  }
  console.log(`done ${done}`);
  setInterval(() => {}, 1000);
}

main().catch((e) => { console.log(`failed ${e.message}`); process.exit(1); });
