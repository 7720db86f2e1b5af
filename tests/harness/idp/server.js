// A real authorization server (oidc-provider) on loopback, for tests: client credentials, JWT access tokens
// by resource indicator, opaque tokens, introspection, revocation, discovery and key set.
//
// usage: node server.js OPTIONS.json      see tests/harness/idp.py, which writes the file
//
// What oidc-provider fixes when it is made (keys, clients, lifetimes) is changed by making another one over
// the same store: POST /control does that, so that keys rotate and secrets change while it runs.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { generateKeyPairSync, randomBytes, timingSafeEqual } from 'node:crypto';
import Provider, { errors } from 'oidc-provider';

const options = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const issuer = `http://127.0.0.1:${options.port}`;
const store = new Map(); // outlives each provider
const counts = {};
let keys = [];
let provider;
let callback;

class Store {
  constructor(kind) { this.kind = kind; }

  key(id) { return `${this.kind}:${id}`; }

  async upsert(id, payload, expiresIn) {
    store.set(this.key(id), { payload, until: Date.now() + expiresIn * 1000 });
  }

  async find(id) {
    const row = store.get(this.key(id));
    if (!row) return undefined;
    if (row.until > Date.now()) return row.payload;
    store.delete(this.key(id));
    return undefined;
  }

  async findByUid() { return undefined; } // of log-ins by people, which this server does not have

  async findByUserCode() { return undefined; }

  async consume(id) {
    const row = store.get(this.key(id));
    if (row) row.payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) { store.delete(this.key(id)); }

  async revokeByGrantId(grantId) {
    for (const [key, row] of store) {
      if (row.payload.grantId === grantId) store.delete(key);
    }
  }
}

function newKeys() {
  const kid = randomBytes(6).toString('hex');
  const pairs = {
    RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  };
  return Object.entries(pairs).map(([alg, pair]) => ({
    ...pair.privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg.toLowerCase()}-${kid}`,
  }));
}

function client(row) {
  return {
    client_id: row.id,
    client_secret: row.secret,
    scope: row.scope || undefined,
    tenant: row.tenant,
    token_endpoint_auth_method: row.auth ?? 'client_secret_basic',
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
  };
}

function build() {
  provider = new Provider(issuer, {
    adapter: Store,
    jwks: { keys },
    clients: options.clients.map(client),
    scopes: options.scopes,
    extraClientMetadata: { properties: ['tenant'] },
    extraTokenClaims: (ctx, token) => (token.client?.tenant ? { tenant: token.client.tenant } : undefined),
    ttl: { ClientCredentials: options.ttl },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo(ctx, resource) {
          const format = options.resources[resource];
          if (!format) throw new errors.InvalidTarget();
          const common = { scope: options.scopes.join(' '), audience: options.audience, accessTokenTTL: options.ttl };
          return format === 'opaque'
            ? { ...common, accessTokenFormat: 'opaque' }
            : { ...common, accessTokenFormat: 'jwt', jwt: { sign: { alg: format } } };
        },
      },
    },
  });
  provider.on('server_error', (ctx, err) => console.error('server_error', err));
  callback = provider.callback();
}

function answer(res, status, body) {
  res.writeHead(status, { 'Content-Type': 'application/json' });
  res.end(JSON.stringify(body));
}

function allowed(req) {
  const given = Buffer.from(req.headers['x-control'] ?? '');
  const wanted = Buffer.from(options.control);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

// rotate: new keys sign, old ones stay in the set; retire: old ones leave it; ttl, clients: replaced
function change(wish) {
  if (wish.rotate) keys = [...newKeys(), ...keys];
  if (wish.retire) keys = keys.slice(0, 2);
  if (wish.ttl !== undefined) options.ttl = wish.ttl;
  if (wish.clients !== undefined) options.clients = wish.clients;
  build();
}

function control(req, res) {
  if (!allowed(req)) {
    answer(res, 403, { error: 'wrong X-Control' });
    return;
  }
  let body = '';
  req.on('data', (part) => { body += part; });
  req.on('end', () => {
    try {
      if (req.method === 'POST') change(JSON.parse(body));
      answer(res, 200, { kids: keys.map((k) => k.kid), counts });
    } catch (e) {
      answer(res, 400, { error: String(e) });
    }
  });
}

keys = newKeys();
build();
createServer((req, res) => {
  const path = req.url.split('?')[0];
  if (path === '/control') {
    control(req, res);
    return;
  }
  counts[path] = (counts[path] ?? 0) + 1;
  callback(req, res);
}).listen(options.port, '127.0.0.1', () => console.log(`idp: ${issuer}`));
