-- Put tasks aside until a time, each unless its id is there already.
-- KEYS[1] scheduled. ARGV[1] task key prefix, then id, message and unix s in turn.
-- Returns one number a task: 1 put, 0 already there.
local made = {}
for i = 2, #ARGV, 3 do
  local key = ARGV[1] .. ARGV[i]
  if redis.call('EXISTS', key) == 1 then
    made[#made + 1] = 0
  else
    redis.call('HSET', key, 'msg', ARGV[i + 1], 'state', 'scheduled')
    redis.call('ZADD', KEYS[1], ARGV[i + 2], ARGV[i])
    made[#made + 1] = 1
  end
end
return made
