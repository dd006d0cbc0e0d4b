import type { UpstreamError } from '../../src/core/kernel/errors.ts';
import type { Sent } from '../../src/core/messages/message.ts';
import type { Delivery, MessageApi } from '../../src/core/messages/ports.ts';
import { ask, type Line, malformed, parse } from '../../src/sandbox/line.ts';
import { BLANK, kindOf, type Letter, type MessageCall, type MessageKind } from '../../src/sandbox/message-call.ts';

/** What a SandboxMessageApi needs. */
export interface SandboxMessageApiOptions extends Line {
  /** What to make of an errcode of a message call. */
  readonly toError: (errcode: number, errmsg: string, call: MessageKind) => UpstreamError;
}

/** The simulated WeChat's message calls as the core's port, without a network; beside SandboxWeChat. */
export class SandboxMessageApi implements MessageApi {
  readonly #options: SandboxMessageApiOptions;

  constructor(options: SandboxMessageApiOptions) {
    this.#options = options;
  }

  async send(delivery: Delivery, token: string, signal: AbortSignal): Promise<Sent> {
    const call: MessageCall = { kind: kindOf(delivery.message.channel.kind), token, letter: toLetter(delivery) };
    const text = await ask(this.#options, call, signal);
    const { errcode, errmsg = '' } = parse(text.replace(/,\}$/, '}'));
    if (typeof errcode !== 'number') throw malformed('has no errcode');
    if (errcode !== 0) throw this.#options.toError(errcode, String(errmsg), call.kind);
    return { messageId: /"msgid":(\d+)/.exec(text)?.[1] ?? '', rid: '' };
  }
}

function toLetter({ message, formId, clientMsgId }: Delivery): Letter {
  const { toUser, templateId, page, data, channel } = message;
  const letter: Letter = { ...BLANK, toUser, templateId, data };
  switch (channel.kind) {
    case 'mini_program':
      return { ...letter, page, formId, emphasisKeyword: channel.emphasisKeyword };
    case 'subscribe':
      return {
        ...letter,
        page,
        data: colorless(data),
        miniProgramState: channel.miniProgramState,
        lang: channel.lang,
      };
    case 'official_account': {
      const { url, miniProgramAppId, miniProgramPage } = channel;
      return { ...letter, url, miniProgramAppId, miniProgramPage, clientMsgId };
    }
    case 'subscription_notice': {
      const { miniProgramAppId, miniProgramPage } = channel;
      return { ...letter, page, data: colorless(data), miniProgramAppId, miniProgramPage };
    }
  }
}

function colorless(data: Letter['data']): Letter['data'] {
  return Object.fromEntries(Object.entries(data).map(([name, { value }]) => [name, { value, color: '' }]));
}
