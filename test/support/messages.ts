import type { Clock } from '../../src/core/kernel/clock.ts';
import { LingpaiError, type Recovery, UpstreamError, type UpstreamReason } from '../../src/core/kernel/errors.ts';
import type { MessageEvent } from '../../src/core/messages/events.ts';
import type { Channel, Message, Sent } from '../../src/core/messages/message.ts';
import { newPermit } from '../../src/core/messages/permits.ts';
import type { Delivery, MessageApi, MessageSettings, PermitKind } from '../../src/core/messages/ports.ts';
import { Sender, type SendResult, type Tokens } from '../../src/core/messages/sender.ts';
import type { TokenState } from '../../src/core/tokens/state.ts';
import { FakeClock, settle } from './clock.ts';
import { FakeLedger } from './ledger.ts';
import { seeded } from './random.ts';
import { ReferenceWeChat } from './reference-wechat.ts';
import { SECOND } from './world.ts';

/** The defaults of the configuration, but for the quota. */
export const MESSAGE_SETTINGS: MessageSettings = {
  dailyQuota: 1_000_000,
  ratePerSecond: 0,
  concurrency: 100,
  maxWaiting: 1_000,
  maxPermits: 1_000_000,
  quotaResetHour: 0,
  timeoutMs: 5 * SECOND,
};

/** What befalls one attempt. `arrives`: whether WeChat gets the request all the same, and how many milliseconds late. */
export type AttemptFault =
  | { readonly kind: 'unsent' }
  /** The connection is cut at once. */
  | { readonly kind: 'lost'; readonly arrives: number | 'never' }
  /** No answer comes before the deadline. */
  | { readonly kind: 'hang'; readonly arrives: number | 'never' }
  /** WeChat answers this in place of its own judgement. */
  | { readonly kind: 'errcode'; readonly errcode: number }
  /** The answer takes so long; the request arrives at once. */
  | { readonly kind: 'slow'; readonly ms: number };

const MEANINGS: Readonly<Record<number, readonly [UpstreamReason, Recovery]>> = {
  [-1]: ['UPSTREAM_BUSY', { kind: 'backoff' }],
  40001: ['TOKEN_REFUSED', { kind: 'backoff' }],
  40003: ['OPENID_INVALID', { kind: 'never' }],
  40037: ['TEMPLATE_ID_INVALID', { kind: 'never' }],
  41028: ['FORM_ID_INVALID', { kind: 'never' }],
  41029: ['FORM_ID_USED', { kind: 'never' }],
  41030: ['PAGE_INVALID', { kind: 'never' }],
  43101: ['CONSENT_MISSING', { kind: 'never' }],
  43117: ['TOO_FREQUENT', { kind: 'pause', ms: 60 * SECOND }],
  45009: ['DAILY_QUOTA_EXHAUSTED', { kind: 'daily_quota' }],
  45011: ['MINUTE_QUOTA_EXHAUSTED', { kind: 'minute_quota' }],
  45103: ['INTERFACE_RETIRED', { kind: 'never' }],
  47003: ['DATA_INVALID', { kind: 'never' }],
  48001: ['INTERFACE_NOT_GRANTED', { kind: 'pause', ms: 300 * SECOND }],
  50002: ['ACCOUNT_CLOSED', { kind: 'pause', ms: 300 * SECOND }],
  61004: ['IP_NOT_ALLOWED', { kind: 'pause', ms: 300 * SECOND }],
};

/** The error for an errcode, as the adapter makes it. */
export function upstreamError(errcode: number): UpstreamError {
  const [reason, recovery] = MEANINGS[errcode] ?? ['MESSAGE_REFUSED' as const, { kind: 'never' } as const];
  const answer = { errcode, errmsg: `errmsg of ${errcode}`, rid: 'rid-1' };
  return new UpstreamError(`WeChat said ${errcode}`, { reason, recovery, effect: 'refused', answer });
}

/** The error for a request of which there is no answer. */
export function unanswered(
  effect: 'unsent' | 'unknown',
  reason: UpstreamReason = 'UPSTREAM_UNREACHABLE',
): UpstreamError {
  return new UpstreamError('no answer', { reason, recovery: { kind: 'backoff' }, effect });
}

/** The way to a reference WeChat, with faults on command. */
export class FaultyApi implements MessageApi {
  readonly #wechat: ReferenceWeChat;
  readonly #clock: Clock;
  /** What befalls the next attempts, in order; undefined: nothing. */
  readonly faults: (AttemptFault | undefined)[] = [];
  /** What befalls every attempt that no entry of `faults` is for. */
  fault: AttemptFault | undefined;
  /** Every attempt. */
  readonly attempts: Delivery[] = [];
  underWay = 0;
  mostUnderWay = 0;

  constructor(wechat: ReferenceWeChat, clock: Clock) {
    this.#wechat = wechat;
    this.#clock = clock;
  }

  async send(delivery: Delivery, token: string, signal: AbortSignal): Promise<Sent> {
    this.attempts.push(delivery);
    this.underWay++;
    this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay);
    const fault = this.faults.length > 0 ? this.faults.shift() : this.fault;
    try {
      return await this.#send(delivery, token, signal, fault);
    } finally {
      this.underWay--;
    }
  }

  async #send(delivery: Delivery, token: string, signal: AbortSignal, fault: AttemptFault | undefined): Promise<Sent> {
    switch (fault?.kind) {
      case 'unsent':
        throw unanswered('unsent');
      case 'errcode':
        throw upstreamError(fault.errcode);
      case 'lost':
      case 'hang':
        if (fault.arrives === 0) this.#wechat.receive(delivery, token);
        // What is on the network arrives whether or not the sender lives.
        else if (fault.arrives !== 'never')
          this.#clock.schedule(fault.arrives, () => this.#wechat.receive(delivery, token));
        if (fault.kind === 'hang') await aborted(signal);
        throw unanswered('unknown', fault.kind === 'hang' ? 'UPSTREAM_TIMEOUT' : 'UPSTREAM_UNREACHABLE');
    }
    const answer = this.#wechat.receive(delivery, token);
    if (fault)
      await Promise.race([new Promise<void>((resolve) => this.#clock.schedule(fault.ms, resolve)), aborted(signal)]);
    if (signal.aborted) throw unanswered('unknown', 'UPSTREAM_TIMEOUT');
    if ('errcode' in answer) throw upstreamError(answer.errcode);
    return { messageId: answer.messageId, rid: '' };
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

/** A broker's tokens, of which each app has one. */
export class FakeTokens implements Tokens {
  readonly #generations = new Map<string, number>();
  /** Thrown by each `get` while set. */
  failure: LingpaiError | undefined;
  /** Thrown by each `forceRefresh` while set. */
  refreshFailure: LingpaiError | undefined;
  /** Whether WeChat, asked by the broker, accepts what was reported. */
  stillValid = false;
  refreshes = 0;

  /** The app's current token. */
  value(appId: string): string {
    return `token of ${appId} ${this.#generation(appId)}`;
  }

  async get(appId: string): Promise<TokenState> {
    if (this.failure) throw this.failure;
    return this.#state(appId);
  }

  async forceRefresh(appId: string, rejected: { kind: 'token'; token: string }): Promise<{ state: TokenState }> {
    if (this.refreshFailure) throw this.refreshFailure;
    if (!this.stillValid && rejected.token === this.value(appId)) {
      this.refreshes++;
      this.#generations.set(appId, this.#generation(appId) + 1);
    }
    return { state: this.#state(appId) };
  }

  #generation(appId: string): number {
    return this.#generations.get(appId) ?? 1;
  }

  #state(appId: string): TokenState {
    return {
      appId,
      generation: this.#generation(appId),
      current: { value: this.value(appId), id: '000000000000', issueTime: 0, expireTime: Infinity },
      previous: null,
      status: 'FRESH',
      statusReason: '',
      nextRefreshTime: null,
      answeredAt: 0,
    };
  }
}

/** A message to a user, by a channel with all its fields empty. */
export function message(
  channel: Channel['kind'],
  fields: Partial<Omit<Message, 'channel'>> & { readonly formId?: string; readonly text?: string } = {},
): Message {
  const { formId = '', text = 'content', ...rest } = fields;
  const channels: Readonly<Record<Channel['kind'], Channel>> = {
    mini_program: { kind: 'mini_program', formId, emphasisKeyword: '' },
    subscribe: { kind: 'subscribe', miniProgramState: '', lang: '' },
    official_account: { kind: 'official_account', url: '', miniProgramAppId: '', miniProgramPage: '' },
    subscription_notice: { kind: 'subscription_notice', miniProgramAppId: '', miniProgramPage: '' },
  };
  return {
    appId: 'wxa',
    toUser: 'openid-1',
    templateId: 'template-1',
    page: '',
    data: { keyword1: { value: text, color: '' } },
    idempotencyKey: '',
    channel: channels[channel],
    ...rest,
  };
}

/** What a test learns of a call. */
export type Told = SendResult | LingpaiError;

/** What a test puts in place of the fakes. */
interface Overrides {
  readonly tokens?: Tokens;
  readonly api?: MessageApi;
  /** Which owners are other replicas that live; by default none. */
  readonly isOther?: (owner: string) => boolean;
}

/** A sender before a reference WeChat, on one driven clock, with a ledger that outlives it. */
export class MessageWorld {
  readonly clock = new FakeClock();
  readonly ledger = new FakeLedger();
  readonly tokens = new FakeTokens();
  readonly events: MessageEvent[] = [];
  readonly wechat = new ReferenceWeChat(() => this.clock.outside.now());
  readonly api: FaultyApi;
  readonly settings: MessageSettings;
  readonly #random;
  readonly #overrides: Overrides;
  #ids = 0;
  #life = new Life();
  sender: Sender;

  constructor(options: { settings?: Partial<MessageSettings>; seed?: number } & Overrides = {}) {
    this.settings = { ...MESSAGE_SETTINGS, ...options.settings };
    this.#random = seeded(options.seed ?? 1);
    this.#overrides = options;
    this.api = new FaultyApi(this.wechat, this.clock);
    this.sender = this.#newSender();
  }

  #newSender(): Sender {
    const life = new Life();
    this.#life = life;
    const { clock, ledger } = this;
    const { tokens = this.tokens, api = this.api } = this.#overrides;
    return new Sender(
      {
        clock: {
          now: () => clock.now(),
          monotonic: () => clock.monotonic(),
          schedule: (delayMs, fn) => clock.schedule(delayMs, () => life.alive && fn()),
        },
        random: this.#random,
        api: { send: (delivery, token, signal) => life.through(() => api.send(delivery, token, signal)) },
        ledger: {
          begin: (send) => life.through(() => ledger.begin(send)),
          lookup: (query) => life.through(() => ledger.lookup(query)),
          redraw: (sendId, wish, now) => life.through(() => ledger.redraw(sendId, wish, now)),
          settle: (sendId, settlement) => life.through(() => ledger.settle(sendId, settlement)),
          deposit: (appId, permits) => ledger.deposit(appId, permits),
          count: (appId, toUser, now) => ledger.count(appId, toUser, now),
          recover: () => ledger.recover(),
          purge: (now) => ledger.purge(now),
        },
        tokens,
        digest: (text) => text,
        owner: '',
        isOther: this.#overrides.isOther ?? (() => false),
        newId: () => `send-${++this.#ids}`,
        observe: (event) => life.alive && this.events.push(event),
      },
      this.settings,
    );
  }

  /** The process dies without a word: whatever the sender still does reaches nobody. */
  kill(): void {
    this.#life.alive = false;
  }

  /** The process dies, and another takes its place on the same ledger. */
  async restart(): Promise<void> {
    this.kill();
    await this.ledger.recover();
    this.sender = this.#newSender();
  }

  /** Sends, and says what the caller is told. A rejection that is no LingpaiError is one here too. */
  async tell(message: Message, signal: AbortSignal = new AbortController().signal): Promise<Told> {
    try {
      return await this.sender.send(message, signal);
    } catch (error) {
      if (error instanceof LingpaiError) return error;
      throw error;
    }
  }

  /** Sends, and lets time pass until the caller is told, at most a minute. */
  async send(message: Message, signal?: AbortSignal): Promise<Told> {
    let told: Told | undefined;
    let failure: unknown;
    void this.tell(message, signal).then(
      (value) => {
        told = value;
      },
      (error) => {
        failure = error;
      },
    );
    await settle();
    for (let i = 0; i < 600 && !told && !failure; i++) await this.clock.advance(100);
    if (failure) throw failure;
    if (!told) throw new Error('the caller was told nothing for a minute');
    return told;
  }

  /** A user gives a permit to WeChat, and it is deposited. */
  async give(kind: PermitKind, value: string, toUser = 'openid-1', templateId = 'template-1'): Promise<void> {
    const consent = kind === 'consent';
    if (consent) this.wechat.giveConsent(toUser, templateId);
    else this.wechat.giveForm(toUser, kind, value);
    const collectTime = this.clock.now();
    const permit = newPermit({ toUser, kind, value, templateId: consent ? templateId : '', collectTime });
    await this.ledger.deposit('wxa', [permit]);
  }

  /** Messages that may still be sent by the ledger's usable permits. */
  async usable(toUser?: string): Promise<number> {
    const tallies = await this.ledger.count('wxa', toUser, this.clock.now());
    return tallies.reduce((sum, { messages }) => sum + messages, 0);
  }

  /** The events of one type. */
  seen<T extends MessageEvent['type']>(type: T): Extract<MessageEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<MessageEvent, { type: T }> => event.type === type);
  }
}

/** One life of a sender. */
class Life {
  alive = true;

  /** Begins `act` only in life, and lets its outcome through only in life. */
  through<T>(act: () => Promise<T>): Promise<T> {
    if (!this.alive) return new Promise(() => undefined);
    return new Promise((resolve, reject) => {
      act().then(
        (value) => this.alive && resolve(value),
        (error) => this.alive && reject(error),
      );
    });
  }
}
