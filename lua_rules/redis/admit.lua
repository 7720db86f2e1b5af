-- admit.lua: the one decision at the edge, in one round trip. Its other side is common/admit.h,
-- which says what KEYS, ARGV and the reply are.
--
-- Invariants, each with a test in tests/contract/test_admit.py:
--   1. A refusal writes nothing. A replay writes nothing and spends no rate.
--   2. Everything is read and decided before the first write.
--   3. The first write is one that Redis refuses when memory is short (XADD, else SET). Once a
--      script has written, Redis lets it finish; so an -OOM leaves nothing half done.
--   4. XADD comes first: it is the only write that can fail by itself (another type under the
--      stream's name).
--   5. Every key but the stream expires; units are in the names; PX is milliseconds.
--   6. Times are Redis' own. Numbers leave as '%.0f': a join would print 1.79e+15.
--
-- No shebang on purpose: with one, Redis would refuse even a replay when memory is short.

local CONTRACT = '1'

-- A record is: version, 32 bytes of fingerprint, event id. Without an id the work is still running.
local RECORD_VERSION = '1'
local FINGERPRINT_BYTES = 32
local HEAD_ARGS = 6
local ARGS_PER_RATE = 3
local STREAM_FIELDS = 15
local RECEIVED_AT = 8 -- its place among the fields, from 1

local function int(x)
  return string.format('%.0f', x)
end

local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])

if ARGV[1] ~= CONTRACT then
  return { 'contract', int(now_us), '', '' }
end

local what, fingerprint, ttl_s, shard = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local idempotent = what == 'i' or what == 'ip'
local publish = what == 'p' or what == 'ip'
local rate_count = tonumber(ARGV[HEAD_ARGS])
local first_field = HEAD_ARGS + ARGS_PER_RATE * (rate_count or 0) + 1

if not (idempotent or publish or what == '')
  or rate_count == nil
  or #KEYS ~= 2 + rate_count
  or #ARGV ~= first_field - 1 + (publish and 2 * STREAM_FIELDS or 0)
  or (idempotent and (#fingerprint ~= FINGERPRINT_BYTES or ttl_s == nil or ttl_s < 1))
  or (publish and ARGV[first_field + 2 * (RECEIVED_AT - 1)] ~= 'received_at')
then
  return redis.error_reply('ERR admit: malformed call')
end

-- Each rate as the generic cell rate algorithm sees it. ahead_us: how much of the window is used.

local rates = {}

for i = 1, rate_count do
  local at = HEAD_ARGS + ARGS_PER_RATE * (i - 1)
  local emission_us = tonumber(ARGV[at + 1])
  local capacity = tonumber(ARGV[at + 2])
  local cost = tonumber(ARGV[at + 3])

  if not (emission_us and capacity and cost and emission_us >= 1 and capacity >= 1 and cost >= 1)
  then
    return redis.error_reply('ERR admit: malformed rate')
  end

  local window_us = emission_us * capacity
  local tat_us = tonumber(redis.call('GET', KEYS[2 + i]) or '') or now_us
  local ahead_us = math.max(tat_us - now_us, 0)

  -- Nothing this rate grants is further ahead than its window: the clock was set back since, or
  -- the limit lowered. Such a time says nothing of what was used. It counts as none, and what is
  -- accepted writes it anew: cutting it to the window would refuse until the clock is there again.
  if ahead_us > window_us then
    ahead_us = 0
  end

  rates[i] = {
    emission_us = emission_us,
    window_us = window_us,
    ahead_us = ahead_us,
    cost_us = cost * emission_us,
    never = cost > capacity,
    over_us = ahead_us + cost * emission_us - window_us,
  }
end

local function answer(verdict, id, violated)
  local out = { verdict, int(now_us), id, violated }

  for i = 1, rate_count do
    local rate = rates[i]
    local retry_after_us = 0

    if rate.never then
      retry_after_us = -1
    elseif verdict == 'limited' and rate.over_us > 0 then
      retry_after_us = rate.over_us
    end

    out[#out + 1] = int(math.floor((rate.window_us - rate.ahead_us) / rate.emission_us))
    out[#out + 1] = int(rate.ahead_us)
    out[#out + 1] = int(retry_after_us)
  end

  return out
end

-- Idempotency first: a replay is not charged.

if idempotent then
  local record = redis.call('GET', KEYS[2])

  if record then
    if string.sub(record, 1, 1) ~= RECORD_VERSION then
      return redis.error_reply('ERR admit: idempotency record of an unknown version')
    end

    if string.sub(record, 2, 1 + FINGERPRINT_BYTES) ~= fingerprint then
      return answer('mismatch', '', '')
    end

    local id = string.sub(record, 2 + FINGERPRINT_BYTES)

    if id == '' then
      return answer('in_flight', '', '')
    end

    return answer('replay', id, '')
  end
end

local violated = {}

for i = 1, rate_count do
  if rates[i].never or rates[i].over_us > 0 then
    violated[#violated + 1] = int(i - 1)
  end
end

if #violated > 0 then
  return answer('limited', '', table.concat(violated, ','))
end

-- Decided. From here on only writes.

local id = ''

if publish then
  local fields = {}

  for i = first_field, #ARGV do
    fields[#fields + 1] = ARGV[i]
  end

  fields[2 * RECEIVED_AT] = int(math.floor(now_us / 1000))
  id = shard .. '-' .. redis.call('XADD', KEYS[1], '*', unpack(fields))
end

if idempotent then
  redis.call('SET', KEYS[2], RECORD_VERSION .. fingerprint .. id, 'EX', int(ttl_s))
end

for i = 1, rate_count do
  local rate = rates[i]

  rate.ahead_us = rate.ahead_us + rate.cost_us

  -- One millisecond more: Redis counts from the whole millisecond before now_us.
  local ttl_ms = math.ceil(rate.ahead_us / 1000) + 1

  redis.call('SET', KEYS[2 + i], int(now_us + rate.ahead_us), 'PX', int(ttl_ms))
end

return answer('accepted', id, '')
