-- What HTTP answers mean when a destination has no words of its own for it.

local MESSAGE_PATHS = {"detail", "message", "error.message", "error_description", "title", "error"}

-- at(document, "a.b.1"): the member at a dotted path, or nil.
local function at(document, path)
  local value = document
  for _, name in ipairs(string.split(path, ".")) do
    if type(value) ~= "table" then
      return nil
    end
    value = value[tonumber(name) or name]
  end
  if value == null then
    return nil
  end
  return value
end

-- The text at a path, whole numbers too; nil: there is none.
local function text_at(document, path)
  local value = at(document, path)
  local kind = type(value)
  if kind == "string" or kind == "number" then
    return tostring(value)
  end
  return nil
end

-- What the answer says to a person: "422: hours must be positive".
local function detail(response, path)
  local said
  if response.json ~= nil and type(response.json) == "table" then
    said = path and text_at(response.json, path)
    for _, usual in ipairs(MESSAGE_PATHS) do
      said = said or text_at(response.json, usual)
    end
  end
  if said then
    return response.status .. ": " .. said
  end
  return "answered " .. response.status
end

-- The verdict on an answer that is none of the statuses a connector knows to be good.
-- 408 and 409: somebody may be at work on it, or have it. 5xx: it may have got in before it broke,
-- but a 503 that names a time says that it did not try (RFC 9110, 15.6.4).
local function verdict(response, message_path)
  local status = response.status
  local said = detail(response, message_path)
  if status == 429 or (status == 503 and response.retry_after_s) then
    return {outcome = "throttled", detail = said, retry_after_s = response.retry_after_s}
  elseif status == 425 then
    return {outcome = "retry", detail = said}
  elseif status >= 300 and status < 400 then
    return {outcome = "rejected", detail = said .. " (no redirect is followed)"}
  elseif status >= 400 and status < 500 and status ~= 408 and status ~= 409 then
    return {outcome = "rejected", detail = said}
  end
  return {outcome = "in_doubt", detail = said}
end

return {at = at, text_at = text_at, detail = detail, verdict = verdict}
