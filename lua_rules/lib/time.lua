-- Times as vendors write them, without a clock.

local time = {}

local FORM = [[^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,3}))?(Z|[+-]\d\d:?\d\d)$]]

-- Days from 1970-01-01 to a day of the Gregorian calendar; March begins the year, so that the leap
-- day ends one.
local function days(year, month, day)
  local y = month > 2 and year or year - 1
  local m = (month + 9) % 12
  return 365 * y + y // 4 - y // 100 + y // 400 + (153 * m + 2) // 5 + day - 1 - 719468
end

local function is_day(year, month, day)
  if month < 1 or month > 12 or day < 1 then
    return false
  end
  local next_year = month == 12 and year + 1 or year
  return day <= days(next_year, month % 12 + 1, 1) - days(year, month, 1)
end

local function offset_minutes(zone)
  if zone == "Z" then
    return 0
  end
  local sign, hours, minutes = re.match(zone, [[^([+-])(\d\d):?(\d\d)$]])
  if tonumber(hours) > 23 or tonumber(minutes) > 59 then
    return nil
  end
  local offset = tonumber(hours) * 60 + tonumber(minutes)
  return sign == "-" and -offset or offset
end

-- "2026-11-16T09:00:00.000+0100" -> {date = "2026-11-16" as written, ms = since 1970,
-- rfc3339 = "2026-11-16T09:00:00.000+01:00"}; nil when it is no time.
function time.parse(text)
  local y, mo, d, h, mi, s, fraction, zone = re.match(text, FORM)
  if not y then
    return nil
  end
  local offset = offset_minutes(zone)
  local year, month, day = tonumber(y), tonumber(mo), tonumber(d)
  local hour, minute, second = tonumber(h), tonumber(mi), tonumber(s)
  if not offset or not is_day(year, month, day) or hour > 23 or minute > 59 or second > 59 then
    return nil
  end
  fraction = ((fraction or "") .. "000"):sub(1, 3)
  local minutes = (days(year, month, day) * 24 + hour) * 60 + minute - offset
  local written = zone
  if #zone == 5 then
    written = zone:sub(1, 3) .. ":" .. zone:sub(4, 5)
  end
  local date = y .. "-" .. mo .. "-" .. d
  return {
    date = date,
    ms = (minutes * 60 + second) * 1000 + tonumber(fraction),
    rfc3339 = string.format("%sT%s:%s:%s.%s%s", date, h, mi, s, fraction, written),
  }
end

-- Milliseconds since 1970 -> "2026-11-16T08:00:00.000Z".
function time.format(ms)
  local second, day = ms // 1000, ms // 86400000
  -- the year of March to February that holds the day, counted from 400-year eras
  local z = day + 719468
  local era = z // 146097
  local of_era = z - era * 146097
  local year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
  local of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
  local m = (5 * of_year + 2) // 153
  local month = m < 10 and m + 3 or m - 9
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  local function digits(n, width)
    local text = tostring(n)
    return string.rep("0", width - #text) .. text
  end
  return string.format("%s-%s-%sT%s:%s:%s.%sZ", digits(year, 4), digits(month, 2),
    digits(of_year - (153 * m + 2) // 5 + 1, 2), digits(second // 3600 % 24, 2),
    digits(second // 60 % 60, 2), digits(second % 60, 2), digits(ms % 1000, 3))
end

return time
