-- Put tasks into a lane, each unless its id is there already, as long as the lane has room.
-- KEYS[1] pending. ARGV[1] task key prefix, ARGV[2] now in ns, ARGV[3] most that may be pending, then id and message
-- alternating.
-- Returns one number a task: 1 put, 0 already there, -1 no room.
local room = tonumber(ARGV[3]) - redis.call('LLEN', KEYS[1])
local made = {}
for i = 4, #ARGV, 2 do
  local key = ARGV[1] .. ARGV[i]
  if redis.call('EXISTS', key) == 1 then
    made[#made + 1] = 0
  elseif room <= 0 then
    made[#made + 1] = -1
  else
    redis.call('HSET', key, 'msg', ARGV[i + 1], 'state', 'pending', 'pending_since', ARGV[2])
    redis.call('LPUSH', KEYS[1], ARGV[i])
    room = room - 1
    made[#made + 1] = 1
  end
end
return made
