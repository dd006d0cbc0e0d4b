import { createHash } from 'node:crypto';
import { createBroker } from '../../src/app/broker.ts';
import type { TicketEvent } from '../../src/core/tickets/events.ts';
import type { TicketApi, TicketType } from '../../src/core/tickets/ports.ts';
import { Tickets } from '../../src/core/tickets/tickets.ts';
import type { BrokerEvent } from '../../src/core/tokens/events.ts';
import type { App, Grant, Settings } from '../../src/core/tokens/ports.ts';
import type { Registry } from '../../src/core/tokens/registry.ts';
import type { Token } from '../../src/core/tokens/state.ts';
import { ask, parse } from '../../src/sandbox/line.ts';
import { SimulatedWeChat } from '../../src/sandbox/wechat.ts';
import { probeError, ticketError, tokenError } from '../../src/wechat/errcodes.ts';
import { FakeClock, settle } from './clock.ts';
import { seeded } from './random.ts';
import { SandboxWeChat } from './sandbox-port.ts';
import { FakeStore } from './store.ts';
import { FakeTicketStore } from './ticket-store.ts';
import { SECOND, SETTINGS } from './world.ts';

/** One process that keeps tickets. */
export interface TicketProcess {
  readonly name: string;
  readonly broker: Registry;
  readonly tickets: Tickets;
  readonly events: (TicketEvent | BrokerEvent)[];
  /** It dies without a word: nothing that it still does has an effect. */
  kill(): void;
}

/** Processes that keep tickets in one store, before a simulated WeChat, on one driven clock. Each has tokens of its own. */
export class TicketWorld {
  readonly clock = new FakeClock();
  readonly store = new FakeTicketStore(this.clock);
  readonly wechat: SimulatedWeChat;
  readonly settings: Settings;
  readonly apps: readonly App[];
  readonly #random;
  /** Their tokens outlive processes, each its own. */
  readonly #tokens = new FakeStore();

  constructor(options: { settings?: Partial<Settings>; seed?: number; ticketLifetimeMs?: number } = {}) {
    this.#random = seeded(options.seed ?? 1);
    this.settings = { ...SETTINGS, ...options.settings };
    // A stable token is one for all that read it.
    this.apps = [{ appId: 'wxs', issuer: 'stable', secret: 'secret of wxs' }];
    const { ticketLifetimeMs } = options;
    this.wechat = new SimulatedWeChat({
      clock: this.clock.outside,
      random: this.#random,
      apps: this.apps.map(({ appId, secret }) => ({ appId, secret, ...(ticketLifetimeMs && { ticketLifetimeMs }) })),
    });
  }

  /** Starts one more, and lets it get its tokens. */
  async add(name = 'one'): Promise<TicketProcess> {
    let isAlive = true;
    const events: (TicketEvent | BrokerEvent)[] = [];
    const observe = (event: TicketEvent | BrokerEvent) => isAlive && events.push(event);
    const toError = (errcode: number, errmsg: string, call: string) =>
      call === 'probe' ? probeError(errcode, errmsg) : tokenError(errcode, errmsg);
    const sandbox = new SandboxWeChat({ wechat: this.wechat, clock: this.clock, toError });
    const { now, monotonic, schedule } = this.clock;
    const clock = {
      now: now.bind(this.clock),
      monotonic: monotonic.bind(this.clock),
      schedule: (delayMs: number, fn: () => void) => schedule.call(this.clock, delayMs, () => isAlive && fn()),
    };
    const deps = { clock, random: this.#random, wechat: sandbox, observe };
    const { registry, timeline } = createBroker({ ...deps, store: { local: this.#tokens } }, this.settings);
    const alive = <T>(result: Promise<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        result.then(
          (value) => isAlive && resolve(value),
          (error) => isAlive && reject(error),
        );
      });
    const { store } = this;
    const tickets = new Tickets({
      clock,
      random: this.#random,
      timeline,
      settings: this.settings,
      wechat: { fetchTicket: (...call) => alive(this.#line.fetchTicket(...call)) },
      store: {
        load: () => alive(store.load()),
        read: (key) => alive(store.read(key)),
        save: (record) => (isAlive ? alive(store.save(record)) : new Promise(() => undefined)),
        claim: (...args) => alive(store.claim(...args)),
        release: (...args) => (isAlive ? alive(store.release(...args)) : new Promise(() => undefined)),
      },
      tokens: registry,
      owner: name,
      observe,
    });
    await registry.start(this.apps);
    await tickets.start();
    await this.clock.advance(10 * SECOND);
    const kill = () => {
      isAlive = false;
    };
    return { name, broker: registry, tickets, events, kill };
  }

  /** WeChat's getticket, without a network. */
  readonly #line: TicketApi = {
    fetchTicket: async (type: TicketType, token: string, signal: AbortSignal): Promise<Grant> => {
      const call = { kind: 'ticket', token, type, path: '/cgi-bin/ticket/getticket' } as const;
      const line = { wechat: this.wechat, clock: this.clock };
      const { errcode, errmsg, ticket, expires_in: seconds } = parse(await ask(line, call, signal));
      if (errcode !== 0) throw ticketError(Number(errcode), String(errmsg), [token]);
      const value = String(ticket);
      const id = createHash('sha256').update(value).digest('hex').slice(0, 12);
      return { value, id, lifetimeMs: Number(seconds) * 1000 };
    },
  };

  /** How many calls of getticket reached WeChat. */
  get calls(): number {
    return this.wechat.calls.filter(({ kind }) => kind === 'ticket').length;
  }

  /** A ticket of a process, waiting for it; time passes until it is there, a minute at most. */
  async get(
    { tickets }: TicketProcess,
    type: TicketType = 'jsapi',
    signal = new AbortController().signal,
  ): Promise<Token> {
    const result = Promise.resolve(tickets.get('wxs', type, { signal: () => signal }));
    let isDone = false;
    const done = () => {
      isDone = true;
    };
    result.then(done, done);
    for (let i = 0; i < 120; i++) {
      await settle();
      if (isDone) break;
      await this.clock.advance(SECOND / 2);
    }
    return await result;
  }

  /** What a process serves from memory; undefined: it would have to wait. */
  peek({ tickets }: TicketProcess, type: TicketType = 'jsapi'): Token | undefined {
    const found = [...tickets.states()].find((state) => state.appId === 'wxs' && state.type === type);
    return found?.ticket ?? undefined;
  }

  /** Whether WeChat honours what a process serves. */
  good(process: TicketProcess, type: TicketType = 'jsapi'): boolean {
    return this.wechat.honoursTicket('wxs', type, this.peek(process, type)?.value ?? '');
  }
}
