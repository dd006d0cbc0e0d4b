import type { AppSettings } from './app.ts';
import { setBounded } from './bounded.ts';
import { Inbox } from './inbox.ts';
import { fits } from './keyword.ts';
import { channelOf, type Letter, type MessageCall, type MessageKind } from './message-call.ts';
import { Permits } from './permits.ts';
import { Quota } from './quota.ts';

/** What WeChat does with a message. */
export type Taken =
  /** `delivered`: to its user. Otherwise it was delivered before, under this id. */
  | { readonly errcode: 0; readonly messageId: string; readonly delivered: boolean }
  /** `errmsg`: in place of the usual words. */
  | { readonly errcode: number; readonly errmsg?: string };

/** How long a client_msg_id is sent to a user once. */
const onceMs = 10 * 60_000;

/** The messages of one app: the rights to send them, the rules, and what arrived. */
export class Messages {
  readonly permits = new Permits();
  readonly inbox = new Inbox();
  readonly #quotas: Readonly<Record<MessageKind, Quota>> = {
    message_mini_program: new Quota(),
    message_subscribe: new Quota(),
    message_official_account: new Quota(),
    message_subscription_notice: new Quota(),
  };
  /** What was sent under a client_msg_id in the last 10 minutes, oldest first. */
  readonly #once = new Map<string, { readonly time: number; readonly messageId: string }>();

  /** What is counted of one kind of call. */
  quota(kind: MessageKind): Quota {
    return this.#quotas[kind];
  }

  /** What is counted of all kinds. */
  get quotas(): readonly Quota[] {
    return Object.values(this.#quotas);
  }

  /** Handles one call, whose token is good. A refused one costs neither quota nor permit. */
  take({ kind, letter }: MessageCall, app: AppSettings, now: number, newId: () => string): Taken {
    const wrong = wrongCall(kind, app) ?? wrongLetter(kind, letter, app);
    if (wrong) return wrong;

    const name = kind === 'message_official_account' && letter.clientMsgId !== '' ? onceName(letter) : undefined;
    const before = name === undefined ? undefined : this.#sentOnce(name, now);
    if (before !== undefined) return { errcode: 0, messageId: before, delivered: false };

    const { perDay, perMinute } = app.messageQuotas;
    const spent = this.#quotas[kind].full(now, perDay, perMinute) || this.#usePermit(kind, letter, app, now);
    if (spent) return { errcode: spent };
    this.#quotas[kind].take(now, perDay, perMinute);

    const messageId = newId();
    if (name !== undefined) setBounded(this.#once, name, { time: now, messageId });
    this.inbox.add({ ...letter, time: now, messageId, channel: channelOf(kind) });
    return { errcode: 0, messageId, delivered: true };
  }

  #usePermit(kind: MessageKind, { toUser, templateId, formId }: Letter, app: AppSettings, now: number): number {
    switch (kind) {
      case 'message_mini_program':
        return this.permits.useForm(formId, toUser, now);
      case 'message_subscribe':
      case 'message_subscription_notice':
        return app.unlimitedConsent ? 0 : this.permits.useConsent(toUser, templateId);
      case 'message_official_account':
        return 0;
    }
  }

  #sentOnce(name: string, now: number): string | undefined {
    for (const [old, { time }] of this.#once) {
      if (now - time < onceMs) break;
      this.#once.delete(old);
    }
    return this.#once.get(name)?.messageId;
  }
}

function onceName({ toUser, clientMsgId }: Letter): string {
  return JSON.stringify([toUser, clientMsgId]);
}

function wrongCall(kind: MessageKind, { accountKind, retired }: AppSettings): Taken | undefined {
  const ofOfficial = kind === 'message_official_account' || kind === 'message_subscription_notice';
  const wants = ofOfficial ? 'official_account' : 'mini_program';
  if (accountKind !== 'any' && accountKind !== wants) return { errcode: 48001 };
  if (kind === 'message_mini_program' && retired) return { errcode: 45103 };
  return undefined;
}

function wrongLetter(kind: MessageKind, letter: Letter, { users, templates, pages }: AppSettings): Taken | undefined {
  const { toUser, templateId, data } = letter;
  if (toUser === '' || (users && !users.includes(toUser))) return { errcode: 40003 };
  if (templateId === '' || (templates && !templates.includes(templateId))) return { errcode: 40037 };
  const wrongPage = wrongTarget(kind, letter, pages);
  if (wrongPage) return wrongPage;
  if (Object.keys(data).length === 0) return { errcode: 47003, errmsg: 'argument invalid! data is empty' };
  for (const [name, { value }] of Object.entries(data)) {
    const isWrong = value === '' || (TYPED.has(kind) && !fits(name, value));
    if (isWrong) return { errcode: 47003, errmsg: `argument invalid! data.${name}.value invalid` };
  }
  return undefined;
}

/** The calls whose keywords have kinds. */
const TYPED: ReadonlySet<MessageKind> = new Set(['message_subscribe', 'message_subscription_notice']);

/** What a message opens: a page of a mini program (41030), or of a subscription notice the web (40165). */
function wrongTarget(kind: MessageKind, letter: Letter, pages: AppSettings['pages']): Taken | undefined {
  switch (kind) {
    case 'message_mini_program':
    case 'message_subscribe':
      return letter.page === '' || isPage(letter.page, pages) ? undefined : { errcode: 41030 };
    case 'message_subscription_notice':
      if (letter.miniProgramAppId !== '')
        return letter.miniProgramPage === '' || isPage(letter.miniProgramPage, pages) ? undefined : { errcode: 41030 };
      return letter.page === '' || isWebPage(letter.page) ? undefined : { errcode: 40165 };
    case 'message_official_account':
      return undefined;
  }
}

function isWebPage(page: string): boolean {
  return /^https?:\/\//i.test(page) && URL.canParse(page);
}

function isPage(page: string, pages: AppSettings['pages']): boolean {
  return pages ? pages.includes(page.split('?')[0] ?? '') : !page.startsWith('/');
}
