-- The rival: what a careful team writes with lua-nginx for the same work. Verify an RS256 token (key
-- parsed once, verified tokens cached until exp), two rates, idempotency key, append, answer 202: one
-- script call over a pooled cosocket. It reuses our admit.lua, so that Redis does the same work.
local ffi = require "ffi"
local cjson = require "cjson.safe"

ffi.cdef [[
typedef struct bio_st BIO; typedef struct evp_pkey_st EVP_PKEY; typedef struct evp_md_ctx_st EVP_MD_CTX;
typedef struct evp_md_st EVP_MD;
BIO *BIO_new_mem_buf(const void *buf, int len); int BIO_free(BIO *a);
EVP_PKEY *PEM_read_bio_PUBKEY(BIO *bp, EVP_PKEY **x, void *cb, void *u);
EVP_MD_CTX *EVP_MD_CTX_new(void); void EVP_MD_CTX_free(EVP_MD_CTX *ctx);
const EVP_MD *EVP_get_digestbyname(const char *name);
int EVP_DigestVerifyInit(EVP_MD_CTX *ctx, void **pctx, const EVP_MD *type, void *e, EVP_PKEY *pkey);
int EVP_DigestVerify(EVP_MD_CTX *ctx, const unsigned char *sig, size_t siglen,
                     const unsigned char *tbs, size_t tbslen);
unsigned char *SHA256(const unsigned char *d, size_t n, unsigned char *md);
]]
local crypto = ffi.load("crypto")
local md = ffi.new("unsigned char[32]")

local M = {}
local cache, cached = {}, 0
local pkey, sha, redis_path, password

function M.init(options)
    local f = assert(io.open(options.pem)); local pem = f:read("*a"); f:close()
    local bio = crypto.BIO_new_mem_buf(pem, #pem)
    pkey = crypto.PEM_read_bio_PUBKEY(bio, nil, nil, nil)
    assert(pkey ~= nil, "bad public key")
    sha, redis_path, password = options.sha, options.redis, options.password
end

local function unb64(s)
    s = s:gsub("-", "+"):gsub("_", "/")
    return ngx.decode_base64(s .. ("="):rep(-#s % 4))
end

local function sha256(s)
    crypto.SHA256(s, #s, md)
    return ffi.string(md, 32)
end

local function verify(token)
    local hit = cache[token]
    if hit then
        if hit.exp > ngx.time() then return hit end
        cache[token] = nil
        return nil
    end
    local head, body, sig = token:match("^([^.]+)%.([^.]+)%.([^.]+)$")
    if not head then return nil end
    local h, c, s = cjson.decode(unb64(head) or ""), cjson.decode(unb64(body) or ""), unb64(sig)
    if not h or h.alg ~= "RS256" or not c or not s then return nil end
    local ctx = crypto.EVP_MD_CTX_new()
    local signed = head .. "." .. body
    local ok = crypto.EVP_DigestVerifyInit(ctx, nil, crypto.EVP_get_digestbyname("SHA256"), nil, pkey) == 1
        and crypto.EVP_DigestVerify(ctx, s, #s, signed, #signed) == 1
    crypto.EVP_MD_CTX_free(ctx)
    if not ok or c.aud ~= "tallygate" or c.iss ~= "https://idp.example" or (c.exp or 0) <= ngx.time() then
        return nil
    end
    if cached > 1000 then cache, cached = {}, 0 end
    cache[token], cached = c, cached + 1
    return c
end

local function encode(args)
    local out = { "*", #args, "\r\n" }
    for i = 1, #args do
        local a = tostring(args[i])
        out[#out + 1] = "$" .. #a .. "\r\n"
        out[#out + 1] = a
        out[#out + 1] = "\r\n"
    end
    return out
end

local function reply(sock)
    local line, err = sock:receive()
    if not line then return nil, err end
    local kind, rest = line:sub(1, 1), line:sub(2)
    if kind == "$" then
        local n = tonumber(rest)
        if n < 0 then return false end
        local data = sock:receive(n + 2)
        return data and data:sub(1, n)
    elseif kind == "*" then
        local t = {}
        for i = 1, tonumber(rest) do t[i] = reply(sock) end
        return t
    elseif kind == "-" then
        return nil, rest
    end
    return rest
end

local function call(args)
    local sock = ngx.socket.tcp()
    sock:settimeout(250)
    local ok, err = sock:connect("unix:" .. redis_path, { pool_size = 64 })
    if not ok then return nil, err end
    if sock:getreusedtimes() == 0 then
        sock:send(encode { "AUTH", "edge", password })
        local r, e = reply(sock)
        if r ~= "OK" then return nil, e end
    end
    sock:send(encode(args))
    local r, e = reply(sock)
    if not r then sock:close() return nil, e end
    sock:setkeepalive(60000)
    return r
end

local function refuse(status, code)
    ngx.status = status
    ngx.header["Content-Type"] = "application/problem+json"
    ngx.say(cjson.encode { status = status, code = code, title = code })
    return ngx.exit(status)
end

function M.handle()
    local auth = ngx.var.http_authorization
    local token = auth and auth:match("^Bearer ([%w%-_.]+)$")
    if not token then return refuse(401, "token_missing") end
    local claims = verify(token)
    if not claims then return refuse(401, "token_invalid") end
    if not (" " .. (claims.scope or "") .. " "):find(" events:write ", 1, true) then
        return refuse(403, "scope_insufficient")
    end
    local key = ngx.var.http_idempotency_key
    if not key then return refuse(400, "idempotency_key_missing") end
    ngx.req.read_body()
    local body = ngx.req.get_body_data() or ""
    local ce = cjson.decode(body)
    if not ce or ce.specversion ~= "1.0" or not ce.id or not ce.source or not ce.type then
        return refuse(400, "body_invalid")
    end
    local tag, tenant, client = "{s00}", claims.tenant, claims.client_id
    local fp = sha256(body)
    local idem = sha256(tenant .. "\0" .. client .. "\0POST\0/v1\0" .. key):sub(1, 16)
    local r1 = sha256("a\0" .. tenant .. "\0" .. client):sub(1, 16)
    local r2 = sha256("b\0" .. tenant):sub(1, 16)
    local r, err = call {
        "EVALSHA", sha, 4, "tg:" .. tag .. ":events", "tg:" .. tag .. ":idem:" .. idem,
        "tg:" .. tag .. ":rate:" .. r1, "tg:" .. tag .. ":rate:" .. r2,
        "1", "ip", fp, 86400, "s00", 2, 1, 1000000, 1, 1, 1000000, 1,
        "id", ce.id, "type", ce.type, "source", ce.source, "subject", ce.subject or "",
        "tenant", tenant, "client", client, "time", ce.time or "", "received_at", "",
        "dataschema", "", "key", key, "correlation_id", ngx.var.request_id, "traceparent", "",
        "body_sha256", "", "content_type", ngx.var.http_content_type or "", "body", body }
    if not r then
        ngx.log(ngx.ERR, "redis: ", err)
        return refuse(503, "redis_unavailable")
    end
    if r[1] == "mismatch" then return refuse(422, "idempotency_mismatch") end
    if r[1] == "limited" then return refuse(429, "rate_limited") end
    ngx.status = 202
    ngx.header["Content-Type"] = "application/json"
    ngx.header["Location"] = "/v1/events/" .. r[3]
    if r[1] == "replay" then ngx.header["Idempotent-Replayed"] = "true" end
    ngx.print('{"id":"' .. r[3] .. '","status":"accepted"}')
end

return M
