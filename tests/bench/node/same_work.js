// The rival of pipeline.py that does the same work as tallygate on the way of a good posting: JSON Schema,
// master data and calendar, amounts in whole numbers, an event journalled before its XACK, each posting
// marked durably before its first byte and after its answer, marks of all in flight in one commit, an
// audit chain, control totals. It has no sandboxed rules, no order of versions, no retry, breaker or
// look-up.
// node same_work.js SOCKET PASSWORD STREAM SINK_PORT COUNT FOLDER (schema.json, master.json, calendar.json)
'use strict';
const { Worker } = require('worker_threads');
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const Ajv = require('ajv');
const formats = require('ajv-formats');
const Redis = require('ioredis');
const { Pool } = require('undici');

const [socket, password, stream, port, count, folder] = process.argv.slice(2);
const redis = new Redis({ path: socket, username: 'admin', password });
const pools = Object.fromEntries(['erp', 'payroll'].map((name) => [name,
  new Pool(`http://127.0.0.1:${port}`, { connections: 64, pipelining: 1 })]));
const READ = 256;
const OPEN_MAX = 2048; // events whose postings are not all posted
const load = (name) => JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8'));
const ajv = new Ajv({ strict: false });
formats(ajv);
const valid = ajv.compile(load('schema.json'));
const master = load('master.json');
const calendar = load('calendar.json');
const workers = new Map(master.workers.map((w) => [w.id, w]));
const projects = new Map(master.projects.map((p) => [p.id, p]));
const categories = new Map(master.labor_categories.map((c) => [c.id, c]));
const centers = new Map(master.cost_centers.map((c) => [c.id, c]));
const assignments = new Map();
for (const a of master.assignments) {
  const key = `${a.worker}/${a.project}`;
  assignments.set(key, [...(assignments.get(key) || []), a]);
}

const holds = (span, date) => span.from <= date && (!span.to || date <= span.to);
const inForce = (list, date, state) => list.some((s) => holds(s, date) && (!state || s.state === state));
const spanOf = (list, entity, date) => list.find((s) => s.legal_entity === entity && holds(s, date))
  || list.find((s) => !s.legal_entity && holds(s, date));

class Journal {
  constructor(file) {
    this.thread = new Worker(path.join(__dirname, 'journal.js'), { workerData: file });
    this.thread.on('message', () => this.written());
    this.thread.on('error', (e) => { console.log(`failed ${e.message}`); process.exit(1); });
    this.rows = []; this.waiting = []; this.writing = null;
  }

  commit(...rows) {
    this.rows.push(...rows);
    return new Promise((done) => { this.waiting.push(done); this.begin(); });
  }

  begin() {
    if (this.writing || this.rows.length === 0) return;
    this.writing = this.waiting;
    this.thread.postMessage(this.rows);
    this.rows = []; this.waiting = [];
  }

  written() {
    const done = this.writing;
    this.writing = null;
    this.begin();
    for (const f of done) f();
  }
}

const journal = new Journal(path.join(folder, 'node.db'));
const ids = { event: 0, object: 0, posting: 0 };

function micros(text) {
  const [, sign, whole, part = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text);
  const n = BigInt(whole) * 1000000n + BigInt(part.padEnd(6, '0'));
  return sign ? -n : n;
}

function money(hours, rate) { // both in millionths; half up, two digits
  const cents = (hours * rate * 2n + 10000000000n) / 20000000000n;
  return `${cents / 100n}.${String(cents % 100n).padStart(2, '0')}`;
}

function check(entry) {
  const wrong = [];
  const worker = workers.get(entry.worker);
  const project = projects.get(entry.project);
  if (!worker) return ['worker_unknown'];
  if (!inForce(worker.employment, entry.date)) wrong.push('worker_inactive');
  if (!project) return [...wrong, 'project_unknown'];
  if (!inForce(project.states, entry.date, 'open')) wrong.push('project_closed');
  const task = project.tasks.find((t) => t.id === entry.task);
  if (!task) wrong.push('task_unknown');
  else if (!inForce(task.states, entry.date, 'open')) wrong.push('task_closed');
  if (!(assignments.get(`${worker.id}/${project.id}`) || []).some((a) => holds(a, entry.date))) {
    wrong.push('assignment_missing');
  }
  if (!categories.has(entry.labor_category || worker.labor_category)) wrong.push('labor_category_unknown');
  const center = centers.get(worker.cost_center);
  if (!center || center.legal_entity !== worker.legal_entity) wrong.push('cost_center_invalid');
  const period = spanOf(calendar.periods, worker.legal_entity, entry.date);
  if (!period || period.state !== 'open') wrong.push('period_closed');
  if (!spanOf(calendar.pay_cycles, worker.legal_entity, entry.date)) wrong.push('pay_cycle_unknown');
  return wrong;
}

function plan(entry) {
  const worker = workers.get(entry.worker);
  const category = categories.get(entry.labor_category || worker.labor_category);
  const period = spanOf(calendar.periods, worker.legal_entity, entry.date).id;
  const cycle = spanOf(calendar.pay_cycles, worker.legal_entity, entry.date).id;
  const hours = micros(entry.hours);
  const common = { entry: entry.id, version: entry.version, date: entry.date, worker: worker.id };
  return [
    { destination: 'erp', kind: 'labor', leg: 'cost', period, micros: hours, payload: { ...common, period,
      project: entry.project, task: entry.task, legal_entity: worker.legal_entity,
      cost_center: worker.cost_center, labor_category: category.id, hours: entry.hours,
      cost_rate: category.cost_rate, amount: money(hours, micros(category.cost_rate)),
      currency: category.currency } },
    { destination: 'payroll', kind: 'hours', leg: 'regular', period: cycle, micros: hours,
      payload: { ...common, pay_period: cycle, pay_code: worker.pay_code, hours: entry.hours } },
  ];
}

const digest = (text) => crypto.createHash('sha256').update(text).digest().subarray(0, 16);

async function post(p) {
  const now = Date.now();
  await journal.commit({ what: 'sent', values: [1, now, p.id] });
  const { statusCode, body } = await pools[p.destination].request({
    path: `/${p.destination}/${p.hex}`, method: 'PUT', body: p.text,
    headers: { 'content-type': 'application/json', 'idempotency-key': p.hex },
  });
  const ref = JSON.parse(await body.text()).id;
  if (statusCode !== 201) throw new Error(`${p.destination}: ${statusCode}`);
  await journal.commit({ what: 'posted', id: p.id, attempt: 1, now: Date.now(), ref, kind: p.kind,
    destination: p.destination, period: p.period, micros: Number(p.micros),
    detail: JSON.stringify({ key: p.hex, attempt: 1, ref, quantity: Number(p.micros),
      payload: digest(p.text).toString('hex').slice(0, 16) }) });
}

function take([id, list]) {
  const f = {};
  for (let i = 0; i < list.length; i += 2) f[list[i]] = list[i + 1];
  if (crypto.createHash('sha256').update(f.body).digest('hex') !== f.body_sha256) {
    throw new Error('another body');
  }
  const event = JSON.parse(f.body);
  const entry = event.data;
  if (!valid(entry)) throw new Error(ajv.errorsText(valid.errors));
  const wrong = check(entry);
  if (wrong.length) throw new Error(wrong.join(' '));
  const e = ++ids.event;
  const o = ++ids.object;
  const rows = [
    { what: 'event', values: [e, `s-${id}`, f.tenant, f.client, f.source, f.id, f.type, f.key,
      f.correlation_id, f.body_sha256, Number(f.received_at), Date.now(),
      digest(`${f.tenant}\n${f.client}\n${f.source}\n${f.id}`), f.body] },
    { what: 'object', values: [o, e, 'time_entry', entry.id, digest(`${f.tenant}\n${entry.id}`),
      entry.version, master.version, JSON.stringify(entry)] },
  ];
  const postings = plan(entry).map((p) => {
    const key = digest(`${p.destination}\n${entry.id}@${entry.version}\n${p.kind}\n${p.leg}\n0`);
    const row = { ...p, id: ++ids.posting, hex: key.toString('hex'), text: JSON.stringify(p.payload) };
    rows.push({ what: 'posting', values: [row.id, o, p.destination, p.kind, p.leg, key, p.period,
      Number(p.micros), row.text] });
    return row;
  });
  return { rows, postings };
}

async function main() {
  let open = 0; let done = 0; let room = null;
  const ended = () => {
    open -= 1; done += 1;
    if (room && open < OPEN_MAX) { room(); room = null; }
    if (done === Number(count)) { console.log(`done ${done}`); setInterval(() => {}, 1000); }
  };
  for (let read = 0; read < Number(count);) {
    if (open >= OPEN_MAX) await new Promise((f) => { room = f; });
    const answer = await redis.xreadgroup('GROUP', 'node', 'one', 'COUNT', READ, 'BLOCK', 1000,
      'STREAMS', stream, '>');
    if (!answer) continue;
    const entries = answer[0][1];
    const taken = entries.map(take);
    await journal.commit(...taken.flatMap((t) => t.rows));
    await redis.xack(stream, 'node', ...entries.map(([id]) => id));
    read += entries.length; open += entries.length;
    for (const t of taken) {
      Promise.all(t.postings.map(post)).then(ended)
        .catch((e) => { console.log(`failed ${e.message}`); process.exit(1); });
    }
  }
}

main().catch((e) => { console.log(`failed ${e.message}`); process.exit(1); });
