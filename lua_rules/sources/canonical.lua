-- Our own event forms, com.tallygate.*: their schemas have been checked before.

local hours = require "lib.hours"

local ENTRY_COPIED = {
  "id", "version", "worker", "project", "task", "date", "approved_at", "approved_by",
  "labor_category", "note",
}
local WORKER_ATTRIBUTES = {
  "name", "legal_entity", "cost_center", "labor_category", "pay_code", "employment", "aliases",
}

local function hours_of(body)
  if body.hours ~= nil then
    return decimal.of(body.hours)
  end
  if body.minutes ~= nil then
    return hours.from_minutes(body.minutes)
  end
  return hours.from_duration(body.duration) or error("duration is in no known form")
end

local function withdrawal(body)
  return {
    kind = "time_entry",
    id = body.id,
    version = body.version,
    withdrawn = {by = body.withdrawn_by, at = body.withdrawn_at, reason = body.reason},
  }
end

-- com.tallygate.time_entry.approved.v1; what is validated without an event is one as well.
local function time_entry(body)
  local entry = {kind = "time_entry", hours = hours_of(body)}
  for _, name in ipairs(ENTRY_COPIED) do
    entry[name] = body[name]
  end
  return entry
end

local function worker(body)
  local attributes = {}
  for _, name in ipairs(WORKER_ATTRIBUTES) do
    attributes[name] = body[name]
  end
  return {
    kind = "worker",
    id = body.id,
    version = body.version,
    worker = body.id,
    changed_at = body.changed_at,
    effective_from = body.effective_from,
    attributes = attributes,
  }
end

local DECODERS = {
  ["com.tallygate.time_entry.withdrawn.v1"] = withdrawal,
  ["com.tallygate.worker.changed.v1"] = worker,
}

local function decode(headers, body)
  local of_type = DECODERS[headers["ce-type"]] or time_entry
  return {of_type(body)}
end

return {decode = decode}
