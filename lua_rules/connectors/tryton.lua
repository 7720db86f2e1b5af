-- Tryton by JSON-RPC: a labor posting is one timesheet line whose uuid is the posting's key, which the
-- database keeps unique for ever. A reversal writes duration 0 and keeps the uuid, so that a repeat of the
-- first request is still refused. One line a call: with several, Tryton 6.0 accepted a row it refuses alone.
--
-- Employees are found by the code of their party (the payload's worker), works by their name
-- (PROJECT\TASK), companies by the code of their party (the payload's legal_entity). Options:
--   company.ENTITY   the party code, or the id, of a legal entity's company; default: ENTITY itself
--   language         of messages; default en

local base64 = require "lib.base64"
local http = require "lib.http"

local SECONDS_PER_HOUR = 3600

local function about(ctx)
  for name in pairs(ctx.options) do
    if name ~= "language" and not string.starts_with(name, "company.") then
      error("option `" .. name .. "` is not known; accepted: company.ENTITY, language")
    end
  end
  return {dedupe = "unique", reversible = true, max_execution_s = 120}
end

local function call(method, params)
  return {method = "POST", headers = {Accept = "application/json"},
          json = {id = 1, method = method, params = params}}
end

-- ---- log-in ----

local function login(ctx)
  return call("common.db.login",
              {ctx.user, {password = "{{password}}"}, ctx.options.language or "en"})
end

local function session(response, ctx)
  local result = type(response.json) == "table" and response.json.result
  if response.status == 401 then
    return {refused = "user or password is wrong"}
  elseif response.status == 429 then
    return {refused = "too many wrong passwords: Tryton lets nobody in for some minutes"}
  elseif response.status ~= 200 or type(result) ~= "table" or type(result[2]) ~= "string" then
    return {refused = "answered " .. response.status .. " without a session"}
  end
  local token = ctx.user .. ":" .. result[1] .. ":" .. result[2]
  return {headers = {Authorization = "Session " .. base64.encode(token)}}
end

-- ---- what is asked first ----

local function search(name, model, domain, context)
  local request = call("model." .. model .. ".search_read",
                       {domain, 0, 2, null, {"id"}, context})
  request.name = name
  return request
end

local function work_name(payload)
  if payload.task then
    return payload.project .. "\\" .. payload.task
  end
  return payload.project
end

-- The company's id, or nil and the request that finds it.
local function company_of(payload, ctx)
  local code = ctx.options["company." .. payload.legal_entity] or payload.legal_entity
  local name = "company:" .. code
  local id = tonumber(code) or ctx.known[name]
  if id then
    return id
  end
  return nil, search(name, "company.company", {{"party.code", "=", code}}, {})
end

local function employee_of(payload, company, ctx)
  local name = "employee:" .. company .. ":" .. payload.worker
  return ctx.known[name], search(name, "company.employee", {
    {"party.code", "=", payload.worker}, {"company", "=", company},
  }, {company = company})
end

local function work_of(payload, company, ctx)
  local work = work_name(payload)
  local name = "work:" .. company .. ":" .. work
  return ctx.known[name], search(name, "timesheet.work", {
    {"company", "=", company},
    {"OR", {"origin.rec_name", "=", work, "project.work"}, {"name", "=", work}},
  }, {company = company})
end

local UNKNOWN = {
  company = {code = "destination_unknown_company", words = "no company has the party code "},
  employee = {code = "destination_unknown_worker", words = "no employee has the party code "},
  work = {code = "destination_unknown_work", words = "no work has the name "},
  line = {code = "destination_locked", words = "no line has the key "},
}

local function error_of(response)
  local document = response.json
  if type(document) ~= "table" or type(document.error) ~= "table" then
    return nil
  end
  return document.error
end

-- "UserError: text", on one line.
local function words_of(err)
  local said = err[2]
  if type(said) == "table" then
    said = said[1]
  end
  local text = type(err[1]) == "string" and err[1] or "error"
  if said ~= nil and said ~= "" and said ~= null then
    text = text .. ": " .. tostring(said)
  end
  return table.concat(string.split(text, "\n"), " ")
end

local function learn(response, name)
  local kind = string.split(name, ":")[1]
  local result = type(response.json) == "table" and response.json.result
  if response.status == 200 and type(result) == "table" then
    if #result == 1 and type(result[1].id) == "number" then
      return {value = result[1].id}
    elseif #result == 0 then
      local parts = string.split(name, ":")
      return {outcome = "rejected", code = UNKNOWN[kind].code,
              detail = UNKNOWN[kind].words .. parts[#parts]}
    end
    return {outcome = "rejected", detail = "more than one " .. kind .. " fits " .. name}
  end
  local err = error_of(response)
  if err and err[1] == "UserError" then
    return {outcome = "rejected", detail = words_of(err)}
  end
  return {outcome = "retry", detail = err and words_of(err) or http.detail(response)}
end

-- ---- the line ----

local function date_of(text)
  local year, month, day = re.match(text, "^(\\d{4})-(\\d\\d)-(\\d\\d)$")
  return {["__class__"] = "date", year = tonumber(year), month = tonumber(month),
          day = tonumber(day)}
end

local function duration_of(hours)
  local seconds = decimal.of(hours):mul(SECONDS_PER_HOUR, "half_up"):round(0, "half_up")
  return {["__class__"] = "timedelta", seconds = tonumber(seconds:format(0))}
end

local function request(posting, ctx)
  local payload = posting.payload
  local company, ask = company_of(payload, ctx)
  if not company then
    return {prepare = {ask}}
  end
  local employee, ask_employee = employee_of(payload, company, ctx)
  local work, ask_work = work_of(payload, company, ctx)
  if not employee or not work then
    local list = array {}
    if not employee then
      table.insert(list, ask_employee)
    end
    if not work then
      table.insert(list, ask_work)
    end
    return {prepare = list}
  end
  return call("model.timesheet.line.create", {{{
    company = company, employee = employee, work = work, date = date_of(payload.date),
    duration = duration_of(payload.hours), description = payload.entry .. " v" .. payload.version,
    uuid = posting.key,
  }}, {company = company}})
end

-- The line's id is the reference it was posted with.
local function reverse(posting, ctx)
  local company, ask = company_of(posting.payload, ctx)
  if not company then
    return {prepare = {ask}}
  end
  local id = tonumber(posting.reverses.ref or "")
  local name = "line:" .. posting.reverses.key
  id = id or ctx.known[name]
  if not id then
    return {prepare = {search(name, "timesheet.line", {{"uuid", "=", posting.reverses.key}},
                              {company = company})}}
  end
  return call("model.timesheet.line.write",
              {{id}, {duration = duration_of("0")}, {company = company}})
end

local function lookup(posting, ctx)
  local company, ask = company_of(posting.payload, ctx)
  if not company then
    return {prepare = {ask}}
  end
  local key = posting.reverses and posting.reverses.key or posting.key
  return call("model.timesheet.line.search_read",
              {{{"uuid", "=", key}}, 0, 2, null, {"id", "duration"}, {company = company}})
end

local function found(response, posting)
  local result = type(response.json) == "table" and response.json.result
  if response.status ~= 200 or type(result) ~= "table" then
    local err = error_of(response)
    return {lookup = "unknown", detail = err and words_of(err) or http.detail(response)}
  end
  local line = result[1]
  if not posting.reverses then
    return line and {lookup = "found", ref = tostring(line.id)} or {lookup = "absent"}
  elseif not line then
    return {lookup = "unknown", detail = "the line to reverse is not there any more"}
  elseif decimal.of(line.duration.seconds):equals(0) then
    return {lookup = "found", ref = tostring(line.id)}
  end
  return {lookup = "absent"}
end

-- ---- what answers mean ----

-- Does a text stand anywhere in a domain, a list of lists?
local function mentions(domain, text)
  if type(domain) == "string" then
    return domain == text
  elseif type(domain) ~= "table" then
    return false
  end
  for _, item in pairs(domain) do
    if mentions(item, text) then
      return true
    end
  end
  return false
end

-- The refusal names an id that was learned: it is gone there, so it must be looked for anew.
local function names_a_known_id(text, known)
  for _, id in pairs(known) do
    if string.find(text, '"' .. id .. '"') then
      return true
    end
  end
  return false
end

-- A UserError is a refusal; which one is told by field names, not by words, which are translated.
local function user_error(err, ctx)
  local said, domain = words_of(err), type(err[2]) == "table" and err[2][3]
  if domain and domain ~= null then
    if mentions(domain, "timesheet_end_date") or mentions(domain, "timesheet_start_date") then
      return {outcome = "rejected", code = "task_closed", detail = said}
    elseif mentions(domain, "end_date") or mentions(domain, "start_date") then
      return {outcome = "rejected", code = "worker_inactive", detail = said}
    end
  elseif string.find(said, "UUID") then
    return {outcome = "in_doubt", detail = "Tryton has a line with this key already"}
  elseif names_a_known_id(said, ctx.known) then
    return {outcome = "retry", detail = said, forget = true}
  elseif string.find(said, "invoiced") then
    return {outcome = "rejected", code = "destination_locked", detail = said}
  end
  return {outcome = "rejected", detail = said}
end

local function classify(response, posting, ctx)
  local err = error_of(response)
  local document = response.json
  if response.status ~= 200 then
    if response.status == 404 then
      return {outcome = "retry", detail = "404: Tryton does not have this database"}
    end
    return http.verdict(response)
  elseif err == nil then
    if type(document) ~= "table" or document.id ~= 1 then
      return {outcome = "in_doubt", detail = "the answer is not Tryton's"}
    elseif posting.reverses then
      return {outcome = "posted", ref = posting.reverses.ref}
    end
    local id = type(document.result) == "table" and document.result[1]
    if type(id) ~= "number" then
      return {outcome = "in_doubt", detail = "the answer has no line"}
    end
    return {outcome = "posted", ref = tostring(id)}
  elseif err[1] == "UserError" then
    return user_error(err, ctx)
  elseif err[1] == "UserWarning" then
    local asks = type(err[2]) == "table" and err[2][2] or err[2]
    return {outcome = "rejected", detail = "Tryton asks a person: " .. tostring(asks)}
  elseif err[1] == "ConcurrencyException" then
    return {outcome = "retry", detail = words_of(err)}
  end
  -- a Python error or a database that is away: it may have been carried out
  return {outcome = "in_doubt", detail = words_of(err)}
end

return {
  about = about, login = login, session = session, request = request, reverse = reverse,
  learn = learn, lookup = lookup, found = found, classify = classify,
}
