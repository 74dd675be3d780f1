-- Notes that a replica lives, and counts those that do. KEYS[1] is a hash of the ends of their lives, with the
-- time of its own birth: a young one says that the server has lost everything. ARGV: replica, life (0: it
-- leaves), whether the replica has found a loss by itself.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, life = ARGV[1], tonumber(ARGV[2])
local records, count, born = redis.call('HGETALL', KEYS[1]), 0, nil
for i = 1, #records, 2 do
  if records[i] == 'born' then
    born = tonumber(records[i + 1])
  elseif tonumber(records[i + 1]) < now then
    redis.call('HDEL', KEYS[1], records[i])
  elseif records[i] ~= me then
    count = count + 1
  end
end
if life == 0 then
  redis.call('HDEL', KEYS[1], me)
else
  redis.call('HSET', KEYS[1], me, string.format('%.0f', now + life))
  count = count + 1
end
if not born or ARGV[3] == '1' then
  born = now
  redis.call('HSET', KEYS[1], 'born', string.format('%.0f', born))
end
redis.call('PEXPIRE', KEYS[1], 600000)
return { string.format('%.0f', now), string.format('%.0f', count), string.format('%.0f', born) }
