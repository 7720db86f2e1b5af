-- Texts in addresses (RFC 3986).

local DIGITS = "0123456789ABCDEF"

-- Percent-encodes everything but letters, digits and - . _ ~
local function encode(text)
  if re.match(text, "^[A-Za-z0-9._~-]*$") then
    return text
  end
  local out = array {}
  for i = 1, string.len(text) do
    local byte = string.byte(text, i)
    local char = string.sub(text, i, i)
    if byte < 128 and re.match(char, "^[A-Za-z0-9._~-]$") then
      table.insert(out, char)
    else
      local high, low = byte // 16 + 1, byte % 16 + 1
      table.insert(out, "%" .. string.sub(DIGITS, high, high) .. string.sub(DIGITS, low, low))
    end
  end
  return table.concat(out)
end

return {encode = encode}
