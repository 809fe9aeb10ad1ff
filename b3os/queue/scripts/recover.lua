-- Put tasks whose lease has run out back in front of the line. No retry is counted: their worker died, they did not fail.
-- KEYS[1] pending, KEYS[2] active, KEYS[3] lease. ARGV[1] task key prefix, ARGV[2] now in unix s, ARGV[3] now in ns,
-- ARGV[4] at most.
-- Returns how many leases had run out.
local ids = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[2], 'LIMIT', 0, ARGV[4])
for _, id in ipairs(ids) do
  redis.call('LREM', KEYS[2], 0, id)
  redis.call('ZREM', KEYS[3], id)
  local key = ARGV[1] .. id
  if redis.call('EXISTS', key) == 1 then
    redis.call('RPUSH', KEYS[1], id)
    redis.call('HSET', key, 'state', 'pending', 'pending_since', ARGV[3])
  end
end
return #ids
