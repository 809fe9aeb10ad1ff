-- Put tasks into a lane, each unless its id is there already.
-- KEYS[1] lane prefix, KEYS[2] wake list. ARGV[1] now in ns, then id and message alternating.
-- Returns one number a task: 1 put, 0 already there.
local made, any = {}, false
for i = 2, #ARGV, 2 do
  local key = KEYS[1] .. 't:' .. ARGV[i]
  if redis.call('EXISTS', key) == 1 then
    made[#made + 1] = 0
  else
    redis.call('HSET', key, 'msg', ARGV[i + 1], 'state', 'pending', 'pending_since', ARGV[1])
    redis.call('LPUSH', KEYS[1] .. 'pending', ARGV[i])
    made[#made + 1] = 1
    any = true
  end
end
if any then
  redis.call('LPUSH', KEYS[2], '1')
  redis.call('LTRIM', KEYS[2], 0, 63)
end
return made
