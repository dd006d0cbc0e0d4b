import type { Delivered } from './inbox.ts';
import type { SimulatedWeChat } from './wechat.ts';

/** Messages that arrived, newest first, and how many there were in all. */
export interface Received {
  readonly count: number;
  readonly messages: readonly (Delivered & { readonly appId: string })[];
}

/** What users received, of one app or of all, and one user or all: of each app out of its last 1000 messages. */
export function received(
  wechat: SimulatedWeChat,
  { appId, toUser }: { appId?: string | undefined; toUser?: string | undefined },
): Received {
  const inboxes = (appId === undefined ? wechat.appIds : [appId]).map((id) => ({
    id,
    inbox: wechat.messages(id).inbox,
  }));
  return {
    count: inboxes.reduce((sum, { inbox }) => sum + inbox.count(toUser), 0),
    messages: inboxes
      .flatMap(({ id, inbox }) => inbox.messages(toUser).map((message) => ({ appId: id, ...message })))
      // Ids rise from message to message, and have the same number of digits.
      .sort((a, b) => (a.messageId < b.messageId ? 1 : -1)),
  };
}
