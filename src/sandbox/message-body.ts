import { z } from 'zod';
import { integer, oneOf, seconds } from './fields.ts';
import type { Letter } from './message-call.ts';
import type { Received } from './received.ts';

const name = (what: string) =>
  z
    .string({ error: `write ${what}` })
    .min(1, { error: `write ${what}` })
    .max(128, { error: `write ${what}, at most 128 characters` });

const toUser = name('the openid of the user');

/** The body of `POST /sandbox/apps/{app_id}/forms`. */
export const formSchema = z.strictObject({
  to_user: toUser,
  form_id: name('the form_id or prepay_id'),
  kind: oneOf(['form_id', 'prepay_id']).default('form_id'),
  age_s: seconds(0, 86_400 * 30).default(0),
});

/** The body of `POST /sandbox/apps/{app_id}/consents`. */
export const consentsSchema = z.strictObject({
  to_user: toUser,
  template_id: name('the template that the user agrees to'),
  count: integer(1, 1_000_000).default(1),
});

/** The query of `GET /sandbox/inbox`, of its DELETE, and of the page. */
export const inboxSchema = z.strictObject({ app_id: z.string().optional(), to_user: z.string().optional() });

/** A message as the inbox shows it; what was not given is left out. */
export function fromDelivered(message: Received['messages'][number]): object {
  return {
    time: new Date(message.time).toISOString(),
    message_id: message.messageId,
    app_id: message.appId,
    channel: message.channel,
    to_user: message.toUser,
    template_id: message.templateId,
    data: message.data,
    ...extras(message),
  };
}

/** What a message may have and need not, as far as it was given. */
export function extras(letter: Letter): Readonly<Record<string, string>> {
  const fields = {
    page: letter.page,
    form_id: letter.formId,
    emphasis_keyword: letter.emphasisKeyword,
    mini_program_state: letter.miniProgramState,
    lang: letter.lang,
    url: letter.url,
    mini_program_app_id: letter.miniProgramAppId,
    mini_program_page: letter.miniProgramPage,
    client_msg_id: letter.clientMsgId,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''));
}
