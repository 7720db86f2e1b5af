-- Writes a document as JSON text with decimals as numbers. A request's `json` is the ordinary way
-- (decimals become texts there); this is for destinations that want numbers.

local DIGITS = "0123456789abcdef"
local ESCAPES = {['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t"}

local function quote(text)
  if re.match(text, '^[^"\\\\\\x00-\\x1f]*$') then
    return '"' .. text .. '"'
  end
  local out = array {}
  for i = 1, string.len(text) do
    local char = string.sub(text, i, i)
    local byte = string.byte(text, i)
    if ESCAPES[char] then
      table.insert(out, ESCAPES[char])
    elseif byte < 32 then
      local low = byte % 16 + 1
      table.insert(out, "\\u00" .. byte // 16 .. string.sub(DIGITS, low, low))
    else
      table.insert(out, char)
    end
  end
  return '"' .. table.concat(out) .. '"'
end

local encode

local function encode_table(value)
  local out = array {}
  if value[1] ~= nil then
    for _, item in ipairs(value) do
      table.insert(out, encode(item))
    end
    return "[" .. table.concat(out, ",") .. "]"
  end
  for name, item in pairs(value) do
    table.insert(out, quote(name) .. ":" .. encode(item))
  end
  return "{" .. table.concat(out, ",") .. "}"
end

function encode(value)
  local kind = type(value)
  if kind == "string" then
    return quote(value)
  elseif kind == "table" then
    return encode_table(value)
  end
  return tostring(value) -- numbers, decimals, true, false, null
end

return {encode = encode}
