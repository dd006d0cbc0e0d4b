import { UNKNOWN } from '../outcome.ts';
import { type Script, script } from './connection.ts';

// The ledger's keys, below the prefix P, whose names are what a script gets as KEYS[1]. Scripts make the rest of the names
// from it: Lingpai runs on servers that stand alone, where that is allowed.
//
//   send:ID             hash: one message that is under way, or whose key is kept
//   key:APP:KEY         string: the send that has this idempotency key
//   keys                sorted set: sends with a key, by the time at which it expires
//   open:OWNER          set: sends that this replica has begun and nobody has settled
//   permit:APP:KIND:V   hash: one right to send; a used-up one stays until it expires
//   draw:APP:USER:TMPL  sorted set: permits with uses left, by the time at which they were collected
//   left:APP[:USER]     sorted set: the same, by the time at which they expire
//   permits             sorted set: permits that expire, by then
//   quota               hash: DAY:APP to the number of messages
//
// Parts that may hold any character are written with their length before them, so that no two names are the same. Times are
// kept as the texts that they came in, since Lua would round them.

const PRELUDE = `
local P = KEYS[1]
local MEMORY = 604800000
local UNKNOWN = '${UNKNOWN}'

local function part(text) return #text .. ':' .. text end

local function hash(key)
  local flat = redis.call('HGETALL', key)
  if #flat == 0 then return nil end
  local fields = { name = key }
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

local function permitKey(app, kind, value) return P .. 'permit:' .. app .. ':' .. kind .. ':' .. value end
local function drawKey(permit) return P .. 'draw:' .. permit.app .. ':' .. part(permit.user) .. permit.template end
local function unexpired(permit, now) return permit.expire == '' or tonumber(permit.expire) > now end
local function free(permit) return tonumber(permit.uses) - tonumber(permit.reserved) end

-- Brings the indexes in line with the permit's fields.
local function index(permit)
  local key = permit.name
  local left = permit.expire == '' and '+inf' or permit.expire
  if tonumber(permit.uses) > 0 then
    redis.call('ZADD', drawKey(permit), permit.collect, key)
    redis.call('ZADD', P .. 'left:' .. permit.app, left, key)
    redis.call('ZADD', P .. 'left:' .. permit.app .. ':' .. permit.user, left, key)
  else
    redis.call('ZREM', drawKey(permit), key)
    redis.call('ZREM', P .. 'left:' .. permit.app, key)
    redis.call('ZREM', P .. 'left:' .. permit.app .. ':' .. permit.user, key)
  end
  if permit.expire ~= '' then redis.call('ZADD', P .. 'permits', permit.expire, key) end
end

local function use_up(permit, now)
  permit.uses = '0'
  if permit.expire == '' then permit.expire = tostring(now + MEMORY) end
  redis.call('HSET', permit.name, 'uses', '0', 'expire', permit.expire)
  index(permit)
end

-- The usable permit that fits the wish best; 'taken' when all uses of the named one are reserved.
local function find(app, wish, value, template, now)
  if wish == 'none' then return nil end
  if wish == 'named' then
    local taken = nil
    for _, kind in ipairs({ 'form_id', 'prepay_id' }) do
      local permit = hash(permitKey(app, kind, value))
      if permit and tonumber(permit.uses) > 0 and unexpired(permit, now) then
        if free(permit) > 0 then return permit end
        taken = 'taken'
      end
    end
    return taken
  end
  local drawable = drawKey({ app = app, user = value, template = template })
  local from = 0
  while true do
    local keys = redis.call('ZRANGE', drawable, from, from + 49)
    if #keys == 0 then return nil end
    for _, key in ipairs(keys) do
      local permit = hash(key)
      if permit and free(permit) > 0 and unexpired(permit, now) then return permit end
    end
    from = from + 50
  end
end

local function drawn(permit)
  if not permit then return '', '', '' end
  return permit.kind, permit.value, permit.doubtful
end

-- Ends the reservation of a send that has one.
local function release(send, how, now)
  if send.permit == '' then return end
  local permit = hash(send.permit)
  if not permit then return end
  permit.reserved = tostring(math.max(tonumber(permit.reserved) - 1, 0))
  redis.call('HSET', permit.name, 'reserved', permit.reserved)
  if how == 'doubted' then
    redis.call('HSET', permit.name, 'doubtful', '1')
  elseif how == 'spent' then
    if tonumber(permit.uses) <= 1 then use_up(permit, now)
    else redis.call('HINCRBY', permit.name, 'uses', -1) end
  elseif how == 'void' then
    if tonumber(permit.uses) > 0 then use_up(permit, now) end
    if permit.kind == 'consent' then
      for _, key in ipairs(redis.call('ZRANGE', drawKey(permit), '-inf', send.start, 'BYSCORE')) do
        use_up(hash(key), now)
      end
    end
  end
end

local function forget(send, now)
  release(send, 'doubted', now)
  redis.call('DEL', send.name)
  redis.call('SREM', P .. 'open:' .. send.owner, send.name)
  if send.key ~= '' then
    redis.call('DEL', send.key)
    redis.call('ZREM', P .. 'keys', send.name)
  end
end

-- A send that may still be settled.
local function unfinished(id)
  local send = hash(P .. 'send:' .. id)
  if send and (send.outcome == '' or send.outcome == UNKNOWN) then return send end
  return nil
end
`;

/** A script that works on the ledger: what stands above is at its hand. */
export const written = (text: string): Script => script(PRELUDE + text);

export const BEGIN = written(`
local id, owner, app, key, digest, nowText, keyExpire, day, limit, wish, value, template =
  ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local now = tonumber(nowText)
if redis.call('EXISTS', P .. 'send:' .. id) == 1 then return { 'id_reused' } end
local keyName = key == '' and '' or P .. 'key:' .. app .. ':' .. key
if key ~= '' then
  local name = redis.call('GET', keyName)
  local known = name and hash(name)
  if known and tonumber(known.key_expire) > now then
    if known.digest ~= digest then return { 'key_reused' } end
    if known.outcome ~= '' and known.outcome ~= UNKNOWN then return { 'settled', known.outcome } end
    local open = known.outcome == '' and known.owner or ''
    return { 'unsettled', known.id, open, known.start, drawn(known.permit ~= '' and hash(known.permit) or nil) }
  end
  if known then forget(known, now) end
end
local quota = day .. ':' .. app
if tonumber(redis.call('HGET', P .. 'quota', quota) or '0') >= tonumber(limit) then return { 'over_quota' } end
local permit = find(app, wish, value, template, now)
if permit == 'taken' or (not permit and wish == 'form') then return { 'no_permit' } end
if permit then
  redis.call('HINCRBY', permit.name, 'reserved', 1)
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

export const REDRAW = written(`
local id, wish, value, template, now = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local send = unfinished(id)
if not send then return { '', '', '' } end
release(send, 'void', now)
local permit = find(send.app, wish, value, template, now)
if permit == 'taken' then permit = nil end
if permit then redis.call('HINCRBY', permit.name, 'reserved', 1) end
redis.call('HSET', send.name, 'permit', permit and permit.name or '')
return { drawn(permit) }
`);

/** ARGV: the send, its outcome (empty: freed), what becomes of the permit, and now. */
export const SETTLE = written(`
local id, outcome, permit, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local send = unfinished(id)
if not send then return 0 end
local kept = send.key ~= '' and outcome ~= ''
local held = kept and permit == 'held'
local how = 'returned'
if permit == 'spent' or permit == 'void' then how = permit elseif outcome == UNKNOWN then how = 'doubted' end
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

/** ARGV: the app, and seven fields of each permit. Returns how many were new. */
export const DEPOSIT = written(`
local app, new = ARGV[1], 0
for i = 2, #ARGV, 7 do
  local kind, value, user, template, collect, expire, uses =
    ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]
  local name = permitKey(app, kind, value)
  local permit = hash(name)
  if not permit or permit.user == '' then
    new = new + 1
    if not permit then
      permit = { name = name, app = app, kind = kind, value = value, template = template, reserved = '0', doubtful = '0' }
    end
    permit.user, permit.collect, permit.expire, permit.uses = user, collect, expire, uses
    redis.call('HSET', name, 'app', app, 'kind', kind, 'value', value, 'user', user, 'template', permit.template,
      'collect', collect, 'expire', expire, 'uses', uses, 'reserved', permit.reserved, 'doubtful', permit.doubtful)
    index(permit)
  end
end
return new
`);

/** ARGV: the rest of the index's name, now, and the range. Returns kind, expiry and messages of each, and how many were looked at. */
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
      permit.uses = '0'
      index(permit)
    end
    redis.call('DEL', name)
    redis.call('ZREM', P .. 'permits', name)
  end
end
return { #names, forgotten }
`);
