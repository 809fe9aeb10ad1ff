-- Move tasks whose time has come from `scheduled` and `retry` to the lane, or to their group.
-- KEYS[1] pending, KEYS[2] scheduled, KEYS[3] retry. ARGV[1] task key prefix, ARGV[2] group key prefix, ARGV[3] now in
-- unix s, ARGV[4] now in ns, ARGV[5] at most, of each.
-- Returns how many were moved.
local n = 0
for k = 2, 3 do
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[k], '-inf', ARGV[3], 'LIMIT', 0, ARGV[5])) do
    local key = ARGV[1] .. id
    redis.call('ZREM', KEYS[k], id)
    if redis.call('EXISTS', key) == 1 then
      local group = redis.call('HGET', key, 'group')
      if group then
        redis.call('ZADD', ARGV[2] .. group, ARGV[3], id)
        redis.call('HSET', key, 'state', 'aggregating')
      else
        redis.call('LPUSH', KEYS[1], id)
        redis.call('HSET', key, 'state', 'pending', 'pending_since', ARGV[4])
      end
    end
    n = n + 1
  end
end
return n
