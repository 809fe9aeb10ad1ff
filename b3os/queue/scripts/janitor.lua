-- Forget completed tasks past their retention, and archived ones past theirs.
-- KEYS[1] completed, KEYS[2] archived. ARGV[1] task key prefix, ARGV[2] now in unix s, ARGV[3] forget those archived
-- before, ARGV[4] at most, of each.
-- Returns how many were forgotten.
local n = 0
for k = 1, 2 do
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[k], '-inf', ARGV[k + 1], 'LIMIT', 0, ARGV[4])) do
    redis.call('ZREM', KEYS[k], id)
    n = n + redis.call('DEL', ARGV[1] .. id)
  end
end
return n
