-- Put tasks whose lease has run out back in front of the line.
-- KEYS[1] lane prefix, KEYS[2] wake list. ARGV[1] now in unix s, ARGV[2] at most.
-- Returns how many were put back.
local ids = redis.call('ZRANGEBYSCORE', KEYS[1] .. 'lease', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do
  redis.call('LREM', KEYS[1] .. 'active', 0, id)
  redis.call('ZREM', KEYS[1] .. 'lease', id)
  if redis.call('EXISTS', KEYS[1] .. 't:' .. id) == 1 then
    redis.call('RPUSH', KEYS[1] .. 'pending', id)
    redis.call('HSET', KEYS[1] .. 't:' .. id, 'state', 'pending')
  end
end
if #ids > 0 then redis.call('LPUSH', KEYS[2], '1') end
return #ids
