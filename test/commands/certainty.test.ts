import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { messageClient, refusalOf } from '../../src/commands/client.ts';
import {
  OfficialAccountChannelSchema,
  PermitKind,
  type SendTemplateRequest,
  SendTemplateRequestSchema,
  SubscribeChannelSchema,
  SubscriptionNoticeChannelSchema,
} from '../../src/gen/lingpai/v1/message_pb.js';
import { messageKinds } from '../../src/sandbox/message-call.ts';
import type { Child } from '../support/child.ts';
import type { Place } from '../support/lingpai.ts';
import { until } from '../support/rpc.ts';
import { sendingPlace } from '../support/sending.ts';

/** Every kind of message that the outcome table tells apart; each to a user of its own, who gave what it takes. */
const KINDS = ['official_account', 'subscribe', 'subscription_notice', 'form_id', 'prepay_id', 'named'] as const;
type Kind = (typeof KINDS)[number];

/** What a caller is told of a message. */
type Told = 'sent' | 'sent, id unknown' | 'unknown' | string;

function requestOf(kind: Kind): SendTemplateRequest {
  const form = { case: 'miniProgram', value: { formId: kind === 'named' ? 'form of named' : '' } } as const;
  return create(SendTemplateRequestSchema, {
    appId: 'wxa',
    toUser: kind,
    templateId: 't1',
    data: { thing1: { value: 'x' } },
    idempotencyKey: `key of ${kind}`,
    channel: CHANNELS[kind] ?? form,
  });
}

/** The channel of each kind that has no form. */
const CHANNELS: Partial<Record<Kind, SendTemplateRequest['channel']>> = {
  official_account: { case: 'officialAccount', value: create(OfficialAccountChannelSchema) },
  subscribe: { case: 'subscribe', value: create(SubscribeChannelSchema) },
  subscription_notice: { case: 'subscriptionNotice', value: create(SubscriptionNoticeChannelSchema) },
};

/** One broker after another on one store. */
class Story {
  readonly place: Place;
  #broker: Child | undefined;
  #addr = '';

  constructor(place: Place) {
    this.place = place;
  }

  async start(env: Record<string, string> = {}): Promise<void> {
    const preload = pathToFileURL(join(import.meta.dirname, '../support/die-at.ts')).href;
    const dying = 'DIE_AT' in env ? { ...env, NODE_OPTIONS: `--import=${preload}` } : env;
    this.#broker = this.place.lingpaiWith(dying, 'serve');
    const ready = await this.#broker.next('"ready"', (line) => line.msg === 'ready');
    this.#addr = String(ready['grpc']);
  }

  /** What every user has to give: to WeChat, and to the ledger but for the form that a message names. */
  async give(): Promise<void> {
    const { permits } = this.place.wechat.wechat.messages('wxa');
    const collectTime = Date.now();
    permits.addForm({ formId: 'form of form_id', toUser: 'form_id', kind: 'form_id', collectTime });
    permits.addForm({ formId: 'form of prepay_id', toUser: 'prepay_id', kind: 'prepay_id', collectTime });
    permits.addForm({ formId: 'form of named', toUser: 'named', kind: 'form_id', collectTime });
    for (const toUser of ['subscribe', 'subscription_notice']) permits.addConsents(toUser, 't1');
    await messageClient(this.#addr).depositPermits({
      appId: 'wxa',
      permits: [
        { toUser: 'form_id', kind: PermitKind.FORM_ID, value: 'form of form_id' },
        { toUser: 'prepay_id', kind: PermitKind.PREPAY_ID, value: 'form of prepay_id' },
        { toUser: 'subscribe', kind: PermitKind.CONSENT, templateId: 't1', value: 'c' },
        { toUser: 'subscription_notice', kind: PermitKind.CONSENT, templateId: 't1', value: 'd' },
      ],
    });
  }

  /** Sends one of each kind at once; says what their callers are told. */
  async send(
    kinds: readonly Kind[] = KINDS,
    more: Partial<Pick<SendTemplateRequest, 'idempotencyKey'>> = {},
    signal = new AbortController().signal,
  ): Promise<Record<string, Told>> {
    const client = messageClient(this.#addr);
    const told = kinds.map(async (kind): Promise<[Kind, Told]> => {
      try {
        const { messageId } = await client.sendTemplate({ ...requestOf(kind), ...more }, { signal });
        return [kind, messageId === '' ? 'sent, id unknown' : 'sent'];
      } catch (error) {
        const { reason, code } = refusalOf(error);
        return [kind, reason === 'DELIVERY_UNKNOWN' ? 'unknown' : reason || code];
      }
    });
    return Object.fromEntries(await Promise.all(told));
  }

  /** How many messages each user received. */
  arrived(): Record<Kind, number> {
    const { inbox } = this.place.wechat.wechat.messages('wxa');
    return Object.fromEntries(KINDS.map((kind) => [kind, inbox.count(kind)])) as Record<Kind, number>;
  }

  /** How many messages the ledger has permits for. */
  async permits(): Promise<Record<string, number>> {
    const client = messageClient(this.#addr);
    const counts = KINDS.map(async (toUser) => {
      const answer = await client.countPermits({ appId: 'wxa', toUser });
      return [toUser, answer.counts.reduce((sum, { messages }) => sum + Number(messages), 0)] as const;
    });
    return Object.fromEntries((await Promise.all(counts)).filter(([, count]) => count > 0));
  }

  /** Waits until WeChat has met so many message calls; the test's time limit is its end. */
  async met(count: number): Promise<void> {
    const calls = () => this.place.wechat.wechat.calls.filter(({ kind }) => kind.startsWith('message_')).length;
    await until(() => calls() >= count);
  }

  async kill(): Promise<void> {
    this.#broker?.signal('SIGKILL');
    await this.#broker?.ended();
  }

  async stop(): Promise<void> {
    this.#broker?.signal('SIGTERM');
    expect(await this.#broker?.ended()).toBe(0);
  }

  async died(): Promise<void> {
    expect(await this.#broker?.ended()).toBe(137);
  }
}

const NONE = { official_account: 0, subscribe: 0, subscription_notice: 0, form_id: 0, prepay_id: 0, named: 0 };
const ONE = { official_account: 1, subscribe: 1, subscription_notice: 1, form_id: 1, prepay_id: 1, named: 1 };
/** What a repeated call is told where WeChat sees to it that a message arrives once, and otherwise. */
const REPEATED = {
  official_account: 'sent',
  subscribe: 'unknown',
  subscription_notice: 'unknown',
  form_id: 'sent',
  prepay_id: 'unknown',
  named: 'unknown',
};
const FOUND = { ...REPEATED, form_id: 'sent, id unknown' };
/** What can still be sent: of a message of unknown fate the permit is back, since WeChat itself refuses a used one. */
const LEFT = { subscribe: 1, subscription_notice: 1, prepay_id: 3 };

describe('a broker that is killed, and a new one to which every call is repeated', () => {
  it.each([
    ['before the call', NONE, { ...NONE, official_account: 1, form_id: 1 }, REPEATED],
    ['written, and not taken', NONE, { ...NONE, official_account: 1, form_id: 1 }, REPEATED],
    ['written and taken, and not answered', ONE, ONE, FOUND],
    ['answered', ONE, ONE, FOUND],
  ])('%s', async (point, arrivedBefore, arrivedAfter, told) => {
    await using place = await sendingPlace({ store: { url: 'sqlite:lingpai.db' } });
    place.wechat.wechat.changeApp('wxa', { unlimitedConsent: false });
    const story = new Story(place);
    const isOurs = point === 'before the call' || point === 'answered';
    await story.start(isOurs ? { DIE_AT: point, DIE_AFTER: String(KINDS.length) } : {});
    await story.give();
    if (!isOurs) {
      const takesEffect = point === 'written and taken, and not answered';
      place.wechat.faults.inject({ effect: { kind: 'hang', takesEffect }, calls: messageKinds });
    }
    const first = story.send();
    if (isOurs) await story.died();
    else {
      await story.met(KINDS.length);
      await story.kill();
    }
    // Nobody was told anything but that the broker is gone.
    expect(new Set(Object.values(await first))).not.toContain('sent');
    expect(story.arrived()).toEqual(arrivedBefore);

    place.wechat.faults.clear();
    await story.start();
    expect(await story.send()).toEqual(told);
    expect(story.arrived()).toEqual(arrivedAfter);
    expect(await story.send()).toEqual(told);
    expect(story.arrived()).toEqual(arrivedAfter);
    expect(await story.permits()).toEqual(LEFT);
  });
});

it('what a message without a key had reserved is usable again after a crash', async () => {
  await using place = await sendingPlace();
  const story = new Story(place);
  await story.start({ DIE_AT: 'before the call', DIE_AFTER: '1' });
  await story.give();
  await story.send(['form_id'], { idempotencyKey: '' });
  await story.died();
  await story.start();
  expect(await story.permits()).toEqual({ ...LEFT, form_id: 1 });
  expect(await story.send(['form_id'], { idempotencyKey: '' })).toEqual({ form_id: 'sent' });
  expect(story.arrived()).toEqual({ ...NONE, form_id: 1 });
});

it('a broker that shuts down sees through what its callers have left behind', async () => {
  await using place = await sendingPlace();
  const story = new Story(place);
  await story.start();
  place.wechat.faults.inject({ effect: { kind: 'latency', ms: 1_500 }, calls: ['message_subscribe'] });
  const leave = new AbortController();
  const left = story.send(['subscribe'], {}, leave.signal);
  await story.met(1);
  leave.abort();
  expect(await left).toEqual({ subscribe: 'Canceled' });
  await story.stop();
  await story.start();
  expect(await story.send(['subscribe'])).toEqual({ subscribe: 'sent' });
  expect(story.arrived()).toEqual({ ...NONE, subscribe: 1 });
});

describe('a broker that lives through', () => {
  it.each([
    ['a lost answer', true, ONE, FOUND],
    ['a lost request', false, { ...NONE, official_account: 1, form_id: 1 }, REPEATED],
  ])('%s sends nothing twice, and says what it knows', async (_, takesEffect, arrived, told) => {
    await using place = await sendingPlace();
    place.wechat.wechat.changeApp('wxa', { unlimitedConsent: false });
    const story = new Story(place);
    await story.start();
    await story.give();
    for (const kind of messageKinds) {
      const count = kind === 'message_mini_program' ? 3 : 1;
      place.wechat.faults.inject({ effect: { kind: 'reset', takesEffect }, calls: [kind], count });
    }
    expect(await story.send()).toEqual(told);
    expect(story.arrived()).toEqual(arrived);
    expect(await story.send()).toEqual(told);
    expect(story.arrived()).toEqual(arrived);
    expect(await story.permits()).toEqual(LEFT);
  });

  it('an answer that was settled is answered again, by the next broker too', async () => {
    await using place = await sendingPlace();
    place.wechat.wechat.changeApp('wxa', { unlimitedConsent: false });
    const story = new Story(place);
    await story.start();
    await story.give();
    const all = Object.fromEntries(KINDS.map((kind) => [kind, 'sent']));
    expect(await story.send()).toEqual(all);
    await story.kill();
    await story.start();
    const calls = place.wechat.wechat.calls.length;
    expect(await story.send()).toEqual(all);
    expect(place.wechat.wechat.calls.length).toBe(calls);
    expect(story.arrived()).toEqual(ONE);
    expect(await story.permits()).toEqual({ prepay_id: 2 });
  });
});
