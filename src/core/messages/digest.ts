import type { Channel, Message } from './message.ts';

/**
 * All that makes two messages the same, as one text: equal exactly when app, user, template, page, data and channel are,
 * in whatever order the data came. The idempotency key is no part of it. It holds personal data: to be digested, not kept.
 */
export function canonicalText({ appId, toUser, templateId, page, data, channel }: Message): string {
  const values = Object.entries(data)
    .map(([name, { value, color }]) => [name, value, color] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([appId, toUser, templateId, page, values, fieldsOf(channel)]);
}

function fieldsOf(channel: Channel): readonly string[] {
  switch (channel.kind) {
    case 'mini_program':
      return [channel.kind, channel.formId, channel.emphasisKeyword];
    case 'subscribe':
      return [channel.kind, channel.miniProgramState, channel.lang];
    case 'official_account':
      return [channel.kind, channel.url, channel.miniProgramAppId, channel.miniProgramPage];
    case 'subscription_notice':
      return [channel.kind, channel.miniProgramAppId, channel.miniProgramPage];
  }
}
