-- trim.lua: drops from a stream what every group is done with.
--
--   KEYS[1]  stream
--   ARGV[1]  the newest entry the journal has: nothing newer is dropped
--   reply    number of entries dropped
--
-- A group's position alone proves nothing: somebody may have set it ahead (XGROUP SETID) of entries
-- that nobody has read. What the journal has is therefore the upper bound.
-- A group is done with everything below its oldest pending entry, or, when nothing is pending, with
-- everything up to the last delivered one. XTRIM itself does not look at pending entries at all, so
-- the bound is computed here, in the same call, and given as MINID; MAXLEN is never used. `~` drops
-- whole nodes only, which is cheap and leaves no holes.

-- a < b for stream ids of 64-bit halves: longer number is larger, then by digits
local function half_less(a, b)
    if #a ~= #b then
        return #a < #b
    end
    return a < b
end

local function split(id)
    local dash = string.find(id, '-', 1, true)
    return string.sub(id, 1, dash - 1), string.sub(id, dash + 1)
end

local function less(a, b)
    local a_ms, a_seq = split(a)
    local b_ms, b_seq = split(b)
    if a_ms ~= b_ms then
        return half_less(a_ms, b_ms)
    end
    return half_less(a_seq, b_seq)
end

local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if groups.err then
    return 0 -- no such stream yet
end

local bound = ARGV[1]
for _, group in ipairs(groups) do
    local info = {}
    for i = 1, #group, 2 do
        info[group[i]] = group[i + 1]
    end
    local oldest = info['last-delivered-id']
    if info['pending'] > 0 then
        oldest = redis.call('XPENDING', KEYS[1], info['name'])[2]
    end
    if less(oldest, bound) then
        bound = oldest
    end
end

if #groups == 0 or bound == '0-0' then
    return 0
end
return redis.call('XTRIM', KEYS[1], 'MINID', '~', bound)
