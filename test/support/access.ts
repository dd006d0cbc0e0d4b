import { expect } from 'vitest';
import { type Listeners, startListeners } from '../../src/app/listeners.ts';
import { createServices } from '../../src/app/services.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Access, type AccessDeps } from '../../src/core/access/access.ts';
import { credentialsError } from '../../src/core/access/errors.ts';
import type { Audit, AuditEvent, CredentialFault, Credentials, Rule } from '../../src/core/access/ports.ts';
import type { Principal } from '../../src/core/access/principal.ts';
import type { Limiter, Rights } from '../../src/core/access/rights.ts';
import type { Verb } from '../../src/core/access/verbs.ts';
import type { Clock } from '../../src/core/kernel/clock.ts';
import { Timeline } from '../../src/core/kernel/timeline.ts';
import type { Message } from '../../src/core/messages/message.ts';
import type { IssuerKind } from '../../src/core/tokens/ports.ts';
import { createLogger } from '../../src/ops/log.ts';
import { createMetrics } from '../../src/ops/metrics.ts';
import { takingTurns } from '../../src/ops/turns.ts';
import { openMemory } from '../../src/store/database.ts';
import { storeIn } from '../../src/store/open.ts';
import type { Authenticate } from '../../src/transport/head.ts';
import { World } from './world.ts';

/** A caller by its name, with one credential. */
export function caller(name: string, more: Partial<Principal> = {}): Principal {
  return { name, method: 'key', credentialId: `id-${name}`, expireTime: null, ...more };
}

const matches = (pattern: string, name: string) =>
  pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;

/** Rules, looked through one by one. */
export class FakeRights implements Rights {
  readonly #rules: readonly Rule[];
  readonly #blocked: readonly string[];

  constructor(rules: readonly Rule[], blocked: readonly string[] = []) {
    this.#rules = rules;
    this.#blocked = blocked;
  }

  may(principal: Principal, verb: Verb, appId: string): boolean {
    return this.#of(principal, verb).some(({ apps }) => apps.some((app) => matches(app, appId)));
  }

  mayAll(principal: Principal, verb: Verb): boolean {
    return this.#of(principal, verb).some(({ apps }) => apps.includes('*'));
  }

  paths(principal: Principal, appId: string): readonly string[] | undefined {
    const rules = this.#of(principal, 'call').filter(({ apps }) => apps.some((app) => matches(app, appId)));
    return rules.some(({ paths }) => !paths) ? undefined : rules.flatMap(({ paths }) => paths ?? []);
  }

  hasRule({ name }: Principal): boolean {
    return this.#rules.some(({ who }) => who.some((one) => matches(one, name)));
  }

  isBlocked({ name, credentialId }: Principal): boolean {
    return this.#blocked.some((one) => one === name || one === credentialId);
  }

  #of({ name }: Principal, verb: Verb): Rule[] {
    return this.#rules.filter(({ who, may }) => may.includes(verb) && who.some((one) => matches(one, name)));
  }
}

/** Credentials that are good until the test says otherwise, or they expire. */
export class FakeCredentials implements Credentials {
  readonly revoked = new Set<string>();
  readonly #clock: Pick<Clock, 'now'>;

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  fault({ name, expireTime }: Principal): CredentialFault | undefined {
    if (this.revoked.has(name)) return 'CREDENTIALS_INVALID';
    return expireTime !== null && expireTime <= this.#clock.now() ? 'CREDENTIALS_EXPIRED' : undefined;
  }
}

/** So many calls each, and so many streams at once. */
export class FakeLimiter implements Limiter {
  calls: number;
  readonly #streams: number;
  readonly #open = new Map<string, number>();

  constructor({ calls = Number.POSITIVE_INFINITY, streams = Number.POSITIVE_INFINITY } = {}) {
    this.calls = calls;
    this.#streams = streams;
  }

  call(): number {
    return --this.calls >= 0 ? 0 : 700;
  }

  open(name: string): (() => void) | undefined {
    const open = this.#open.get(name) ?? 0;
    if (open >= this.#streams) return undefined;
    this.#open.set(name, open + 1);
    return () => this.#open.set(name, (this.#open.get(name) ?? 0) - 1);
  }
}

/** An audit log that keeps what it is told. */
export class FakeAudit implements Audit {
  readonly events: AuditEvent[] = [];
  writable = true;

  record(event: AuditEvent): void {
    this.events.push(event);
  }

  /** The events of one kind. */
  of<E extends AuditEvent['event']>(event: E): Extract<AuditEvent, { event: E }>[] {
    return this.events.filter((one): one is Extract<AuditEvent, { event: E }> => one.event === event);
  }
}

/** An Access, with all that decides. */
export function accessOf(
  clock: Clock,
  rules: readonly Rule[],
  { limiter = new FakeLimiter(), ...deps }: Partial<AccessDeps> & { limiter?: Limiter } = {},
) {
  const audit = new FakeAudit();
  const credentials = new FakeCredentials(clock);
  const parts = { rights: new FakeRights(rules), limiter, credentials };
  return { access: new Access({ clock, pause: takingTurns(), audit, ...deps }, parts), audit, credentials };
}

/** The header in which callers of a `Guarded` broker say who they are, and the one that has the door find it out later. */
export const WHO = 'x-who';
export const LATER = 'x-later';

/** A broker whose listeners ask who calls, on a driven clock. Messages are taken at once. */
export class Guarded {
  readonly world: World;
  readonly listeners: Listeners;
  readonly access: Access;
  readonly audit: FakeAudit;
  readonly credentials: FakeCredentials;
  readonly faults: unknown[];

  private constructor(parts: Pick<Guarded, 'world' | 'listeners' | 'access' | 'audit' | 'credentials' | 'faults'>) {
    this.world = parts.world;
    this.listeners = parts.listeners;
    this.access = parts.access;
    this.audit = parts.audit;
    this.credentials = parts.credentials;
    this.faults = parts.faults;
  }

  static async started({
    apps,
    rules,
    limiter,
  }: {
    apps: Record<string, IssuerKind>;
    rules: readonly Rule[];
    limiter?: Limiter;
  }): Promise<Guarded> {
    const world = await World.started({ apps });
    const { clock, broker: registry } = world;
    const faults: unknown[] = [];
    const report = (error: unknown) => void faults.push(error);
    const pause = takingTurns();
    const { access, audit, credentials } = accessOf(clock, rules, { pause, ...(limiter && { limiter }) });
    const listen = { listen: '127.0.0.1:0' };
    const text = JSON.stringify({ grpc: listen, http: listen, apps: [{ app_id: 'wxc', secret: 's' }] });
    const config = await loadConfig('config', {}, { read: async () => text });
    const metrics = createMetrics({
      states: () => registry.states(),
      watchers: () => registry.watchers,
      cluster: () => undefined,
      now: () => clock.now(),
    });
    const sent = { sent: { messageId: '1', rid: 'r' }, replayed: false };
    const send = async ({ appId }: Message) => {
      registry.requireApp(appId);
      return sent;
    };
    const never = () => expect.fail('it is not asked for');
    const sender = { send, tryAgain: () => {}, shutChannels: () => [] } as never;
    const ticket = { value: 'ticket', id: 'id', issueTime: 0, expireTime: 1 };
    const get = (appId: string) => {
      registry.requireApp(appId);
      return ticket;
    };
    const end = { replica: undefined, start: never, stop: never };
    const timeline = new Timeline(clock);
    const core = { registry, clock, timeline, cluster: undefined, sender, tickets: { get } as never, ...end };
    const { ledger } = storeIn(openMemory(), 'memory:');
    const parts = { config, metrics, access, audit, pause, report };
    const draining = new AbortController().signal;
    const services = createServices({ ...parts, core, ledger, onDeposit: undefined, draining });
    const listeners = await startListeners({
      ...parts,
      clock,
      services,
      states: () => registry.states(),
      logger: createLogger({ level: 'silent' }),
      authenticate: authenticateBy(credentials),
    });
    return new Guarded({ world, listeners, access, audit, credentials, faults });
  }

  async stop(): Promise<void> {
    await this.listeners.stop();
    await this.world.broker.stop();
    expect(this.faults).toEqual([]);
  }
}

function authenticateBy(credentials: FakeCredentials): Authenticate {
  const find = (name: string | undefined): Principal => {
    if (!name) throw credentialsError('CREDENTIALS_MISSING');
    const principal = caller(name);
    const fault = credentials.fault(principal);
    if (fault) throw credentialsError(fault);
    return principal;
  };
  return ({ headers }) => {
    const name = headers[WHO] && String(headers[WHO]);
    return headers[LATER] ? Promise.resolve().then(() => find(name)) : find(name);
  };
}
