import { written } from './ledger-prelude.ts';

export const BEGIN = written(`
local id, owner, app, key, digest, nowText, keyExpire, day, limit, wish, value, template =
  ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local now = tonumber(nowText)
if redis.call('EXISTS', P .. 'send:' .. id) == 1 then return { 'id_reused' } end
local keyName = key == '' and '' or keyOf(app, key)
local known = key ~= '' and keyed(keyName)
if known and kept(known, now) then return repeated(known, digest) end
if known then forget(known, now) end
local quota = day .. ':' .. app
if tonumber(redis.call('HGET', P .. 'quota', quota) or '0') >= tonumber(limit) then return { 'over_quota' } end
local permit = find(app, wish, value, template, now)
if permit == 'taken' or (not permit and wish == 'form') then return { 'no_permit' } end
if permit then
  reserve(permit)
elseif wish == 'named' then
  -- Should it be deposited later it is doubtful; until then it has no user, and no uses.
  local name = permitKey(app, 'form_id', value)
  if redis.call('EXISTS', name) == 0 then
    local expire = tostring(now + MEMORY)
    redis.call('HSET', name, 'app', app, 'kind', 'form_id', 'value', value, 'user', '', 'template', '', 'collect', nowText,
      'expire', expire, 'uses', '0', 'reserved', '0', 'doubtful', '1')
    redis.call('ZADD', P .. 'permits', expire, name)
  end
end
redis.call('HINCRBY', P .. 'quota', quota, 1)
local name = P .. 'send:' .. id
redis.call('HSET', name, 'id', id, 'app', app, 'digest', digest, 'start', nowText, 'day', day, 'owner', owner,
  'permit', permit and permit.name or '', 'outcome', '', 'key', keyName, 'key_expire', keyExpire)
redis.call('SADD', P .. 'open:' .. owner, name)
if key ~= '' then
  redis.call('SET', keyName, name)
  redis.call('ZADD', P .. 'keys', keyExpire, name)
end
return { 'begun', drawn(permit) }
`);

/** ARGV: the app, the key, the message's digest, and now. Returns what is known, as BEGIN does; nothing: none is. */
export const LOOKUP = written(`
local app, key, digest, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local known = keyed(keyOf(app, key))
if known and kept(known, now) then return repeated(known, digest) end
return {}
`);

export const REDRAW = written(`
local id, wish, value, template, now = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local send = unfinished(id)
if not send then return { '', '', '' } end
release(send, 'void', now)
local permit = find(send.app, wish, value, template, now)
if permit == 'taken' then permit = nil end
if permit then reserve(permit) end
redis.call('HSET', send.name, 'permit', permit and permit.name or '')
return { drawn(permit) }
`);

/** ARGV: the send, its outcome (empty: freed), 1 where its permit is held while the key is kept, how it is released otherwise, and now. */
export const SETTLE = written(`
local id, outcome, hold, how, now = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local send = unfinished(id)
if not send then return 0 end
local kept = send.key ~= '' and outcome ~= ''
local held = kept and hold == '1'
if not held then release(send, how, now) end
redis.call('SREM', P .. 'open:' .. send.owner, send.name)
if kept then
  redis.call('HSET', send.name, 'outcome', outcome, 'permit', held and send.permit or '')
else
  redis.call('DEL', send.name)
  if send.key ~= '' then
    redis.call('DEL', send.key)
    redis.call('ZREM', P .. 'keys', send.name)
  end
end
if outcome == '' then
  local quota = send.day .. ':' .. send.app
  if redis.call('HINCRBY', P .. 'quota', quota, -1) < 0 then redis.call('HSET', P .. 'quota', quota, '0') end
end
return 1
`);

/**
 * ARGV: the app, how many permits with uses left it may have, and seven fields of each permit. Returns how many were added; -1:
 * the app would have too many, and nothing was done.
 */
export const DEPOSIT = written(`
local app, most = ARGV[1], tonumber(ARGV[2])
local taken, seen = {}, {}
for i = 3, #ARGV, 7 do
  local name = permitKey(app, ARGV[i], ARGV[i + 1])
  local there = redis.call('HGET', name, 'user')
  if not seen[name] and (not there or there == '') then
    seen[name] = true
    taken[#taken + 1] = i
  end
end
if #taken > 0 and redis.call('ZCARD', P .. 'left:' .. app) + #taken > most then return -1 end
for _, i in ipairs(taken) do
  local kind, value, user, template, collect, expire, uses =
    ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]
  local name = permitKey(app, kind, value)
  local permit = hash(name) or
    { name = name, app = app, kind = kind, value = value, template = template, reserved = '0', doubtful = '0' }
  permit.user, permit.collect, permit.expire, permit.uses = user, collect, expire, uses
  redis.call('HSET', name, 'app', app, 'kind', kind, 'value', value, 'user', user, 'template', permit.template,
    'collect', collect, 'expire', expire, 'uses', uses, 'reserved', permit.reserved, 'doubtful', permit.doubtful)
  index(permit)
  tally(permit, 1)
end
return #taken
`);

/** ARGV: app:user, now, and the range. Returns kind, expiry and messages of each, and how many were looked at. */
export const COUNT = written(`
local keys = redis.call('ZRANGE', P .. 'left:' .. ARGV[1], '(' .. ARGV[2], '+inf', 'BYSCORE', 'LIMIT', ARGV[3], ARGV[4])
local found = {}
for _, key in ipairs(keys) do
  local permit = hash(key)
  if permit and free(permit) > 0 then
    found[#found + 1] = permit.kind
    found[#found + 1] = permit.expire
    found[#found + 1] = tostring(free(permit))
  end
end
return { tostring(#keys), found }
`);

export const RECOVER = written(`
local owner, now, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local names = redis.call('SRANDMEMBER', P .. 'open:' .. owner, limit)
for _, name in ipairs(names) do
  redis.call('SREM', P .. 'open:' .. owner, name)
  local send = hash(name)
  if send and send.key == '' then forget(send, now)
  elseif send then redis.call('HSET', name, 'outcome', UNKNOWN) end
end
return #names
`);

export const PURGE_KEYS = written(`
local names = redis.call('ZRANGE', P .. 'keys', '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, name in ipairs(names) do
  local send = hash(name)
  if send then forget(send, tonumber(ARGV[1])) else redis.call('ZREM', P .. 'keys', name) end
end
return #names
`);

/** ARGV: now, how many to skip (reserved ones wait for their sends), and how many to look at. Returns looked at and forgotten. */
export const PURGE_PERMITS = written(`
local names = redis.call('ZRANGE', P .. 'permits', '-inf', ARGV[1], 'BYSCORE', 'LIMIT', ARGV[2], ARGV[3])
local forgotten = 0
for _, name in ipairs(names) do
  local permit = hash(name)
  if not permit or permit.reserved == '0' then
    forgotten = forgotten + 1
    if permit then
      tally(permit, -1)
      permit.uses = '0'
      index(permit)
    end
    redis.call('DEL', name)
    redis.call('ZREM', P .. 'permits', name)
  end
end
return { #names, forgotten }
`);
