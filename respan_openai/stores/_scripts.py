"""What Redis does in one go: Lua, sent along each time (EVAL), so that a flush of scripts cannot lose it.

Lua's numbers are doubles, and amounts have 64 bits: amounts stay text here, are added by INCRBY and DECRBY,
and compared by length and digits. A script that fails half-way is not rolled back, so each one looks at
everything before it writes. A full server refuses a script's first write if that needs memory, and no later
one: RESERVE begins with one that does, and SETTLE with one that gives memory back.
"""

from __future__ import annotations


__all__ = ["LOG", "PAGE", "RESERVE", "SETTLE"]


#: KEYS: the hold, and the budget of each charge. ARGV: now, expiry, milliseconds until then, and for each
#: charge how much may have been taken before, its amount, and milliseconds that its budget is kept at least
#: (0: for good). Answers -1, or the index of the charge that does not fit, or -2 if the name of the hold is
#: in use.
RESERVE = """
local held = redis.call('LINDEX', KEYS[1], 0)
if held and tonumber(held) > tonumber(ARGV[1]) then return -2 end
for i = 2, #KEYS do
  local taken, room = redis.call('GET', KEYS[i]) or '0', ARGV[3 * i - 2]
  if not string.match(taken, '^%-?%d+$') then return redis.error_reply('ERR a budget is not a number') end
  local more = #taken > #room or #taken == #room and taken > room
  local negative = string.sub(taken, 1, 1) == '-'
  if room == '-1' or more and not negative then return i - 2 end
end
local charges = {}
for i = 2, #KEYS do
  local amount, life = ARGV[3 * i - 1], tonumber(ARGV[3 * i])
  redis.call('INCRBY', KEYS[i], amount)
  if life > 0 and redis.call('PTTL', KEYS[i]) < life then redis.call('PEXPIRE', KEYS[i], ARGV[3 * i]) end
  charges[2 * i - 3], charges[2 * i - 2] = KEYS[i], amount
end
if held then redis.call('DEL', KEYS[1]) end
redis.call('RPUSH', KEYS[1], ARGV[2], unpack(charges))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return -1
"""

#: KEYS: the hold. ARGV: now, and an amount for each charge. Answers -1, also if there is no such hold; or, if
#: the amounts are not as many as the charges, how many charges there are.
SETTLE = """
local held = redis.call('LRANGE', KEYS[1], 0, -1)
if #held == 0 or tonumber(held[1]) <= tonumber(ARGV[1]) then return -1 end
local charges = (#held - 1) / 2
if charges ~= #ARGV - 1 then return charges end
redis.call('DEL', KEYS[1])
for i = 1, charges do
  redis.call('DECRBY', held[2 * i], held[2 * i + 1])
  redis.call('INCRBY', held[2 * i], ARGV[i + 1])
end
return -1
"""

#: KEYS: ids by time, and rows by id. ARGV: id, time, row, most rows. A bound that was lowered is reached step
#: by step, because Lua passes on a few thousand values at once.
LOG = """
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
local over = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[4])
if over > 0 then
  local old = redis.call('ZRANGE', KEYS[1], 0, math.min(over, 1000) - 1)
  redis.call('ZREM', KEYS[1], unpack(old))
  redis.call('HDEL', KEYS[2], unpack(old))
end
"""

#: KEYS: as for LOG. ARGV: the time above, how many newer rows to leave out, how many to read (at most some
#: thousands).
PAGE = """
local ids = redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[1], '-inf', 'LIMIT', ARGV[2], ARGV[3])
if #ids == 0 then return {} end
return redis.call('HMGET', KEYS[2], unpack(ids))
"""
