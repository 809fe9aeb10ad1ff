-- Finish taken tasks, and let go of the unique locks that they hold. A task that is no longer active is somebody
-- else's by now and stays.
-- KEYS[1] active, KEYS[2] lease, KEYS[3] completed, KEYS[4] processed, KEYS[5] the day's processed.
-- ARGV[1] task key prefix, ARGV[2] expiry of the day's counter in unix s, then id, unique key or '', message to keep
-- or '', and when to forget it in unix s, in turn.
-- Returns how many were finished.
local n = 0
for i = 3, #ARGV, 4 do
  local id, unique, msg = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local key = ARGV[1] .. id
  if redis.call('LREM', KEYS[1], 1, id) == 1 then
    n = n + 1
    redis.call('ZREM', KEYS[2], id)
    if msg == '' then
      redis.call('DEL', key)
    else
      redis.call('ZADD', KEYS[3], ARGV[i + 3], id)
      redis.call('HSET', key, 'msg', msg, 'state', 'completed')
    end
    if unique ~= '' and redis.call('GET', unique) == id then redis.call('DEL', unique) end
  end
end
if n > 0 then
  redis.call('INCRBY', KEYS[4], n)
  if redis.call('INCRBY', KEYS[5], n) == n then redis.call('EXPIREAT', KEYS[5], ARGV[2]) end
end
return n
