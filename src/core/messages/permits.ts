import type { Message } from './message.ts';
import type { DrawnPermit, NewPermit, PermitKind, PermitWish } from './ports.ts';

const DAY_MS = 86_400_000;

/** How long forms and payments are good for after they were collected. */
export const FORM_LIFE_MS = 7 * DAY_MS;

/** How long a used permit without expiry is remembered, so that a second deposit of it is known as one. */
export const MEMORY_MS = FORM_LIFE_MS;

/** How many messages a permit of each kind is good for, and for how long after it was collected (null: for ever). */
export const PERMITS: Readonly<Record<PermitKind, { readonly uses: number; readonly lifeMs: number | null }>> = {
  form_id: { uses: 1, lifeMs: FORM_LIFE_MS },
  prepay_id: { uses: 3, lifeMs: FORM_LIFE_MS },
  consent: { uses: 1, lifeMs: null },
};

/** A permit with the uses and the expiry of its kind. `collectTime` is in wall-clock milliseconds since 1970. */
export function newPermit(permit: Omit<NewPermit, 'expireTime' | 'uses'>): NewPermit {
  const { uses, lifeMs } = PERMITS[permit.kind];
  return { ...permit, uses, expireTime: lifeMs === null ? null : permit.collectTime + lifeMs };
}

/** The permit that a message wants. */
export function wishOf({ channel, toUser, templateId }: Message): PermitWish {
  switch (channel.kind) {
    case 'mini_program':
      return channel.formId === '' ? { kind: 'form', toUser } : { kind: 'named', value: channel.formId };
    case 'subscribe':
    case 'subscription_notice':
      return { kind: 'consent', toUser, templateId };
    case 'official_account':
      return { kind: 'none' };
  }
}

/** The form_id that a message is sent with: its own, or the one that was drawn. */
export function formIdOf({ channel }: Message, permit: DrawnPermit | null): string {
  if (channel.kind !== 'mini_program') return '';
  return channel.formId === '' ? (permit?.value ?? '') : channel.formId;
}
