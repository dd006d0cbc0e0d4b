import { FORM_LIFE_MS, MEMORY_MS } from '../../core/messages/permits.ts';
import { MOST_OF_USER, TALLY_SLOT_MS } from '../../core/messages/ports.ts';
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
//   tally:APP           hash: KIND:SLOT to what the permits with uses left add up to that expire in these ten minutes (-1: never),
//                       as "permits, those with a use that no send has reserved, uses that no send has reserved"
//   permits             sorted set: permits that expire, by then
//   quota               hash: DAY:APP to the number of messages
//
// Parts that may hold any character are written with their length before them, so that no two names are the same. Times are
// kept as the texts that they came in, since Lua would round them.

const PRELUDE = `
local P = KEYS[1]
local MEMORY = ${MEMORY_MS}
local FORM_LIFE = ${FORM_LIFE_MS}
local SLOT = ${TALLY_SLOT_MS}
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

-- Adds a permit to what is counted (by 1), or takes it out (by -1): to be called around each change of its uses, its
-- reservations or its expiry.
local function tally(permit, by)
  if tonumber(permit.uses) <= 0 then return end
  local slot = permit.expire == '' and '-1' or string.format('%.0f', math.floor(tonumber(permit.expire) / SLOT))
  local key, field = P .. 'tally:' .. permit.app, permit.kind .. ':' .. slot
  local held, permits, messages = string.match(redis.call('HGET', key, field) or '0,0,0', '^(%d+),(%d+),(%d+)$')
  local left = math.max(free(permit), 0)
  held = tonumber(held) + by
  if held <= 0 then
    redis.call('HDEL', key, field)
    return
  end
  permits = math.max(tonumber(permits) + (left > 0 and by or 0), 0)
  messages = math.max(tonumber(messages) + by * left, 0)
  redis.call('HSET', key, field, string.format('%.0f,%.0f,%.0f', held, permits, messages))
end

local function reserve(permit)
  tally(permit, -1)
  permit.reserved = tostring(redis.call('HINCRBY', permit.name, 'reserved', 1))
  tally(permit, 1)
end

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
  tally(permit, -1)
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
  -- The time of collection passes over forms and payments that have expired, however many they are.
  local oldest = wish == 'form' and string.format('(%.17g', now - FORM_LIFE) or '-inf'
  local from = 0
  while true do
    local keys = redis.call('ZRANGE', drawable, oldest, '+inf', 'BYSCORE', 'LIMIT', from, 50)
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
  tally(permit, -1)
  permit.reserved = tostring(math.max(tonumber(permit.reserved) - 1, 0))
  redis.call('HSET', permit.name, 'reserved', permit.reserved)
  if how == 'spent' and tonumber(permit.uses) > 1 then
    permit.uses = tostring(redis.call('HINCRBY', permit.name, 'uses', -1))
    tally(permit, 1)
    return
  end
  tally(permit, 1)
  if how == 'doubted' then
    redis.call('HSET', permit.name, 'doubtful', '1')
  elseif how == 'spent' then
    use_up(permit, now)
  elseif how == 'void' then
    if tonumber(permit.uses) > 0 then use_up(permit, now) end
    if permit.kind == 'consent' then
      local others = redis.call('ZRANGE', drawKey(permit), '-inf', send.start, 'BYSCORE', 'LIMIT', 0, ${MOST_OF_USER.voided})
      for _, key in ipairs(others) do
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

local function keyOf(app, key) return P .. 'key:' .. app .. ':' .. key end

-- The send that has a key, though its time may be over.
local function keyed(keyName)
  local name = redis.call('GET', keyName)
  return name and hash(name)
end

local function kept(send, now) return tonumber(send.key_expire) > now end

-- The answer to a message whose key is known.
local function repeated(send, digest)
  if send.digest ~= digest then return { 'key_reused' } end
  if send.outcome ~= '' and send.outcome ~= UNKNOWN then return { 'settled', send.outcome } end
  local open = send.outcome == '' and send.owner or ''
  return { 'unsettled', send.id, open, send.start, drawn(send.permit ~= '' and hash(send.permit) or nil) }
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
