-- Give taken tasks back: they are the next to be taken.
-- KEYS[1] active, KEYS[2] lease, KEYS[3] pending. ARGV[1] task key prefix, ARGV[2] now in ns, then ids.
-- Returns how many went back.
local n = 0
for i = 3, #ARGV do
  if redis.call('LREM', KEYS[1], 1, ARGV[i]) == 1 then
    n = n + 1
    redis.call('ZREM', KEYS[2], ARGV[i])
    redis.call('RPUSH', KEYS[3], ARGV[i])
    redis.call('HSET', ARGV[1] .. ARGV[i], 'state', 'pending', 'pending_since', ARGV[2])
  end
end
return n
