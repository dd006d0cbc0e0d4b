import { LingpaiError } from '../../../../src/core/kernel/errors.ts';
import type { Message } from '../../../../src/core/messages/message.ts';
import { newPermit } from '../../../../src/core/messages/permits.ts';
import type { NewSend } from '../../../../src/core/messages/ports.ts';
import { settle } from '../../../support/clock.ts';
import { MessageWorld, message, type Told } from '../../../support/messages.ts';
import type { Accepted } from '../../../support/reference-wechat.ts';
import { HOUR, MINUTE, SECOND } from '../../../support/world.ts';
import { type Command, KEYS, type Scenario, type Target } from './scenario.ts';

const APP = 'wxa';
const DAY = 24 * HOUR;
/** Three attempts of 5 s with their pauses, a token or two, and a place in the queue behind others that take as long. */
const PATIENCE_MS = 10 * MINUTE;
const CHANNELS = ['official_account', 'mini_program', 'subscribe', 'subscription_notice'] as const;

/** Reasons that say nothing of what became of an earlier call with the same key. */
const SILENT = new Set(['LEDGER_UNAVAILABLE', 'DRAINING', 'IDEMPOTENCY_KEY_REUSED']);

/** A call that has not been answered. */
interface Call {
  readonly message: Message;
  readonly startTime: number;
  readonly life: number;
  readonly caller: AbortController;
}

/** A form or payment that a user gave. */
interface Form {
  readonly value: string;
  readonly user: number;
  readonly deposited: boolean;
}

/** One scenario: does what its commands say, and checks the laws whenever somebody learns something, and at the end. */
export class Run {
  readonly #scenario: Scenario;
  readonly #world: MessageWorld;
  readonly #broken: string[] = [];
  readonly #calls = new Set<Call>();
  readonly #forms: Form[] = [];
  /** The user and the template of each consent. */
  readonly #consents = new Set<string>();
  #life = 0;
  #names = 0;
  #deadToken = '';

  constructor(scenario: Scenario) {
    const { seed, dailyQuota, ratePerSecond, concurrency, maxWaiting, expiredUsedForm } = scenario;
    this.#scenario = scenario;
    this.#world = new MessageWorld({ seed, settings: { dailyQuota, ratePerSecond, concurrency, maxWaiting } });
    this.#world.wechat.expiredUsedForm = expiredUsedForm;
    this.#world.wechat.honours = (_, token) => token !== this.#deadToken;
  }

  /** Rejects with every law that was broken, and after which command. */
  async play(): Promise<void> {
    for (const [i, command] of this.#scenario.commands.entries()) {
      await this.#do(command);
      await settle();
      this.#verify(`command ${i}, ${JSON.stringify(command)}`);
    }
    await this.#end();
    this.#verify('the end');
  }

  #law(name: string, holds: boolean, detail: () => string): void {
    if (!holds) this.#broken.push(`${name}: ${detail()}`);
  }

  #verify(after: string): void {
    this.#checkKeys();
    this.#checkQuota();
    const events = JSON.stringify(this.#world.events);
    this.#law('no event tells of users or content', !/openid|form-|key-|text-|token of/.test(events), () => events);
    if (this.#broken.length > 0) throw new Error(`after ${after}:\n${[...new Set(this.#broken)].join('\n')}`);
  }

  async #do(command: Command): Promise<void> {
    const world = this.#world;
    switch (command.do) {
      case 'pass':
        return await world.clock.advance(command.ms);
      case 'give':
        return await this.#give(command);
      case 'send':
        return this.#send(command);
      case 'send keyed':
        for (let i = 0; i < command.calls; i++)
          this.#call(this.#keyed(command.key, command.other), command.standbyDelayMs);
        return;
      case 'fault':
        world.api.faults.push(...Array.from({ length: command.count }, () => command.fault));
        return;
      case 'outage':
        world.api.fault = command.fault;
        return;
      case 'ledger fails':
        world.ledger.failure = (call) => (command.calls.includes(call) ? new Error('disk full') : undefined);
        return;
      case 'mend':
        return this.#mend();
      case 'kill token':
        this.#deadToken = world.tokens.value(APP);
        world.tokens.refreshFailure = command.replaceable
          ? undefined
          : new LingpaiError('the cooldown lasts', { reason: 'COOLDOWN', retryAfterMs: SECOND });
        return;
      case 'crash':
        this.#call(this.#keyed(command.key, false), 0);
        for (let i = 0; i < command.steps; i++) await undefined;
        return await this.#crash(command.downMs);
      case 'purge':
        await world.ledger.purge(world.clock.now());
    }
  }

  #mend(): void {
    const { api, ledger, tokens } = this.#world;
    api.faults.length = 0;
    api.fault = undefined;
    ledger.failure = () => undefined;
    tokens.refreshFailure = undefined;
  }

  async #crash(downMs: number): Promise<void> {
    const world = this.#world;
    world.kill();
    this.#life++;
    this.#calls.clear();
    await world.clock.advance(downMs);
    await world.restart();
  }

  async #give({ kind, user, template, agoMs, deposits }: Command & { do: 'give' }): Promise<void> {
    const { wechat, ledger, clock } = this.#world;
    // So that it can be told from what began before.
    await clock.advance(1);
    const [toUser, value] = [openid(user), `form-${++this.#names}`];
    // With a consent that it does not know of, the ledger would count fewer.
    if (kind === 'consent' && deposits === 0) return;
    const templateId = kind === 'consent' ? templateOf(template) : '';
    // A consent does not age; that it came after a send began is what saves it when that is told of none.
    const collectTime = clock.now() - (kind === 'consent' ? 0 : agoMs);
    if (kind === 'consent') wechat.giveConsent(toUser, templateId);
    else wechat.giveForm(toUser, kind, value, collectTime);
    if (kind === 'consent') this.#consents.add(JSON.stringify([toUser, templateId]));
    else this.#forms.push({ value, user, deposited: deposits > 0 });
    for (let i = 0; i < deposits; i++) {
      const told = await ledger.deposit(APP, [newPermit({ toUser, kind, value, templateId, collectTime })]);
      this.#law('a permit is deposited once', told !== 'full' && told.deposited === (i === 0 ? 1 : 0), () => value);
    }
  }

  #send({ to, names, standbyDelayMs }: Command & { do: 'send' }): void {
    const forms = this.#forms.filter(({ user }) => user === to.user);
    const named =
      names === null || to.channel !== 'mini_program' ? undefined : forms[names % Math.max(1, forms.length)];
    this.#call(messageTo(to, { text: `text-${++this.#names}`, formId: named?.value ?? '' }), standbyDelayMs);
  }

  /** The message of a key: always the same, so that it may be repeated. */
  #keyed(key: number, other: boolean): Message {
    const channel = CHANNELS[key % CHANNELS.length] ?? 'subscribe';
    const to: Target = { channel, user: key % 2, template: key % 2 };
    return messageTo(to, { idempotencyKey: `key-${key}`, text: other ? `text-other-${key}` : `text-${key}` });
  }

  #call(one: Message, standbyDelayMs: number): void {
    const { clock, sender } = this.#world;
    const call: Call = { message: one, startTime: clock.now(), life: this.#life, caller: new AbortController() };
    this.#calls.add(call);
    const told = (what: Told | 'left') => {
      if (call.life !== this.#life) return;
      this.#calls.delete(call);
      if (what !== 'left') this.#told(call, what);
    };
    sender.send(one, call.caller.signal).then(told, (error) => {
      if (error instanceof LingpaiError) told(error);
      else if (call.caller.signal.aborted) told('left');
      else this.#law('nothing is thrown but LingpaiError', false, () => String(error));
    });
    if (standbyDelayMs > 0) clock.schedule(standbyDelayMs, () => call.caller.abort());
    clock.schedule(PATIENCE_MS, () => {
      this.#law('every call is answered', call.life !== this.#life || !this.#calls.has(call), () => describe(one));
    });
  }

  /** Whoever is told something is told the truth as of now. */
  #told({ message: one, startTime }: Call, told: Told): void {
    const now = this.#world.clock.now();
    const reason = told instanceof LingpaiError ? told.reason : 'sent';
    const about = () => `${describe(one)} was told ${reason}`;
    const since = (time: number) => this.#accepted(one).filter(({ begun }) => begun > time - DAY);
    if (reason === 'sent') {
      const all = since(startTime);
      this.#law('what is told to be sent was accepted', all.length > 0, about);
      const same = all.every(({ delivery }) => textOf(delivery.message) === textOf(one));
      this.#law('what is told to be sent is that message', same, about);
      this.#law('and once', since(now).length <= 1, about);
    } else if (reason !== 'DELIVERY_UNKNOWN' && !(one.idempotencyKey !== '' && SILENT.has(reason))) {
      this.#law('what is told not to be sent was not accepted', since(now).length === 0, about);
    }
    this.#law('nobody is at fault here', reason !== 'INTERNAL', about);
  }

  /** The times that WeChat accepted a message, each with when it was begun. */
  #accepted(one: Message): (Accepted & { begun: number })[] {
    const { wechat, ledger } = this.#world;
    const begun = new Map(ledger.journal.map(({ sendId, now }) => [sendId, now]));
    const name = nameOf(one);
    return wechat.accepted
      .filter(({ delivery }) => nameOf(delivery.message) === name)
      .map((accepted) => ({ ...accepted, begun: begun.get(accepted.delivery.clientMsgId) ?? 0 }));
  }

  /** WeChat accepts no message twice, and none of a key within 24 hours of another. */
  #checkKeys(): void {
    const { wechat, ledger } = this.#world;
    const sends = new Map(ledger.journal.map((send) => [send.sendId, send]));
    const last = new Map<string, NewSend>();
    for (const { delivery } of wechat.accepted) {
      const send = sends.get(delivery.clientMsgId);
      this.#law('nothing is sent that was not recorded', send !== undefined, () => describe(delivery.message));
      if (!send) continue;
      const name = nameOf(delivery.message);
      const before = last.get(name);
      const apart = !before || (delivery.message.idempotencyKey !== '' && Math.abs(send.now - before.now) >= DAY);
      this.#law('WeChat never accepts two for one', apart, () => describe(delivery.message));
      last.set(name, send);
    }
  }

  #checkQuota(): void {
    const { wechat, ledger } = this.#world;
    const days = new Map(ledger.journal.map(({ sendId, quota }) => [sendId, quota.day]));
    const counts = new Map<number, number>();
    for (const { delivery } of wechat.accepted) {
      const day = days.get(delivery.clientMsgId) ?? 0;
      counts.set(day, (counts.get(day) ?? 0) + 1);
    }
    for (const count of counts.values()) {
      this.#law('the quota is never exceeded', count <= this.#scenario.dailyQuota, () => `${count} in a day`);
    }
  }

  async #end(): Promise<void> {
    const world = this.#world;
    this.#mend();
    await world.clock.advance(PATIENCE_MS);
    this.#law('every call is answered in the end', this.#calls.size === 0, () => `${this.#calls.size} are not`);
    this.#checkPermits('while keys are kept');

    // What is known of a key stays: it is told again, and nothing is sent twice.
    for (let key = 0; key < KEYS; key++) this.#call(this.#keyed(key, false), 0);
    await world.clock.advance(PATIENCE_MS);
    this.#verify('asking for each key again');
    this.#checkPermits('after asking for each key again');

    await world.clock.advance(DAY + MINUTE);
    await world.ledger.purge(world.clock.now());
    this.#law('keys are forgotten', world.ledger.sends.size === 0, () =>
      JSON.stringify([...world.ledger.sends.keys()]),
    );
    this.#law(
      'no permit stays reserved',
      world.ledger.permits.every(({ reserved }) => reserved === 0),
      () => '',
    );
    this.#checkPermits('when keys are forgotten');

    this.#call(messageTo({ channel: 'official_account', user: 0, template: 0 }, { text: 'text-last' }), 0);
    await world.clock.advance(SECOND);
    const last = world.wechat.accepted.at(-1)?.delivery.message;
    this.#law('all works in the end', last !== undefined && textOf(last) === 'text-last', () => '');

    let drained = false;
    void world.sender.drain().then(() => {
      drained = true;
    });
    await world.clock.advance(PATIENCE_MS);
    this.#law('a drain ends', drained, () => '');
    this.#law('and leaves no timer', world.clock.pending === 0, () => `${world.clock.pending}`);
  }

  /** Whatever WeChat would still accept is in the ledger: usable, or held for a key whose message is of unknown fate. */
  #checkPermits(when: string): void {
    const { wechat, ledger } = this.#world;
    for (const { value, deposited } of this.#forms) {
      const left = wechat.uses(value);
      if (!deposited || left === 0) continue;
      const permit = ledger.permits.find((one) => one.value === value);
      const held = [...ledger.sends.values()].filter((send) => send.permit === permit);
      const unknown = held.every(({ outcome, send }) => outcome.kind === 'unknown' && send.key !== '');
      this.#law(`no permit is lost ${when}`, (permit?.uses ?? 0) >= left, () => `${value} is good for ${left}`);
      const accounted = permit?.reserved === held.length && unknown;
      this.#law(`none is held for nothing ${when}`, accounted, () => `${value}: ${JSON.stringify(permit)}`);
    }
    for (const consent of this.#consents) {
      const [toUser, templateId] = JSON.parse(consent) as [string, string];
      const ours = ledger.permits.filter((one) => one.toUser === toUser && one.templateId === templateId);
      const uses = ours.reduce((sum, one) => sum + one.uses, 0);
      this.#law(`no consent is lost ${when}`, uses >= wechat.consents(toUser, templateId), () => `${consent}: ${uses}`);
    }
  }
}

function openid(user: number): string {
  return `openid-${user}`;
}

function templateOf(template: number): string {
  return `template-${template}`;
}

function messageTo(
  { channel, user, template }: Target,
  fields: { text: string; idempotencyKey?: string; formId?: string },
): Message {
  return message(channel, { appId: APP, toUser: openid(user), templateId: templateOf(template), ...fields });
}

/** What tells messages apart: the key, or where there is none the text, which no two share. */
function nameOf(one: Message): string {
  return one.idempotencyKey === '' ? textOf(one) : one.idempotencyKey;
}

function textOf(one: Message): string {
  return one.data['keyword1']?.value ?? '';
}

function describe(one: Message): string {
  return `${one.channel.kind} ${nameOf(one)} (${textOf(one)})`;
}
