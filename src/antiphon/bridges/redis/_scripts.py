"""The scripts that run in the server. A script is one round trip, and nothing else runs between its commands.

Newer servers can claim with XREADGROUP, hand back with XNACK, and remember ids with XADD. Redis 7 and Valkey cannot, so
the scripts do without.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final

__all__ = (
    "ACK",
    "BURY",
    "CLOSE",
    "DROP",
    "HEALTH",
    "LATER",
    "OPEN",
    "PUBLISH",
    "READ_FENCED",
    "REDELIVERED",
    "RENEW",
    "REQUEUE",
    "Script",
)


class Script:
    """A script, and its digest."""

    __slots__ = ("code", "digest")

    def __init__(self, code: str) -> None:
        self.code: Final = code
        self.digest: Final = sha1(code.encode(), usedforsecurity=False).hexdigest()


# KEYS: the stream, and the key of each id. ARGV: the milliseconds to retain and to remember ids, and the data of each.
# The event is added before its id is remembered: if the server refuses the first write, an id without an event would
# make the next publish a duplicate. Old events are removed by their age: a number would remove events of any age, and
# groups that have not read them yet could not know in advance.
PUBLISH: Final = Script("""
local time = redis.call('TIME')
local oldest = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1])
local results = {}
for i = 2, #KEYS do
  local known = redis.call('GET', KEYS[i])
  if known then
    results[#results + 1] = '=' .. known
  else
    local id = redis.call('XADD', KEYS[1], 'MINID', '~', oldest, '*', 'e', ARGV[i + 1])
    redis.call('SET', KEYS[i], id, 'PX', ARGV[2])
    results[#results + 1] = id
  end
end
return results
""")

# KEYS: the stream. ARGV: the group, the consumer, the first position of a new group, and the milliseconds after which
# the names of consumers that have gone are removed.
OPEN: Final = Script("""
local read = 0
if ARGV[3] == '$' and redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do if info[i] == 'entries-added' then read = info[i + 1] end end
end
-- Without ENTRIESREAD the server does not know how many events the group has missed when they are removed.
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[3], 'MKSTREAM', 'ENTRIESREAD', read)
if made.err and not string.find(made.err, 'BUSYGROUP') then return redis.error_reply(made.err) end
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local found = {}
  for i = 1, #consumer, 2 do found[consumer[i]] = consumer[i + 1] end
  if found['pending'] == 0 and found['idle'] > tonumber(ARGV[4]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], found['name'])
  end
end
return 1
""")

# KEYS: the stream, and the owner. ARGV: the group, the consumer, and the token of the owner.
CLOSE: Final = Script("""
if ARGV[3] ~= '' and redis.call('GET', KEYS[2]) == ARGV[3] then redis.call('DEL', KEYS[2]) end
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
return 1
""")

# KEYS: the stream, and the owner. ARGV: the group, the consumer, the token, and the limit. A blocking read cannot run
# in a script, and a read outside of it could be delayed until another consumer owns the partition.
READ_FENCED: Final = Script("""
if redis.call('GET', KEYS[2]) ~= ARGV[3] then return 0 end
local found = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[4], 'STREAMS', KEYS[1], '>')
if found then return found[1][2] end
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local info = {}
  for i = 1, #group, 2 do info[group[i]] = group[i + 1] end
  if info['name'] == ARGV[1] then return info['last-delivered-id'] end
end
return 0
""")

# KEYS: the stream, and the owner. ARGV: the group, the consumer, the token, the limit, and the milliseconds after which
# an event is due. With a token, all pending events are due.
REDELIVERED: Final = Script("""
local pending
local idle = ARGV[5]
if ARGV[3] ~= '' then
  if redis.call('GET', KEYS[2]) ~= ARGV[3] then return {} end
  idle = '0'
  pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', ARGV[4])
else
  pending = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', idle, '-', '+', ARGV[4])
end
local results = {}
for _, each in ipairs(pending) do
  local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], idle, each[1])
  -- Without fields if the event was removed. Then it is not pending any more.
  results[#results + 1] = {each[1], each[4] + 1, claimed[1] and claimed[1][2]}
end
return results
""")

# KEYS: the stream, and the owner. ARGV: the group, the token, and the positions.
ACK: Final = Script("""
if ARGV[2] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
local acknowledged = 0
for i = 3, #ARGV do acknowledged = acknowledged + redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) end
return acknowledged
""")

# KEYS: the stream, the owner, and the fence. ARGV: the group, the consumer, the token, the milliseconds of a lease or
# an empty string, and the positions. Returns the token. Positions that another consumer has claimed stay there.
RENEW: Final = Script("""
local token = ARGV[3]
if ARGV[4] ~= '' then
  local owner = redis.call('GET', KEYS[2])
  if not owner then
    token = ARGV[2] .. ':' .. redis.call('INCR', KEYS[3])
    redis.call('SET', KEYS[2], token, 'NX', 'PX', ARGV[4])
  elseif owner == token then
    redis.call('PEXPIRE', KEYS[2], ARGV[4])
  else
    return ''
  end
end
for i = 5, #ARGV do
  if redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', 0, 'JUSTID')
  end
end
return token
""")

# KEYS: the stream, and the owner. ARGV: the group, the consumer, the token, and for each event the position, the
# milliseconds of idle time, and the number of attempts. An event is due when its idle time is long enough.
LATER: Final = Script("""
if ARGV[3] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[3] then return 0 end
for i = 4, #ARGV, 3 do
  -- XCLAIM forgets an event that was removed from the stream. Left as it is, it is found, and counted, when it is due.
  local is_pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1]
  if is_pending and redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i],
      'IDLE', ARGV[i + 1], 'RETRYCOUNT', ARGV[i + 2], 'JUSTID')
  end
end
return 1
""")

# KEYS: the stream, the owner, and the dead letters. ARGV: the group, the consumer, the token, the position, the data,
# the reason, and the attempts.
BURY: Final = Script("""
if ARGV[3] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[3] then return 0 end
if not redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[4], ARGV[4], 1, ARGV[2])[1] then return 0 end
redis.call('XADD', KEYS[3], '*', 'e', ARGV[5], 'reason', ARGV[6], 'attempts', ARGV[7])
return redis.call('XACK', KEYS[1], ARGV[1], ARGV[4])
""")

# KEYS: the stream, and the dead letters. ARGV: the group, and the position.
REQUEUE: Final = Script("""
local found = redis.call('XRANGE', KEYS[2], ARGV[2], ARGV[2])[1]
if not found then return 0 end
local data
for i = 1, #found[2], 2 do if found[2][i] == 'e' then data = found[2][i + 1] end end
redis.call('XADD', KEYS[1], '*', 'e', data, 'g', ARGV[1])
return redis.call('XDEL', KEYS[2], ARGV[2])
""")

# KEYS: the dead letters. ARGV: the position.
DROP: Final = Script("""
return redis.call('XDEL', KEYS[1], ARGV[1])
""")

# KEYS: the stream, and the dead letters. ARGV: the group. Returns lag, pending, the age of the oldest event in
# milliseconds or -1, dead letters, events read, and events removed.
HEALTH: Final = Script("""
local dead = redis.call('XLEN', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 0 then return {0, 0, -1, dead, 0, 0} end
local function as_table(list)
  local found = {}
  for i = 1, #list, 2 do found[list[i]] = list[i + 1] end
  return found
end
local stream = as_table(redis.call('XINFO', 'STREAM', KEYS[1]))
local removed = stream['entries-added'] - stream['length']
for _, each in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = as_table(each)
  if group['name'] == ARGV[1] then
    local oldest
    local unread = redis.call('XRANGE', KEYS[1], '(' .. group['last-delivered-id'], '+', 'COUNT', 1)[1]
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1)[1]
    for _, id in ipairs({unread and unread[1] or '', pending and pending[1] or ''}) do
      local milliseconds = tonumber(string.match(id, '^(%d+)-'))
      if milliseconds and (not oldest or milliseconds < oldest) then oldest = milliseconds end
    end
    local time = redis.call('TIME')
    local age = oldest and math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - oldest) or -1
    local added = stream['entries-added']
    if not unread and group['entries-read'] ~= added then
      -- Redis 7.0 loads an older count of read events from its append-only file. With it, the lag would stay too high,
      -- and events that are removed later would count as missed.
      redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], group['last-delivered-id'], 'ENTRIESREAD', added)
      return {0, group['pending'], age, dead, added, removed}
    end
    -- Both are unknown after a read that has passed removed events.
    local read = group['entries-read'] or removed
    local lag = group['lag'] or stream['length']
    return {lag, group['pending'], age, dead, read, removed}
  end
end
return {0, 0, -1, dead, removed, removed}
""")
