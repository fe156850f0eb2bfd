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

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
if now < tonumber(ARGV[2]) or now >= tonumber(ARGV[3]) then
  return {STALE, now}
end

local counters = tonumber(ARGV[1])
local values = #KEYS > 0 and redis.call('MGET', unpack(KEYS)) or {}
local has_run = #KEYS > counters
local is_repeat = has_run and values[#KEYS]

local reply = {0, now}
local is_added = {}
local fits, is_countable = true, true
for i = 1, counters do
  local at = 4 * i
  local amount = tonumber(ARGV[at])
  local count = tonumber(values[i] or 0)
  if amount > 0 and (not is_repeat or ARGV[at + 3] == '1') then
    is_added[i] = true
    if ARGV[at + 1] ~= '' and count + amount > tonumber(ARGV[at + 1]) then
      fits = false
    end
    is_countable = is_countable and count + amount <= COUNT_MAX
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
  if is_added[i] then
    local at = 4 * i
    if values[i] then
      reply[i + 2] = redis.call('INCRBY', KEYS[i], ARGV[at])
    else
      -- One command makes the counter and its expiry: there is no moment without one.
      redis.call('SET', KEYS[i], ARGV[at], 'EXAT', ARGV[at + 2])
      reply[i + 2] = tonumber(ARGV[at])
    end
  end
end
if has_run and not is_repeat then
  redis.call('SET', KEYS[#KEYS], ARGV[#ARGV - 1], 'EXAT', ARGV[#ARGV])
end
reply[1] = is_repeat and REPEAT_ADMITTED or ADMITTED
return reply
