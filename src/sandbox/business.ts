import { createHash } from 'node:crypto';
import type { Account } from './account.ts';
import type { BusinessCall } from './calls.ts';
import type { Fresh } from './fresh.ts';
import { MEDIA_TYPES, type MediaLibrary } from './media.ts';
import { ENDPOINTS, PATH_LENGTH } from './paths.ts';
import { type Limits, Quota } from './quota.ts';
import type { Rids } from './rids.ts';
import type { Stubs } from './stubs.ts';
import { TICKET_TYPES } from './tickets.ts';
import { type Told, told } from './told.ts';

/** What the calls of all apps share. */
export interface Common {
  readonly now: number;
  readonly fresh: Fresh;
  readonly stubs: Stubs;
  readonly rids: Rids;
  readonly media: MediaLibrary;
}

const IPS = ['101.226.62.77', '101.226.62.78', '140.207.54.73'];
const OK = { errcode: 0, errmsg: 'ok' };

/** What is told to a call with a good token. A call that is refused costs no quota. */
export function business(call: BusinessCall, account: Account, common: Common): Told {
  const quota = account.calls.of(call.path);
  const { perDay, perMinute } = account.app.callQuotas;
  const spent = quota.full(common.now, perDay, perMinute);
  if (spent) return { errcode: spent };
  const answer = answerTo(call, account, common);
  // What clears the quotas is counted after it has.
  if (answer.errcode === 0) quota.take(common.now, perDay, perMinute);
  return answer;
}

function answerTo(call: BusinessCall, account: Account, { now, fresh, stubs, rids, media }: Common): Told {
  switch (call.kind) {
    case 'probe':
    case 'callback_ip':
      return told({ ip_list: IPS });
    case 'other':
      return { errcode: 0, text: stubs.answer(call.path) };
    case 'ticket':
      return ticket(call.type, account, now, fresh);
    case 'clear_quota':
      return call.cleared === account.app.appId ? clearQuota(account, now) : { errcode: 40013 };
    case 'quota':
      return quotaOf(call.cgiPath, account, now);
    case 'rid':
      return rids.tell(call.rid, account.app.appId, now);
    case 'menu':
      if (account.app.accountKind === 'mini_program') return { errcode: 48001 };
      return account.app.menu ? told({ menu: { button: account.app.menu } }) : { errcode: 46003 };
    case 'media_upload': {
      if (!MEDIA_TYPES.has(call.type)) return { errcode: 40004 };
      if (!call.file || call.file.length === 0) return { errcode: 41005 };
      const id = fresh.mediaId();
      media.add(account.app.appId, id, call.type, call.file, now);
      return told({ type: call.type, media_id: id, created_at: Math.floor(now / 1000) });
    }
    case 'media_get': {
      const file = media.get(account.app.appId, call.mediaId, now);
      return file ? { errcode: 0, text: '', media: file } : { errcode: 40007 };
    }
  }
}

function ticket(given: string, { app, tickets }: Account, now: number, fresh: Fresh): Told {
  if (app.accountKind === 'mini_program') return { errcode: 48001 };
  const type = TICKET_TYPES.find((each) => each === given);
  if (!type) return { errcode: 40097 };
  const value = fresh.ticket();
  const id = createHash('sha256').update(value).digest('hex').slice(0, 12);
  tickets.add({ type, value, id, issuedAt: now, endsAt: now + app.ticketLifetimeMs });
  return told({ ...OK, ticket: value, expires_in: Math.floor(app.ticketLifetimeMs / 1000) });
}

/** Clears the day's counts of all calls, at once. An account may do so 10 times a month. */
export function clearQuota(account: Account, now: number): Told {
  if (!account.clears.take(now)) return { errcode: 48006 };
  for (const quota of [...Object.values(account.quotas), ...account.messages.quotas, ...account.calls.all])
    quota.clear();
  return told(OK);
}

function quotaOf(path: string, account: Account, now: number): Told {
  if (!path.startsWith('/')) return { errcode: 76003 };
  if (path.startsWith('/sns/')) return { errcode: 76022 };
  if (path.length > PATH_LENGTH || /[?#\s]/.test(path)) return { errcode: 76021 };
  const { quota, perDay, perMinute } = counted(path, account);
  const used = quota.used(now);
  return told({
    ...OK,
    quota: { daily_limit: perDay, used, remain: Math.max(0, perDay - used) },
    rate_limit: { call_count: perMinute, refresh_second: 60 },
  });
}

function counted(path: string, { app, quotas, messages, calls }: Account): Limits {
  const kind = ENDPOINTS.get(path)?.kind;
  switch (kind) {
    case 'classic':
      return { quota: quotas.classic, perDay: app.quotas.classicPerDay, perMinute: app.quotas.classicPerMinute };
    case 'stable':
      return { quota: quotas.stable, perDay: app.quotas.stablePerDay, perMinute: app.quotas.stablePerMinute };
    case 'message_mini_program':
    case 'message_subscribe':
    case 'message_official_account':
    case 'message_subscription_notice':
      return { quota: messages.quota(kind), ...app.messageQuotas };
    default:
      return { quota: calls.known(path) ?? new Quota(), ...app.callQuotas };
  }
}
