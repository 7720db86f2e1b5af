-- Our own event form, com.tallygate.time_entry.approved.v1: its schema has been checked before.

local hours = require "lib.hours"

local COPIED = {
  "id", "version", "worker", "project", "task", "date", "approved_at", "approved_by",
  "labor_category", "note",
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

local function decode(_, body)
  local entry = {kind = "time_entry", hours = hours_of(body)}
  for _, name in ipairs(COPIED) do
    entry[name] = body[name]
  end
  return {entry}
end

return {decode = decode}
