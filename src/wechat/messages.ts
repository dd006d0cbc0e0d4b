import type { Sent, TemplateValue } from '../core/messages/message.ts';
import type { Delivery } from '../core/messages/ports.ts';
import { messageError } from './errcodes.ts';
import { splitRid } from './errmsg.ts';
import type { Answer } from './exchange.ts';
import { assertOk, readFields } from './fields.ts';
import { malformed } from './malformed.ts';

/** What sends a message: the path to POST to, and the body as WeChat documents it. What is empty is left out. */
export function messageCall({ message, formId, clientMsgId }: Delivery): {
  readonly path: string;
  readonly body: object;
} {
  const { toUser, templateId, page, data, channel } = message;
  const to = { touser: toUser, template_id: templateId };
  switch (channel.kind) {
    case 'mini_program':
      return {
        path: '/cgi-bin/message/wxopen/template/send',
        body: {
          ...to,
          ...given({ page, form_id: formId }),
          data: mapValues(data, colored),
          ...given({ emphasis_keyword: channel.emphasisKeyword && withSuffix(channel.emphasisKeyword) }),
        },
      };
    case 'subscribe':
      return {
        path: '/cgi-bin/message/subscribe/send',
        body: {
          ...to,
          ...given({ page }),
          data: mapValues(data, ({ value }) => ({ value })),
          ...given({ miniprogram_state: channel.miniProgramState, lang: channel.lang }),
        },
      };
    case 'official_account': {
      const { url, miniProgramAppId: appid, miniProgramPage: pagepath } = channel;
      return {
        path: '/cgi-bin/message/template/send',
        body: {
          ...to,
          ...given({ url }),
          ...(appid !== '' && { miniprogram: { appid, ...given({ pagepath }) } }),
          data: mapValues(data, colored),
          ...given({ client_msg_id: clientMsgId }),
        },
      };
    }
    case 'subscription_notice': {
      const { miniProgramAppId: appid, miniProgramPage: pagepath } = channel;
      return {
        path: '/cgi-bin/message/subscribe/bizsend',
        body: {
          ...to,
          ...given({ page }),
          ...(appid !== '' && { miniprogram: { appid, ...given({ pagepath }) } }),
          data: mapValues(data, ({ value }) => ({ value })),
        },
      };
    }
  }
}

/**
 * What WeChat says of a message that it took. Throws the UpstreamError that says why it is not known to have taken it.
 * An answer that says ok is believed also where it has no msgid.
 */
export function readSent(answer: Answer, { message, formId }: Delivery, token: string): Sent {
  const secrets = [token, message.toUser, formId];
  const fields = readFields(answer, secrets, parseLeniently);
  assertOk(answer, fields, secrets, messageError);
  const { errcode, errmsg, msgid } = fields;
  if (errcode === undefined) throw malformed('without an errcode');
  const { rid } = splitRid(typeof errmsg === 'string' ? errmsg : '');
  return { messageId: typeof msgid === 'string' && /^\d{1,40}$/.test(msgid) ? msgid : '', rid };
}

type ParseWithSource = (
  text: string,
  reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
) => unknown;

/** Parses JSON, in which an object at its end may have a trailing comma, as in WeChat's example. A msgid keeps its digits. */
function parseLeniently(text: string): unknown {
  // TypeScript does not know yet that a reviver is told the source text.
  const parse = JSON.parse as ParseWithSource;
  const keepDigits = (key: string, value: unknown, { source }: { readonly source?: string }): unknown =>
    key === 'msgid' && typeof value === 'number' ? source : value;
  try {
    return parse(text, keepDigits);
  } catch {
    return parse(text.replace(/,(\s*\}\s*)$/, '$1'), keepDigits);
  }
}

function given(fields: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''));
}

function mapValues(data: Readonly<Record<string, TemplateValue>>, change: (value: TemplateValue) => object): object {
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, change(value)]));
}

function colored({ value, color }: TemplateValue): object {
  return { value, ...given({ color }) };
}

/** WeChat wants "keyword1.DATA"; callers may write "keyword1". */
function withSuffix(keyword: string): string {
  return keyword.endsWith('.DATA') ? keyword : `${keyword}.DATA`;
}
