-- correct: applies what a charge must still be corrected by, once, however often it is told.
--
-- A run's key holds the hold that charged it. A repeat that turns out billable claims the run: if it
-- is charged, the claim is noted behind the hold, and if that hold gives its charge back later, the
-- claimant's charge takes its place; if it is not charged any more, the claimant's is added at once.
-- So a run is charged once if one of its tries is billable, in whatever order they end.
--
-- KEYS  1 the correction's mark; the counters; behind them the run's idempotency key, if the run
--       is released or claimed
-- ARGV  1 number of counters
--       2 seconds for which the correction is remembered
--       3 hold id: a run is released only by the hold that took it
--       4 "1" if nothing is to be done unless that hold took the run
--       5 Unix second at which the run is forgotten if it is claimed, "0" if it is not
--       per counter two: delta (negative gives back), Unix second at which a new counter expires
-- Returns 1 if it was applied now, 0 if it had been before or is not to be.

local COUNT_MAX = '9200000000000000000' -- Redis's numbers end soon behind it

local function add(key, delta, expires)
  local value = redis.call('GET', key)
  local change = tonumber(delta)
  if value then
    -- Never below nothing: a counter that was written anew from the ledger may hold less.
    if tonumber(value) + change < 0 then
      redis.call('DECRBY', key, value)
    elseif tonumber(value) + change > tonumber(COUNT_MAX) then
      -- INCRBY would fail with the mark set: what it stands for would never be applied.
      redis.call('SET', key, COUNT_MAX, 'KEEPTTL')
    else
      redis.call('INCRBY', key, delta)
    end
  elseif change > 0 then
    redis.call('SET', key, delta, 'EXAT', expires)
  end
end

local counters = tonumber(ARGV[1])
local has_run = #KEYS > counters + 1
local run = KEYS[#KEYS]
local holder = has_run and redis.call('GET', run)
-- {claimant, the hold it was charged by, per counter of the claimant: key, amount, expiry}
local claim = holder and holder:sub(1, 1) == '[' and cjson.decode(holder)
local took_run = holder and (claim and claim[2] or holder) == ARGV[3]
if ARGV[4] == '1' and not took_run then
  return 0
end
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[2]) then
  return 0
end

local is_claim = ARGV[5] ~= '0'
if is_claim and holder then
  if not claim then
    claim = {ARGV[3], holder}
    for i = 1, counters do
      claim[#claim + 1] = KEYS[i + 1]
      claim[#claim + 1] = ARGV[2 * i + 4]
      claim[#claim + 1] = ARGV[2 * i + 5]
    end
    redis.call('SET', run, cjson.encode(claim), 'KEEPTTL')
  end
  return 1
end
if holder and not took_run then
  return 1 -- it was forgotten, and is charged by another now: there is nothing to give back
end

for i = 1, counters do
  add(KEYS[i + 1], ARGV[2 * i + 4], ARGV[2 * i + 5])
end
if is_claim then
  redis.call('SET', run, ARGV[3], 'EXAT', ARGV[5])
elseif claim then
  for i = 3, #claim, 3 do
    add(claim[i], claim[i + 1], claim[i + 2]) -- of the same workspace, so of the same slot
  end
  redis.call('SET', run, claim[1], 'KEEPTTL')
elseif took_run then
  redis.call('DEL', run)
end
return 1
