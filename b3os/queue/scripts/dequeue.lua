-- Take up to N tasks of a lane under a lease.
-- KEYS[1] lane prefix. ARGV[1] N, ARGV[2] lease expiry in unix s.
-- Returns messages; an id without a hash is dropped, so that it cannot stay active for ever.
local out = {}
if redis.call('EXISTS', KEYS[1] .. 'paused') == 1 then return out end
for _ = 1, tonumber(ARGV[1]) do
  local id = redis.call('RPOPLPUSH', KEYS[1] .. 'pending', KEYS[1] .. 'active')
  if not id then break end
  local key = KEYS[1] .. 't:' .. id
  local msg = redis.call('HGET', key, 'msg')
  if msg then
    redis.call('HSET', key, 'state', 'active')
    redis.call('HDEL', key, 'pending_since')
    redis.call('ZADD', KEYS[1] .. 'lease', ARGV[2], id)
    out[#out + 1] = msg
  else
    redis.call('LREM', KEYS[1] .. 'active', 0, id)
  end
end
return out
