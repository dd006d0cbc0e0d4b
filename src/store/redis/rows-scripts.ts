import { written } from './ledger-prelude.ts';

/** ARGV: nine fields of each permit. What is there already and more used stays. Returns how many were new or changed. */
export const RESTORE_PERMITS = written(`
local changed = 0
for i = 1, #ARGV, 9 do
  local app, kind, value, user, template, collect, expire, uses, doubtful = unpack(ARGV, i, i + 8)
  local name = permitKey(app, kind, value)
  local permit = hash(name)
  local isNew = not permit
  if isNew then permit = { name = name, uses = '', user = '', reserved = '0', doubtful = '0' } end
  local isMoreUsed = isNew or (user ~= '' and (permit.user == '' or tonumber(uses) < tonumber(permit.uses)))
  if not isNew then tally(permit, -1) end
  local isDoubted = doubtful == '1' and permit.doubtful ~= '1'
  if isMoreUsed then
    permit.app, permit.kind, permit.value, permit.user, permit.template = app, kind, value, user, template
    permit.collect, permit.expire, permit.uses = collect, expire, uses
  end
  if isDoubted then permit.doubtful = '1' end
  tally(permit, 1)
  if isMoreUsed or isDoubted then
    changed = changed + 1
    redis.call('HSET', name, 'app', permit.app, 'kind', permit.kind, 'value', permit.value, 'user', permit.user,
      'template', permit.template, 'collect', permit.collect, 'expire', permit.expire, 'uses', permit.uses,
      'reserved', permit.reserved, 'doubtful', permit.doubtful)
    index(permit)
  end
end
return changed
`);

/** ARGV: ten fields of each send. One of known fate takes the place of itself when it was not. Returns as above. */
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
