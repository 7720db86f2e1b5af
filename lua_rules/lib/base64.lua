-- Base64 with padding (RFC 4648).

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function digit(n)
  return string.sub(ALPHABET, n + 1, n + 1)
end

local function encode(text)
  local out = array {}
  for i = 1, string.len(text), 3 do
    local a, b, c = string.byte(text, i, i + 2)
    local bits = a << 16 | (b or 0) << 8 | (c or 0)
    table.insert(out, digit(bits >> 18) .. digit(bits >> 12 & 63)
      .. (b and digit(bits >> 6 & 63) or "=") .. (c and digit(bits & 63) or "="))
  end
  return table.concat(out)
end

return {encode = encode}
