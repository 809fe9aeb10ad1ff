-- Renew the leases of taken tasks.
-- KEYS[1] lease. ARGV[1] new expiry in unix s, then ids.
-- Returns one number a task: 1 renewed, 0 lost, since its lease ran out and it went back.
local held = {}
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i])
    held[#held + 1] = 1
  else
    held[#held + 1] = 0
  end
end
return held
