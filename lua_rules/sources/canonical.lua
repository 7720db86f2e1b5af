-- Our own event forms, com.tallygate.time_entry.approved.v1 and .withdrawn.v1: their schemas have been
-- checked before.

local hours = require "lib.hours"

local COPIED = {
  "id", "version", "worker", "project", "task", "date", "approved_at", "approved_by",
  "labor_category", "note",
}

local WITHDRAWN = "com.tallygate.time_entry.withdrawn.v1"

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

local function decode(headers, body)
  if headers["ce-type"] == WITHDRAWN then
    return {withdrawal(body)}
  end
  local entry = {kind = "time_entry", hours = hours_of(body)}
  for _, name in ipairs(COPIED) do
    entry[name] = body[name]
  end
  return {entry}
end

return {decode = decode}
