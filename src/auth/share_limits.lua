-- One replica's report of one key, and the grant that answers it. KEYS[1] is a hash with one field for each
-- replica, which holds its last report; a field is written by its own replica alone. Time is this server's.
-- ARGV: replica, seq, limits (requests, tokens, concurrent, budget; -1: none), spent, then for requests and for
-- tokens: keep, want, need; then for concurrent and for budget: held, want; life of grants, life of levels,
-- and the used seconds of requests and of tokens as "second:amount,...".
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, A = ARGV[1], {}
for i = 2, 19 do A[i] = tonumber(ARGV[i]) end
local seq, life, level_life = A[2], A[18], A[19]
local windows = { ARGV[20], ARGV[21] }

-- The sum of a window's seconds that still count: a second counts for sixty more.
local function count(window, list)
  local sum = 0
  for second, amount in string.gmatch(window, '(%d+):(%d+)') do
    local ends = second * 1000 + 60000
    if ends > now then
      sum = sum + amount
      if list then list[#list + 1] = { ends, tonumber(amount) } end
    end
  end
  return sum
end

local records = redis.call('HGETALL', KEYS[1])
local used, caps, spent, last, others = { 0, 0 }, { 0, 0 }, A[7], -1, {}
for i = 1, #records, 2 do
  local n, own = {}, {}
  for word in string.gmatch(records[i + 1], '%S+') do n[#n + 1] = word end
  -- seq, end of levels, end of grants, held (2), caps (2), spent, windows (2)
  for k = 1, 8 do own[k] = tonumber(n[k]) end
  spent = math.max(spent, own[8])
  if records[i] == me then
    last = own[1]
    if seq == last then
      local text = function(k) return string.format('%.0f', own[k]) end
      return { n[1], string.format('%.0f', own[3] - life), text(3), text(4), text(5), '0', '0', '0', '0', text(6), text(7), '-2', '-1' }
    end
    if seq < last then return { '0' } end
  else
    local ends = math.floor(own[3] / 1000) * 1000 + 61000
    for flow = 1, 2 do
      used[flow] = used[flow] + count(n[8 + flow])
      -- Past its end a grant counts as used then, until its replica tells.
      if now < ends then used[flow] = used[flow] + own[3 + flow] end
    end
    if now < own[2] then
      caps[1], caps[2] = caps[1] + own[6], caps[2] + own[7]
    elseif now >= ends + 2000 then
      redis.call('HDEL', KEYS[1], records[i])
    end
    others[#others + 1] = { n, own, ends }
  end
end

local held, free, free_at = { 0, 0 }, { 0, 0 }, { 0, 0 }
for flow = 1, 2 do
  local limit, keep, want, need = A[2 + flow], A[5 + flow * 3], A[6 + flow * 3], A[7 + flow * 3]
  if limit >= 0 then
    local rest = math.max(limit - used[flow] - count(windows[flow]) - keep, 0)
    -- Near the limit no replica gets more than half of the rest beyond its need.
    local give = math.min(math.max(want - keep, 0), math.max(math.min(need, rest), math.floor(rest / 2)))
    held[flow], free[flow] = keep + give, rest - give
    if give < need then
      -- When the oldest uses cease to count.
      local list = {}
      count(windows[flow], list)
      for _, other in ipairs(others) do
        count(other[1][8 + flow], list)
        if now < other[3] then list[#list + 1] = { other[3], other[2][3 + flow] } end
      end
      table.sort(list, function(a, b) return a[1] < b[1] end)
      local missing = need - give
      for _, entry in ipairs(list) do
        missing = missing - entry[2]
        if missing <= 0 then
          free_at[flow] = entry[1]
          break
        end
      end
      if free_at[flow] == 0 then free_at[flow] = now + 1000 end
    end
  end
end

local cap = { 0, 0 }
local totals = { A[5], A[6] - spent }
for level = 1, 2 do
  local kept, want = A[12 + level * 2], A[13 + level * 2]
  if A[4 + level] >= 0 then cap[level] = math.max(kept, math.min(want, totals[level] - caps[level])) end
end

local function text(number) return string.format('%.0f', number) end
local lapse = now + life
redis.call('HSET', KEYS[1], me, table.concat({
  text(seq), text(now + level_life), text(lapse), text(held[1]), text(held[2]), text(cap[1]), text(cap[2]),
  text(spent), windows[1], windows[2],
}, ' '))
redis.call('PEXPIRE', KEYS[1], 75000)
return {
  text(seq), text(now), text(lapse), text(held[1]), text(held[2]), text(free[1]), text(free[2]),
  text(free_at[1]), text(free_at[2]), text(cap[1]), text(cap[2]), text(last),
  text(A[5] >= 0 and caps[1] or 0),
}
