-- Any REST destination, by options alone (docs/reference/connectors.md lists them). One posting is one
-- request with a JSON body; the key travels in a header, in the path or in a member of the body.

local http = require "lib.http"
local json = require "lib.json"
local url = require "lib.url"

local OPTIONS = {
  "method", "path", "dedupe", "ttl", "max_execution", "idempotency_header", "key_field", "fields", "envelope",
  "numbers", "posted", "duplicate", "retry", "ref", "message", "lookup_path", "lookup_list",
  "reverse", "reverse_path", "reverse_method",
}

local function has(list, item)
  for _, one in ipairs(list) do
    if one == item then
      return true
    end
  end
  return false
end

-- "a, b" -> {"a", "b"}; nil -> {}
local function list_of(text)
  local out = array {}
  for _, item in ipairs(string.split(text or "", ",")) do
    item = string.trim(item)
    if item ~= "" then
      table.insert(out, item)
    end
  end
  return out
end

local function has_status(option, usual, status)
  return has(list_of(option or usual), tostring(status))
end

-- "/lines/{key}?x={payload.worker}": every name in braces is replaced by its encoded value.
local function fill(template, posting)
  local out = array {}
  local parts = string.split(template, "{")
  table.insert(out, parts[1])
  for i = 2, #parts do
    local name, rest = re.match(parts[i], "^([a-z_.A-Z0-9]+)}(.*)$")
    if not name then
      error("`" .. template .. "` has a { that does not name a value")
    end
    local value = http.text_at(posting, name)
    if not value then
      error("`" .. template .. "`: this posting has no `" .. name .. "`")
    end
    table.insert(out, url.encode(value) .. rest)
  end
  return table.concat(out)
end

local function check_options(o)
  for name in pairs(o) do
    if not has(OPTIONS, name) and not string.starts_with(name, "header.") then
      error("option `" .. name .. "` is not known; accepted: " .. table.concat(OPTIONS, ", ") ..
            ", header.NAME")
    end
  end
  if not has({"unique", "idempotency", "lookup_only", "none"}, o.dedupe or "") then
    error("option `dedupe` must be unique, idempotency, lookup_only or none")
  end
  if not has({"none", "post", "delete"}, o.reverse or "none") then
    error("option `reverse` must be none, post or delete")
  end
  if o.dedupe == "lookup_only" and not o.lookup_path then
    error("dedupe lookup_only needs option `lookup_path`")
  end
  if o.reverse == "delete" and not o.reverse_path then
    error("reverse delete needs option `reverse_path`")
  end
  if o.dedupe == "unique" and not o.key_field and not o.idempotency_header and
     not string.find(o.path or "", "{key}") then
    error("dedupe unique needs the key somewhere: {key} in `path`, `key_field` or " ..
          "`idempotency_header`")
  end
  if not re.match(o.max_execution or "0", "^[0-9]{1,9}$") then
    error("option `max_execution` is a whole number of seconds")
  end
  if o.dedupe == "idempotency" and not tonumber(o.ttl or "") then
    error("dedupe idempotency needs option `ttl`: for how many seconds a key is known there")
  end
end

local function about(ctx)
  local o = ctx.options
  check_options(o)
  return {
    dedupe = o.dedupe,
    ttl_s = o.dedupe == "idempotency" and tonumber(o.ttl) or nil,
    max_execution_s = o.max_execution and tonumber(o.max_execution) or nil,
    reversible = (o.reverse or "none") ~= "none",
  }
end

-- The payload, or the members `fields` names: "employee=worker, date".
local function body_of(posting, o)
  local body = {}
  if o.fields then
    for _, field in ipairs(list_of(o.fields)) do
      local pair = string.split(field, "=")
      body[pair[1]] = http.at(posting.payload, pair[2] or pair[1])
    end
  else
    for name, value in pairs(posting.payload) do
      body[name] = value
    end
  end
  for _, name in ipairs(list_of(o.numbers)) do
    if body[name] ~= nil then
      body[name] = decimal.of(body[name])
    end
  end
  if o.key_field then
    body[o.key_field] = posting.key
  end
  if posting.reverses then
    body.reverses = posting.reverses.key
  end
  return o.envelope and {[o.envelope] = body} or body
end

local function headers_of(posting, o)
  local headers = {Accept = "application/json"}
  for name, value in pairs(o) do
    if string.starts_with(name, "header.") then
      headers[string.sub(name, 8)] = value
    end
  end
  local key_header = o.idempotency_header
  if not key_header and o.dedupe == "idempotency" then
    key_header = "Idempotency-Key"
  end
  if key_header then
    headers[key_header] = posting.key
  end
  return headers
end

local function send(posting, o, method, path)
  local request = {method = method, path = fill(path, posting), headers = headers_of(posting, o)}
  if method == "DELETE" then
    return request
  end
  if o.numbers then
    request.headers["Content-Type"] = "application/json"
    request.body = json.encode(body_of(posting, o))
  else
    request.json = body_of(posting, o)
  end
  return request
end

local function request(posting, ctx)
  local o = ctx.options
  return send(posting, o, o.method or "POST", o.path or "")
end

local function deletes(posting, o)
  return posting.reverses ~= nil and o.reverse == "delete"
end

local function reverse(posting, ctx)
  local o = ctx.options
  if deletes(posting, o) then
    return send(posting, o, "DELETE", o.reverse_path)
  end
  return send(posting, o, o.reverse_method or o.method or "POST", o.reverse_path or o.path or "")
end

local function ref_of(response, o, document)
  local from = o.ref or "id"
  if string.starts_with(from, "header:") then
    return response.headers[string.lower(string.sub(from, 8))]
  end
  return http.text_at(document, from)
end

local function classify(response, posting, ctx)
  local o = ctx.options
  local status = response.status
  if deletes(posting, o) and (status == 404 or status == 410) then
    return {outcome = "posted"} -- it is gone, which is what was wanted
  elseif has_status(o.posted, "200, 201, 204", status) then
    return {outcome = "posted", ref = ref_of(response, o, response.json)}
  elseif has_status(o.duplicate, "", status) then
    local outcome = o.lookup_path and "in_doubt" or "posted"
    return {outcome = outcome, detail = "it has this key already"}
  elseif has_status(o.retry, "", status) then
    return {outcome = "retry", detail = http.detail(response, o.message)}
  end
  return http.verdict(response, o.message)
end

local function lookup(posting, ctx)
  local o = ctx.options
  local path = deletes(posting, o) and o.reverse_path or o.lookup_path
  if not path then
    return nil
  end
  return {method = "GET", path = fill(path, posting), headers = headers_of(posting, o)}
end

local function found(response, posting, ctx)
  local o = ctx.options
  local there = response.status == 200
  local gone = response.status == 404 or response.status == 410
  local document = response.json
  if not there and not gone then
    return {lookup = "unknown", detail = http.detail(response, o.message)}
  end
  if there and not deletes(posting, o) and o.lookup_list then
    local list = http.at(response.json, o.lookup_list)
    if type(list) ~= "table" then
      return {lookup = "unknown", detail = "the answer has no list `" .. o.lookup_list .. "`"}
    end
    document = list[1]
    there = document ~= nil
  end
  if deletes(posting, o) then
    return {lookup = gone and "found" or "absent"}
  elseif there then
    return {lookup = "found", ref = ref_of(response, o, document)}
  end
  return {lookup = "absent"}
end

return {
  about = about, request = request, reverse = reverse, classify = classify, lookup = lookup,
  found = found,
}
