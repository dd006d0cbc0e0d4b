import { create, type MessageInitShape, toJson } from '@bufbuild/protobuf';
import {
  MessageService,
  type SendTemplateRequest,
  SendTemplateRequestSchema,
  SendTemplateResponseSchema,
} from '../gen/lingpai/v1/message_pb.js';
import { type CallOptions, calling } from './client.ts';
import { Failure } from './exit.ts';
import type { Io } from './io.ts';
import { asLines, jsonLine, print } from './output.ts';

/** The channels as the command line names them. */
export const CHANNELS = ['subscribe', 'official_account', 'subscription_notice', 'mini_program'] as const;

type SendChannel = (typeof CHANNELS)[number];

/** The flags of `lingpai send` for one message. */
export interface SendOptions extends CallOptions {
  readonly timeout: number;
  readonly app?: string;
  readonly to?: string;
  readonly template?: string;
  readonly channel?: SendChannel;
  readonly data?: readonly string[];
  readonly dataJson?: string;
  readonly page?: string;
  readonly key?: string;
  readonly formId?: string;
  readonly emphasis?: string;
  readonly state?: string;
  readonly lang?: string;
  readonly url?: string;
  readonly miniProgramApp?: string;
  readonly miniProgramPage?: string;
}

type Channel = NonNullable<MessageInitShape<typeof SendTemplateRequestSchema>['channel']>;

/** Which channels each flag belongs to. */
const CHANNEL_FLAGS: Partial<Record<keyof SendOptions, readonly [flag: string, owners: readonly SendChannel[]]>> = {
  formId: ['--form-id', ['mini_program']],
  emphasis: ['--emphasis', ['mini_program']],
  state: ['--state', ['subscribe']],
  lang: ['--lang', ['subscribe']],
  url: ['--url', ['official_account']],
  miniProgramApp: ['--mini-program-app', ['official_account', 'subscription_notice']],
  miniProgramPage: ['--mini-program-page', ['official_account', 'subscription_notice']],
};

/** `lingpai send`: one message, and what became of it. */
export async function send(options: SendOptions, io: Io): Promise<void> {
  const request = requestOf(options);
  const answer = await calling(MessageService, options, io, (client) =>
    client.sendTemplate(request, { timeoutMs: options.timeout * 1000 }),
  );
  const { messageId, replayed } = answer;
  const id = messageId === '' ? 'it had arrived before, and its id is not known' : `message id ${messageId}`;
  const text = `sent: ${id}${replayed ? ' (by an earlier call with this key)' : ''}`;
  print(options.json ? jsonLine(toJson(SendTemplateResponseSchema, answer)) : asLines([text]), io);
}

/** The message that the flags describe. Throws a Failure with exit code 2 where they do not describe one. */
export function requestOf(options: SendOptions): SendTemplateRequest {
  return create(SendTemplateRequestSchema, {
    appId: required('--app', options.app),
    toUser: required('--to', options.to),
    templateId: required('--template', options.template),
    page: options.page ?? '',
    data: dataOf([...jsonData(options.dataJson), ...plainData(options.data ?? [])]),
    idempotencyKey: options.key ?? '',
    channel: channelOf(options),
  });
}

function required(flag: string, value: string | undefined): string {
  if (value === undefined)
    throw new Failure(
      `${flag} is missing (or, for a file of messages, --file); "lingpai send --help" shows every flag`,
      2,
    );
  return value;
}

function channelOf(options: SendOptions): Channel {
  const channel = required('--channel', options.channel) as SendChannel;
  for (const [name, [flag, owners]] of Object.entries(CHANNEL_FLAGS)) {
    const isGiven = options[name as keyof SendOptions] !== undefined;
    if (isGiven && !owners.includes(channel))
      throw new Failure(`${flag} belongs to --channel ${owners.join(' and ')}, not ${channel}`, 2);
  }
  switch (channel) {
    case 'mini_program': {
      const { formId = '', emphasis = '' } = options;
      return { case: 'miniProgram', value: { formId, emphasisKeyword: emphasis } };
    }
    case 'subscribe': {
      const { state = '', lang = '' } = options;
      return { case: 'subscribe', value: { miniProgramState: state, lang } };
    }
    case 'official_account': {
      const { url = '', miniProgramApp = '', miniProgramPage = '' } = options;
      return { case: 'officialAccount', value: { url, miniProgramAppId: miniProgramApp, miniProgramPage } };
    }
    case 'subscription_notice': {
      const { miniProgramApp = '', miniProgramPage = '' } = options;
      return { case: 'subscriptionNotice', value: { miniProgramAppId: miniProgramApp, miniProgramPage } };
    }
  }
}

type Keyword = [name: string, content: { value: string; color: string }];

function dataOf(keywords: readonly Keyword[]): Record<string, Keyword[1]> {
  const names = new Set<string>();
  for (const [name] of keywords) {
    if (names.has(name)) throw new Failure(`--data: ${name} is given twice; leave one out`, 2);
    names.add(name);
  }
  return Object.fromEntries(keywords);
}

function plainData(pairs: readonly string[]): Keyword[] {
  return pairs.map((pair) => {
    const at = pair.indexOf('=');
    if (at < 1) throw new Failure('--data: write NAME=VALUE, such as thing1=hello', 2);
    return [pair.slice(0, at), { value: pair.slice(at + 1), color: '' }];
  });
}

function jsonData(text: string | undefined): Keyword[] {
  if (text === undefined) return [];
  const wrong = new Failure(
    '--data-json: write {"NAME": "VALUE"} or {"NAME": {"value": "VALUE", "color": "#RRGGBB"}}',
    2,
  );
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw wrong;
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw wrong;
  return Object.entries(parsed).map(([name, each]: [string, unknown]) => {
    if (typeof each === 'string') return [name, { value: each, color: '' }];
    const { value, color = '', ...more } = (each ?? {}) as Record<string, unknown>;
    if (typeof value !== 'string' || typeof color !== 'string' || Object.keys(more).length > 0) throw wrong;
    return [name, { value, color }];
  });
}
