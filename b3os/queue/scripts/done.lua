-- Finish tasks of a lane.
-- KEYS[1] lane prefix. ARGV[1] day (YYYY-MM-DD), ARGV[2] expiry of the day's counter in unix s, then ids.
-- Returns how many were there.
local n = 0
for i = 3, #ARGV do
  redis.call('LREM', KEYS[1] .. 'active', 0, ARGV[i])
  redis.call('ZREM', KEYS[1] .. 'lease', ARGV[i])
  n = n + redis.call('DEL', KEYS[1] .. 't:' .. ARGV[i])
end
if n > 0 then
  redis.call('INCRBY', KEYS[1] .. 'processed', n)
  local day = KEYS[1] .. 'processed:' .. ARGV[1]
  if redis.call('INCRBY', day, n) == n then redis.call('EXPIREAT', day, ARGV[2]) end
end
return n
