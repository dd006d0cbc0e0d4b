/** The content of one keyword. `color` is `#RRGGBB` or empty. */
export interface TemplateValue {
  readonly value: string;
  readonly color: string;
}

/** How a message reaches its user, with what is the channel's own. Empty strings: not given. */
export type Channel =
  | { readonly kind: 'mini_program'; readonly formId: string; readonly emphasisKeyword: string }
  | { readonly kind: 'subscribe'; readonly miniProgramState: string; readonly lang: string }
  | {
      readonly kind: 'official_account';
      readonly url: string;
      readonly miniProgramAppId: string;
      readonly miniProgramPage: string;
    }
  | { readonly kind: 'subscription_notice'; readonly miniProgramAppId: string; readonly miniProgramPage: string };

/** One message to one user. It was checked where it came in. */
export interface Message {
  /** The name of whoever sends it; absent: nobody asks who callers are, and all are one. */
  readonly caller?: string | undefined;
  readonly appId: string;
  /** The openid: personal data, never logged. */
  readonly toUser: string;
  readonly templateId: string;
  readonly page: string;
  readonly data: Readonly<Record<string, TemplateValue>>;
  /** Empty: none. */
  readonly idempotencyKey: string;
  readonly channel: Channel;
}

/**
 * The idempotency key as the ledger knows it: a caller's keys are its own. Where nobody asks who callers are it is the key itself,
 * as in stores from before callers had names. Empty: none.
 */
export function ledgerKey({ caller, idempotencyKey }: Pick<Message, 'caller' | 'idempotencyKey'>): string {
  return caller === undefined || idempotencyKey === '' ? idempotencyKey : JSON.stringify([caller, idempotencyKey]);
}

/** What a field takes besides its text, in characters. */
const FIELD = 16;

/** How much memory a message takes, in characters, roughly. */
export function sizeOf({ caller = '', toUser, templateId, page, data, idempotencyKey, channel }: Message): number {
  const texts = [caller, toUser, templateId, page, idempotencyKey, ...Object.values(channel)];
  const fields = Object.entries(data).flatMap(([name, { value, color }]) => [name, value, color]);
  return [...texts, ...fields].reduce((size, text) => size + text.length + FIELD, 0);
}

/** WeChat took a message. */
export interface Sent {
  /** Decimal digits; exceeds 2^53. Empty where only the fact of its arrival is known. */
  readonly messageId: string;
  readonly rid: string;
}
