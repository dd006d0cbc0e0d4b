import type { Clock, Timer } from '../kernel/clock.ts';
import { type AuditLine, about, type Counted, INVALID, looksLikeApp } from './audit-line.ts';
import type { Audit, AuditEvent } from './ports.ts';
import { Tallies } from './tallies.ts';

/** Where finished lines go. */
export interface AuditSink {
  write(line: AuditLine): void;
  readonly writable: boolean;
}

/** How long is counted before lines are written. */
const EVERY_MS = 60_000;
/** So many lines are handed out at a stretch: callers are answered in between. */
const STRETCH = 500;

/**
 * The audit log: makes lines of events. What happens often is counted for a minute and becomes one line: tokens that were
 * read, messages that were sent and calls of the gateway, by caller, credential, app and peer; refusals too, but the first one is told at once.
 * Everything else is a line of its own, at once. What it holds is bounded, whoever calls.
 */
export class AuditLog implements Audit {
  readonly #clock: Clock;
  readonly #sink: AuditSink;
  readonly #tallies: Readonly<Record<Counted['event'], Tallies>>;
  #apps: ReadonlySet<string> = new Set();
  #due: AuditLine[] = [];
  #timer: Timer | undefined;
  #isClosed = false;

  constructor({ clock, sink }: { readonly clock: Clock; readonly sink: AuditSink }) {
    this.#clock = clock;
    this.#sink = sink;
    const onFirst = (line: AuditLine) => sink.write(line);
    this.#tallies = {
      'token.read': new Tallies({ most: 10_000 }),
      'messages.sent': new Tallies({ most: 10_000 }),
      'gateway.called': new Tallies({ most: 10_000 }),
      'access.denied': new Tallies({ most: 2_000, onFirst }),
      'authn.failed': new Tallies({ most: 1_000, onFirst }),
    };
  }

  get writable(): boolean {
    return this.#sink.writable;
  }

  /** The ids of apps that stand in the configuration: lines have them, whatever they look like. */
  set apps(apps: ReadonlySet<string>) {
    this.#apps = apps;
  }

  record(told: AuditEvent): void {
    const event = this.#withoutSecrets(told);
    const now = this.#clock.now();
    switch (event.event) {
      case 'token.read':
      case 'messages.sent':
      case 'gateway.called':
      case 'access.denied':
      case 'authn.failed':
        this.#tallies[event.event].count(event, now);
        if (this.#isClosed) this.close();
        else this.#timer ??= this.#clock.schedule(EVERY_MS, () => this.#collect());
        break;
      default: {
        const count = event.event === 'store.resealed' ? event.count : 1;
        this.#sink.write({ ...about(event), count, first: now, last: now });
      }
    }
  }

  /** Hands out all that was counted. What is recorded afterwards is told at once. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const line of [...this.#due.splice(0), ...this.#lines()]) this.#sink.write(line);
  }

  /** What is no app's id by look or configuration is left out: it may be anything. A token that was read has a true one. */
  #withoutSecrets(event: AuditEvent): AuditEvent {
    if (event.event === 'token.read') return event;
    if ('appId' in event) return this.#isApp(event.appId) ? event : { ...event, appId: INVALID };
    if (!('appIds' in event) || event.appIds.every((appId) => this.#isApp(appId))) return event;
    return { ...event, appIds: event.appIds.map((appId) => (this.#isApp(appId) ? appId : INVALID)) };
  }

  #isApp(appId: string): boolean {
    return this.#apps.has(appId) || looksLikeApp(appId);
  }

  #lines(): AuditLine[] {
    return Object.values(this.#tallies).flatMap((tallies) => tallies.due());
  }

  #collect(): void {
    this.#due = this.#lines();
    this.#handOut();
  }

  #handOut(): void {
    for (const line of this.#due.splice(0, STRETCH)) this.#sink.write(line);
    if (this.#due.length > 0) this.#timer = this.#clock.schedule(0, () => this.#handOut());
    else this.#timer = this.#isIdle ? undefined : this.#clock.schedule(EVERY_MS, () => this.#collect());
  }

  get #isIdle(): boolean {
    return Object.values(this.#tallies).every(({ isEmpty }) => isEmpty);
  }
}
