-- Tell who this server is and what it works on.
-- KEYS[1] the server's STRING, KEYS[2] the server's workers HASH. ARGV[1] seconds to live, ARGV[2] ServerInfo, then task
-- id and WorkerInfo alternating.
-- Returns how many workers were written.
redis.call('SETEX', KEYS[1], ARGV[1], ARGV[2])
redis.call('DEL', KEYS[2])
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
if #ARGV > 2 then redis.call('EXPIRE', KEYS[2], ARGV[1]) end
return (#ARGV - 2) / 2
