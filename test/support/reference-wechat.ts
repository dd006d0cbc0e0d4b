import { newPermit } from '../../src/core/messages/permits.ts';
import type { Delivery } from '../../src/core/messages/ports.ts';
import { MINUTE } from './world.ts';

/** A message that reached its user. */
export interface Accepted {
  readonly delivery: Delivery;
  readonly at: number;
  readonly messageId: string;
}

interface Form {
  readonly toUser: string;
  readonly expireTime: number;
  left: number;
}

/** WeChat's answer: a message id, or an errcode. */
export type Answer = { readonly messageId: string } | { readonly errcode: number };

const CLIENT_MSG_ID_MS = 10 * MINUTE;

/** What WeChat's four message calls promise, and nothing else: the judge of what was sent. */
export class ReferenceWeChat {
  readonly accepted: Accepted[] = [];
  readonly #now: () => number;
  readonly #forms = new Map<string, Form>();
  readonly #consents = new Map<string, number>();
  readonly #seen = new Map<string, Accepted>();
  /** Whether it takes this token. */
  honours: (appId: string, token: string) => boolean = () => true;
  /** What it says of a form that was used and has expired. */
  expiredUsedForm: 41028 | 41029 = 41029;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** A user submits a form or pays, or did so some time ago. */
  giveForm(toUser: string, kind: 'form_id' | 'prepay_id', value: string, collectTime = this.#now()): void {
    const { uses, expireTime } = newPermit({ toUser, kind, value, templateId: '', collectTime });
    this.#forms.set(value, { toUser, expireTime: expireTime ?? Infinity, left: uses });
  }

  /** A user agrees to one message of a template. */
  giveConsent(toUser: string, templateId: string): void {
    this.#consents.set(`${toUser} ${templateId}`, this.consents(toUser, templateId) + 1);
  }

  /** How many messages a form_id or prepay_id is still good for. */
  uses(value: string): number {
    const form = this.#forms.get(value);
    return form && form.expireTime > this.#now() ? form.left : 0;
  }

  /** How many messages of a template a user still agrees to. */
  consents(toUser: string, templateId: string): number {
    return this.#consents.get(`${toUser} ${templateId}`) ?? 0;
  }

  /** One request, as it arrives. */
  receive(delivery: Delivery, token: string): Answer {
    const { message, formId } = delivery;
    const { appId, toUser, templateId, channel } = message;
    if (!this.honours(appId, token)) return { errcode: 40001 };
    switch (channel.kind) {
      case 'mini_program': {
        const form = this.#forms.get(formId);
        if (!form || form.toUser !== toUser) return { errcode: 41028 };
        const expired = form.expireTime <= this.#now();
        if (form.left === 0) return { errcode: expired ? this.expiredUsedForm : 41029 };
        if (expired) return { errcode: 41028 };
        form.left--;
        return this.#accept(delivery);
      }
      case 'subscribe':
      case 'subscription_notice': {
        const left = this.consents(toUser, templateId);
        if (left === 0) return { errcode: 43101 };
        this.#consents.set(`${toUser} ${templateId}`, left - 1);
        return this.#accept(delivery);
      }
      case 'official_account': {
        const name = `${appId} ${toUser} ${delivery.clientMsgId}`;
        const before = this.#seen.get(name);
        if (before && this.#now() - before.at < CLIENT_MSG_ID_MS) return { messageId: before.messageId };
        const answer = this.#accept(delivery);
        this.#seen.set(name, answer);
        return answer;
      }
    }
  }

  #accept(delivery: Delivery): Accepted {
    const messageId = String(9_007_199_254_740_993n + BigInt(this.accepted.length));
    const accepted = { delivery, at: this.#now(), messageId };
    this.accepted.push(accepted);
    return accepted;
  }
}
