import { z } from 'zod';
import type { Channel } from '../core/messages/message.ts';

/** The four message calls, by the channel that each serves. */
export const messageKinds = [
  'message_mini_program',
  'message_subscribe',
  'message_official_account',
  'message_subscription_notice',
] as const;

/** A kind of message call. */
export type MessageKind = (typeof messageKinds)[number];

/** The channel that a message call serves. */
export function channelOf(kind: MessageKind): Channel['kind'] {
  return kind.slice('message_'.length) as Channel['kind'];
}

/** The message call of a channel. */
export function kindOf(channel: Channel['kind']): MessageKind {
  return `message_${channel}`;
}

/** What a message says and to whom. Empty: not given. Fields that another call has than the one it came by mean nothing. */
export interface Letter {
  readonly toUser: string;
  readonly templateId: string;
  readonly page: string;
  readonly data: Readonly<Record<string, { readonly value: string; readonly color: string }>>;
  /** mini_program: a form_id or prepay_id. */
  readonly formId: string;
  readonly emphasisKeyword: string;
  /** subscribe. */
  readonly miniProgramState: string;
  readonly lang: string;
  /** official_account. */
  readonly url: string;
  /** official_account, subscription_notice. */
  readonly miniProgramAppId: string;
  readonly miniProgramPage: string;
  /** official_account. */
  readonly clientMsgId: string;
}

/** Nothing given. */
export const BLANK: Letter = {
  toUser: '',
  templateId: '',
  page: '',
  data: {},
  formId: '',
  emphasisKeyword: '',
  miniProgramState: '',
  lang: '',
  url: '',
  miniProgramAppId: '',
  miniProgramPage: '',
  clientMsgId: '',
};

/** A message as it reached WeChat. */
export interface MessageCall {
  readonly kind: MessageKind;
  readonly token: string;
  readonly letter: Letter;
}

/** WeChat takes null and "" for not given, and libraries send both. */
const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '');

/** WeChat documents the type as "any"; numbers are what callers have. */
const value = z
  .union([z.string(), z.number(), z.boolean()])
  .nullish()
  .transform((value) => String(value ?? ''));

/** An object, of which null, "" and a list (which PHP writes for an empty map) say that it is empty. */
const object = <T extends z.ZodType>(schema: T) =>
  z.preprocess((given) => (given === null || given === '' || Array.isArray(given) ? {} : (given ?? {})), schema);

const bodySchema = z.object({
  touser: text,
  template_id: text,
  page: text,
  data: object(z.record(z.string(), z.object({ value, color: text }))),
  form_id: text,
  emphasis_keyword: text,
  miniprogram_state: text,
  lang: text,
  url: text,
  miniprogram: object(z.object({ appid: text, pagepath: text })),
  client_msg_id: text,
});

/** The message in a body; undefined when it is not of WeChat's form. */
export function toLetter(body: unknown): Letter | undefined {
  const { data: fields } = bodySchema.safeParse(body);
  return (
    fields && {
      toUser: fields.touser,
      templateId: fields.template_id,
      page: fields.page,
      data: fields.data,
      formId: fields.form_id,
      emphasisKeyword: fields.emphasis_keyword,
      miniProgramState: fields.miniprogram_state,
      lang: fields.lang,
      url: fields.url,
      miniProgramAppId: fields.miniprogram.appid,
      miniProgramPage: fields.miniprogram.pagepath,
      clientMsgId: fields.client_msg_id,
    }
  );
}
