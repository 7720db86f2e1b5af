-- Hours from whatever a source writes, as a decimal: "7.50", 450 minutes, "PT7H30M", "7:30".
-- Minutes and seconds that are no exact decimal are rounded to a millionth of an hour, half up.

local hours = {}

local MINUTES_PER_HOUR = 60
local SECONDS_PER_HOUR = 3600

function hours.from_minutes(minutes)
  return decimal.of(minutes):div(MINUTES_PER_HOUR, "half_up")
end

function hours.from_seconds(seconds)
  return decimal.of(seconds):div(SECONDS_PER_HOUR, "half_up")
end

local function from_iso(text)
  local h, m, s = re.match(text, [[^PT(?=\d)(?:(\d{1,3}(?:\.\d{1,4})?)H)?(?:(\d{1,5})M)?(?:(\d{1,6})S)?$]])
  if h == nil and m == nil and s == nil then
    return nil
  end
  -- one division over seconds, so that only one rounding happens
  local seconds = decimal.of(h or "0") * SECONDS_PER_HOUR
    + decimal.of(m or "0") * MINUTES_PER_HOUR
    + decimal.of(s or "0")
  return hours.from_seconds(seconds)
end

local function from_clock(text)
  local h, m = re.match(text, [[^(\d{1,3}):([0-5]\d)$]])
  if h == nil then
    return nil
  end
  return hours.from_minutes(tonumber(h) * MINUTES_PER_HOUR + tonumber(m))
end

-- nil when the text is neither form.
function hours.from_duration(text)
  return from_iso(text) or from_clock(text)
end

return hours
