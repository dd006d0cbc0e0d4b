import { written } from './ledger-prelude.ts';

/**
 * ARGV: nine fields of a permit, and its uses, doubt and user as they were read (empty: it was not there). Returns 1; 0: it is
 * not what was read any more, and nothing was done.
 */
export const PUT_PERMIT = written(`
local app, kind, value, user, template, collect, expire, uses, doubtful, seen = unpack(ARGV)
local name = permitKey(app, kind, value)
local there = hash(name)
if (there and there.uses .. ':' .. there.doubtful .. ':' .. there.user or '') ~= seen then return 0 end
local permit = { name = name, app = app, kind = kind, value = value, user = user, template = template, collect = collect,
  expire = expire, uses = uses, reserved = there and there.reserved or '0', doubtful = doubtful }
if there then tally(there, -1) end
tally(permit, 1)
redis.call('HSET', name, 'app', app, 'kind', kind, 'value', value, 'user', user, 'template', template, 'collect', collect,
  'expire', expire, 'uses', uses, 'reserved', permit.reserved, 'doubtful', doubtful)
index(permit)
return 1
`);

/** ARGV: ten fields of each send. One of known fate takes the place of itself when it was not. Returns how many were new or changed. */
export const RESTORE_SENDS = written(`
local changed = 0
local function hold(permit, by)
  local found = permit ~= '' and hash(permit)
  if not found then return end
  tally(found, -1)
  found.reserved = tostring(redis.call('HINCRBY', permit, 'reserved', by))
  tally(found, 1)
end
for i = 1, #ARGV, 10 do
  local id, app, key, expire, digest, start, day, kind, value, outcome = unpack(ARGV, i, i + 9)
  local name, keyName = P .. 'send:' .. id, P .. 'key:' .. app .. ':' .. key
  local there = hash(name)
  local isNew = not there and redis.call('EXISTS', keyName) == 0
  if isNew or (there and unfinished(id) and outcome ~= UNKNOWN) then
    changed = changed + 1
    if there then
      hold(there.permit, -1)
      redis.call('SREM', P .. 'open:' .. there.owner, name)
    end
    local permit = kind ~= '' and permitKey(app, kind, value) or ''
    if permit ~= '' and redis.call('EXISTS', permit) == 0 then permit = '' end
    hold(permit, 1)
    redis.call('HSET', name, 'id', id, 'app', app, 'digest', digest, 'start', start, 'day', day, 'owner', '',
      'permit', permit, 'outcome', outcome, 'key', keyName, 'key_expire', expire)
    redis.call('SET', keyName, name)
    redis.call('ZADD', P .. 'keys', expire, name)
  end
end
return changed
`);

/** ARGV: field and number of each count. The greater stays. Returns as above. */
export const RESTORE_QUOTAS = written(`
local changed = 0
for i = 1, #ARGV, 2 do
  if tonumber(redis.call('HGET', P .. 'quota', ARGV[i]) or '-1') < tonumber(ARGV[i + 1]) then
    changed = changed + 1
    redis.call('HSET', P .. 'quota', ARGV[i], ARGV[i + 1])
  end
end
return changed
`);
