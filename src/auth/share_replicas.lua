-- Notes that a replica lives, and counts those that do. KEYS[1] is a hash of the ends of their lives, with the
-- time of its own birth: a young one says that the server has lost everything, or its last grants, as a master
-- after a failover has. ARGV: replica, life (0: it leaves), whether the replica has found a loss by itself, a
-- number of the master (0: not known), which is in the past as a time, so that a script without this knowledge
-- takes it for a dead replica.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, life = ARGV[1], tonumber(ARGV[2])
local master = tonumber(ARGV[4] or 0)
local records, count, born, former = redis.call('HGETALL', KEYS[1]), 0, nil, nil
for i = 1, #records, 2 do
  if records[i] == 'born' then
    born = tonumber(records[i + 1])
  elseif records[i] == 'master' then
    former = tonumber(records[i + 1])
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
if master ~= 0 and former ~= master then
  redis.call('HSET', KEYS[1], 'master', string.format('%.0f', master))
end
if not born or ARGV[3] == '1' or master ~= 0 and former and former ~= master then
  born = now
  redis.call('HSET', KEYS[1], 'born', string.format('%.0f', born))
end
redis.call('PEXPIRE', KEYS[1], 600000)
return { string.format('%.0f', now), string.format('%.0f', count), string.format('%.0f', born) }
