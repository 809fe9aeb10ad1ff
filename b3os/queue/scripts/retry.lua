-- Put failed tasks aside to be tried again.
-- KEYS[1] active, KEYS[2] lease, KEYS[3] retry, KEYS[4] processed, KEYS[5] failed, KEYS[6] and KEYS[7] the day's.
-- ARGV[1] task key prefix, ARGV[2] expiry of the day's counters in unix s, then id, message and unix s in turn.
-- Returns how many were put aside.
local n = 0
for i = 3, #ARGV, 3 do
  if redis.call('LREM', KEYS[1], 1, ARGV[i]) == 1 then
    n = n + 1
    redis.call('ZREM', KEYS[2], ARGV[i])
    redis.call('ZADD', KEYS[3], ARGV[i + 2], ARGV[i])
    redis.call('HSET', ARGV[1] .. ARGV[i], 'msg', ARGV[i + 1], 'state', 'retry')
  end
end
if n > 0 then
  redis.call('INCRBY', KEYS[4], n)
  redis.call('INCRBY', KEYS[5], n)
  if redis.call('INCRBY', KEYS[6], n) == n then redis.call('EXPIREAT', KEYS[6], ARGV[2]) end
  if redis.call('INCRBY', KEYS[7], n) == n then redis.call('EXPIREAT', KEYS[7], ARGV[2]) end
end
return n
