import type { Begun, DrawnPermit, NewPermit, NewSend, Outcome, Settlement } from '../../src/core/messages/ports.ts';

export const NOW = Date.UTC(2026, 0, 15, 4, 0, 0);
export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

/** What no error may show. */
export const OPENID = 'oABC-the-openid-itself';
export const KEY = 'order-the-key-itself';

export const SENT: Outcome = {
  kind: 'sent',
  sent: { messageId: '9007199254740993001', rid: '01234567-89abcdef-01234567' },
};
export const REFUSED: Outcome = {
  kind: 'refused',
  reason: 'DATA_INVALID',
  message: 'argument invalid! data.thing1 \u4ee4',
  answer: { errcode: 47003, errmsg: 'argument invalid!', rid: '' },
};
export const UNKNOWN: Outcome = { kind: 'unknown' };

let sends = 0;

/** A send without key, with an id of its own, changed at will. */
export function send(change: Partial<NewSend> = {}): NewSend {
  return {
    sendId: `send-${++sends}`,
    owner: '',
    appId: 'wx1',
    channel: 'mini_program',
    key: '',
    digest: 'digest',
    now: NOW,
    keyExpireTime: NOW + DAY,
    quota: { day: 20_468, limit: 1_000_000 },
    permit: { kind: 'none' },
    ...change,
  };
}

/** A form's permit that was collected an hour ago. */
export function form(value: string, change: Partial<NewPermit> = {}): NewPermit {
  const collectTime = change.collectTime ?? NOW - HOUR;
  return {
    toUser: OPENID,
    kind: 'form_id',
    value,
    templateId: '',
    collectTime,
    expireTime: collectTime + 7 * DAY,
    uses: 1,
    ...change,
  };
}

/** A payment's permit: three messages. */
export function payment(value: string, change: Partial<NewPermit> = {}): NewPermit {
  return form(value, { kind: 'prepay_id', uses: 3, ...change });
}

/** A consent to template `t1`. */
export function consent(value: string, change: Partial<NewPermit> = {}): NewPermit {
  return form(value, { kind: 'consent', templateId: 't1', expireTime: null, ...change });
}

export const FORM = { kind: 'form', toUser: OPENID } as const;
export const CONSENT = { kind: 'consent', toUser: OPENID, templateId: 't1' } as const;

/** How a send ends, by default a little later. */
export function settlement(
  outcome: Settlement['outcome'],
  permit: Settlement['permit'] = outcome.kind === 'sent' ? 'spent' : 'returned',
  now = NOW + 1,
): Settlement {
  return { outcome, permit, now };
}

/** The permit with which a send was begun. Throws when it was not. */
export function permitOf(begun: Begun): DrawnPermit | null {
  if (begun.kind !== 'begun') throw new Error(`expected begun, got ${begun.kind}`);
  return begun.permit;
}
