-- Take up to N tasks of a lane under a lease, unless the lane is paused.
-- KEYS[1] pending, KEYS[2] paused, KEYS[3] active, KEYS[4] lease. ARGV[1] task key prefix, ARGV[2] N, ARGV[3] lease
-- expiry in unix s.
-- Returns messages; an id without a hash is dropped, so that it cannot stay active for ever.
local out = {}
if redis.call('EXISTS', KEYS[2]) == 1 then return out end
local active, leases = {}, {}
while #out < tonumber(ARGV[2]) do
  local ids = redis.call('RPOP', KEYS[1], tonumber(ARGV[2]) - #out)
  if not ids then break end
  for _, id in ipairs(ids) do
    local key = ARGV[1] .. id
    local msg = redis.call('HGET', key, 'msg')
    if msg then
      redis.call('HSET', key, 'state', 'active')
      redis.call('HDEL', key, 'pending_since')
      active[#active + 1] = id
      leases[#leases + 1] = ARGV[3]
      leases[#leases + 1] = id
      out[#out + 1] = msg
    end
  end
end
if #out > 0 then
  redis.call('LPUSH', KEYS[3], unpack(active))
  redis.call('ZADD', KEYS[4], unpack(leases))
end
return out
