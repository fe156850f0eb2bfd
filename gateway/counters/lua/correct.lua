-- correct: applies what a charge must still be corrected by, once, however often it is told.
--
-- KEYS  1 the correction's mark; the counters; behind them the run's idempotency key, if the run
--       is released
-- ARGV  1 number of counters
--       2 seconds for which the correction is remembered
--       3 hold id: a run is released only by the hold that took it
--       4 "1" if nothing is to be done unless that hold took the run
--       per counter two: delta (negative gives back), Unix second at which a new counter expires
-- Returns 1 if it was applied now, 0 if it had been before or is not to be.

local COUNT_MAX = '9200000000000000000' -- Redis's numbers end soon behind it

local counters = tonumber(ARGV[1])
local has_run = #KEYS > counters + 1
local took_run = has_run and redis.call('GET', KEYS[#KEYS]) == ARGV[3]
if ARGV[4] == '1' and not took_run then
  return 0
end
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[2]) then
  return 0
end

for i = 1, counters do
  local key = KEYS[i + 1]
  local delta = tonumber(ARGV[2 * i + 3])
  local value = redis.call('GET', key)
  if value then
    -- Never below nothing: a counter that was written anew from the ledger may hold less.
    if tonumber(value) + delta < 0 then
      redis.call('DECRBY', key, value)
    elseif tonumber(value) + delta > tonumber(COUNT_MAX) then
      -- INCRBY would fail with the mark set: what it stands for would never be applied.
      redis.call('SET', key, COUNT_MAX, 'KEEPTTL')
    else
      redis.call('INCRBY', key, ARGV[2 * i + 3])
    end
  elseif delta > 0 then
    redis.call('SET', key, ARGV[2 * i + 3], 'EXAT', ARGV[2 * i + 4])
  end
end

if took_run then
  redis.call('DEL', KEYS[#KEYS])
end
return 1
