-- Make sure that tasks which nobody works on can be taken, whatever part of them was lost.
-- KEYS[1] pending, KEYS[2] active, KEYS[3] lease, KEYS[4] scheduled, KEYS[5] retry, KEYS[6] archived, KEYS[7] completed.
-- ARGV[1] task key prefix, ARGV[2] now in ns, ARGV[3] most that may be pending, ARGV[4] a longer line is not searched,
-- ARGV[5] now in unix s, then id and message alternating.
-- Returns one number a task: 1 put into the line, 0 in the line or held under a lease, -1 no room.
local length = redis.call('LLEN', KEYS[1])
local room = tonumber(ARGV[3]) - length
local line
local function in_line(id, unknown)
  if length > tonumber(ARGV[4]) then return unknown end
  if not line then
    line = {}
    for _, other in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do line[other] = true end
  end
  return line[id]
end
local made = {}
for i = 6, #ARGV, 2 do
  local id, msg = ARGV[i], ARGV[i + 1]
  local key = ARGV[1] .. id
  local state = redis.call('HGET', key, 'state')
  local lease = state == 'active' and redis.call('ZSCORE', KEYS[3], id)
  if state == 'pending' and in_line(id, true) then
    made[#made + 1] = 0
  elseif lease and tonumber(lease) > tonumber(ARGV[5]) then
    made[#made + 1] = 0
  elseif room <= 0 then
    made[#made + 1] = -1
  else
    if state then
      redis.call('LREM', KEYS[2], 0, id)
      redis.call('ZREM', KEYS[3], id)
      for k = 4, 7 do redis.call('ZREM', KEYS[k], id) end
    end
    redis.call('HSET', key, 'msg', msg, 'state', 'pending', 'pending_since', ARGV[2])
    if not in_line(id, false) then redis.call('LPUSH', KEYS[1], id) end
    room = room - 1
    made[#made + 1] = 1
  end
end
return made
