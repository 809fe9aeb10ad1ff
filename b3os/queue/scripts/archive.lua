-- Give tasks up: they are kept for a person to look at, for a time, and not more than a number of them.
-- KEYS[1] active, KEYS[2] lease, KEYS[3] archived, KEYS[4] processed, KEYS[5] failed, KEYS[6] and KEYS[7] the day's.
-- ARGV[1] task key prefix, ARGV[2] expiry of the day's counters in unix s, ARGV[3] now in unix s, ARGV[4] forget those
-- archived before, ARGV[5] most that are kept, then id and message alternating.
-- Returns how many were archived.
local n = 0
for i = 6, #ARGV, 2 do
  if redis.call('LREM', KEYS[1], 1, ARGV[i]) == 1 then
    n = n + 1
    redis.call('ZREM', KEYS[2], ARGV[i])
    redis.call('ZADD', KEYS[3], ARGV[3], ARGV[i])
    redis.call('HSET', ARGV[1] .. ARGV[i], 'msg', ARGV[i + 1], 'state', 'archived')
  end
end
if n > 0 then
  local old = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. ARGV[4], 'LIMIT', 0, 1000)
  local over = redis.call('ZCARD', KEYS[3]) - #old - tonumber(ARGV[5])
  if over > 0 then old = redis.call('ZRANGE', KEYS[3], 0, #old + math.min(over, 1000) - 1) end
  for _, id in ipairs(old) do
    redis.call('DEL', ARGV[1] .. id)
    redis.call('ZREM', KEYS[3], id)
  end
  redis.call('INCRBY', KEYS[4], n)
  redis.call('INCRBY', KEYS[5], n)
  if redis.call('INCRBY', KEYS[6], n) == n then redis.call('EXPIREAT', KEYS[6], ARGV[2]) end
  if redis.call('INCRBY', KEYS[7], n) == n then redis.call('EXPIREAT', KEYS[7], ARGV[2]) end
end
return n
