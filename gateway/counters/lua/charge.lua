-- charge: adds the amounts of one request to its counters, all of them or none.
--
-- Time is the store's own (TIME), so that gateways with skewed clocks agree. Quantities are whole
-- micro-units below 2^53: Lua's numbers hold them exactly. Runs on Redis 6.2 to 8 and Valkey.
--
-- KEYS  the counters; behind them the run's idempotency key, if the caller named a run
-- ARGV  1   number of counters
--       2,3 microseconds between which (the end excluded) all periods of the counters hold
--       per counter four: amount, blocking cap ("" for none), Unix second at which it expires,
--           "1" if a repeat of a known run counts
--       with a run two more: hold id, Unix second at which the run is forgotten
-- Returns {verdict, now in microseconds, count per counter after the charge}, or an error, and has
-- added nothing, if a count would be larger than Redis can count.

local COUNT_MAX = 9200000000000000000 -- Redis's numbers end soon behind it
local STALE, REFUSED, ADMITTED, REPEAT_REFUSED, REPEAT_ADMITTED = -1, 0, 1, 2, 3
local call, KEYS, ARGV = redis.call, KEYS, ARGV -- globals are looked up each time

local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
if now < ARGV[2] + 0 or now >= ARGV[3] + 0 then
  return {STALE, now}
end

local counters = ARGV[1] + 0
local values = #KEYS > 0 and call('MGET', unpack(KEYS)) or {}
local has_run = #KEYS > counters
local is_repeat = has_run and values[#KEYS]

local reply = {ADMITTED, now}
local fits, is_countable = true, true
for i = 1, counters do
  local at = 4 * i
  local count = (values[i] or 0) + 0
  if ARGV[at] + 0 > 0 and (not is_repeat or ARGV[at + 3] == '1') then
    local after, cap = count + ARGV[at], ARGV[at + 1]
    if cap ~= '' and after > cap + 0 then
      fits = false
    end
    is_countable = is_countable and after <= COUNT_MAX
  end
  reply[i + 2] = count
end

if not fits then
  reply[1] = is_repeat and REPEAT_REFUSED or REFUSED
  return reply
end

if not is_countable then
  -- What INCRBY said half-way would leave the counters before it raised.
  return redis.error_reply('ERR a counter would be larger than Redis can count')
end

for i = 1, counters do
  local at = 4 * i
  if ARGV[at] + 0 > 0 and (not is_repeat or ARGV[at + 3] == '1') then -- as above
    if values[i] then
      reply[i + 2] = call('INCRBY', KEYS[i], ARGV[at])
    else
      -- One command makes the counter and its expiry: there is no moment without one.
      call('SET', KEYS[i], ARGV[at], 'EXAT', ARGV[at + 2])
      reply[i + 2] = ARGV[at] + 0
    end
  end
end
if has_run and not is_repeat then
  call('SET', KEYS[#KEYS], ARGV[#ARGV - 1], 'EXAT', ARGV[#ARGV])
end
if is_repeat then
  reply[1] = REPEAT_ADMITTED
end
return reply
