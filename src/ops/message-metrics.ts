import { Gauge, type Registry } from 'prom-client';
import type { Reason } from '../core/kernel/errors.ts';
import type { MessageEvent } from '../core/messages/events.ts';
import type { Channel } from '../core/messages/message.ts';
import { AppCounter } from './app-counter.ts';
import { registerHistogram } from './histogram.ts';

/** What is counted of messages. No label ever holds an openid, a template, a key or content. */
export interface MessageMetrics {
  /** Counts an event. */
  observe(event: MessageEvent): void;
  /** Counts a message as in progress until the promise settles; returns the promise. */
  track<T>(message: Promise<T>): Promise<T>;
  /** Drops the series of every other app out of the registry. */
  keepOnly(appIds: ReadonlySet<string>): void;
  /** The counters by app, which are not in the registry. */
  readonly perApp: readonly AppCounter[];
}

/** Seconds. A replay takes a millisecond; a message that waits for its turn may take minutes. */
const SEND_BOUNDS = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

const CHANNELS: readonly Channel['kind'][] = ['mini_program', 'subscribe', 'official_account', 'subscription_notice'];
const OPERATIONS: readonly Extract<MessageEvent, { type: 'ledger_failed' }>['operation'][] = [
  'begin',
  'lookup',
  'redraw',
  'settle',
];

/** The refusals that stop more than the one message. */
const STOPPING: readonly Reason[] = [
  'DAILY_QUOTA_EXHAUSTED',
  'SEND_QUOTA_EXHAUSTED',
  'SEND_LIMIT_EXCEEDED',
  'ACCOUNT_CLOSED',
  'INTERFACE_NOT_GRANTED',
  'LEDGER_UNAVAILABLE',
  'TOKEN_REFUSED',
];

/**
 * Registers the metrics of messages. `now` is the wall-clock time in milliseconds. Each app begins with 8 series at 0 (messages of
 * unknown fate by channel, failures of the ledger by operation), and each channel that it uses with 10 more (every outcome, and
 * the refusals that stop more than one message). What WeChat says of a single message comes when it is first counted.
 */
export function registerMessageMetrics(registry: Registry, now: () => number): MessageMetrics {
  const registers = [registry];
  const messages = new AppCounter({
    name: 'lingpai_messages_total',
    help: 'Messages, by what became of them: sent, refused (by whom and why: the reason), unknown, or replayed to a repeated key.',
    labelNames: ['channel', 'outcome', 'reason'],
    starts: CHANNELS.map((channel) => [channel, 'unknown', '']),
  });
  const retries = new AppCounter({
    name: 'lingpai_message_retries_total',
    help: 'Attempts that failed and were followed by another: retry (WeChat was busy), refresh (the token), redraw (the permit), repeat (no answer).',
    labelNames: ['channel', 'step'],
    starts: [],
  });
  const ledgerFailures = new AppCounter({
    name: 'lingpai_ledger_failures_total',
    help: 'Calls of the ledger that failed, by operation; those that settle a message are retried.',
    labelNames: ['operation'],
    starts: OPERATIONS.map((operation) => [operation]),
  });
  const durations = registerHistogram(registry, {
    name: 'lingpai_send_duration_seconds',
    help: 'From when a message came until its outcome was durable, waiting for its turn included.',
    labelNames: ['channel', 'outcome'],
    bounds: SEND_BOUNDS,
  });
  let inProgress = 0;
  new Gauge({
    name: 'lingpai_messages_in_progress',
    help: 'Messages that are not answered yet: they wait for their turn or are on their way.',
    registers,
    collect() {
      this.set(inProgress);
    },
  });
  /** When each closed channel opens again, by app and channel. */
  const closed = new Map<string, { appId: string; channel: string; until: number }>();
  new Gauge({
    name: 'lingpai_channel_closed',
    help: '1 while messages of an app and channel are refused at once (a quota is spent, an account or interface closed).',
    labelNames: ['app_id', 'channel'],
    registers,
    collect() {
      this.reset();
      for (const { appId, channel, until } of closed.values())
        this.set({ app_id: appId, channel }, until > now() ? 1 : 0);
    },
  });
  const perApp = [messages, retries, ledgerFailures];

  function use({ appId, channel }: { appId: string; channel: string }): void {
    const outcomes = ['sent', 'unknown', 'replayed'].map((outcome) => [channel, outcome, '']);
    messages.begin(appId, [...outcomes, ...STOPPING.map((reason) => [channel, 'refused', reason])]);
  }

  function ended(event: { appId: string; channel: string; durationMs: number }, outcome: string, reason = ''): void {
    use(event);
    messages.inc(event.appId, event.channel, outcome, reason);
    durations.series(event.channel, outcome).observe(event.durationMs);
  }

  return {
    observe(event) {
      switch (event.type) {
        case 'message_sent':
          ended(event, 'sent');
          break;
        case 'message_refused':
          ended(event, 'refused', event.reason);
          break;
        case 'message_unknown':
          ended(event, 'unknown');
          break;
        case 'message_replayed':
          use(event);
          messages.inc(event.appId, event.channel, 'replayed', '');
          break;
        case 'message_retried':
          retries.inc(event.appId, event.channel, event.step);
          break;
        case 'breaker_opened': {
          const { appId, channel, forMs } = event;
          closed.set(`${appId} ${channel}`, { appId, channel, until: now() + forMs });
          break;
        }
        case 'breaker_to_probe':
        case 'breaker_closed':
          closed.set(`${event.appId} ${event.channel}`, { ...event, until: 0 });
          break;
        case 'ledger_failed':
          ledgerFailures.inc(event.appId, event.operation);
          break;
      }
    },

    track(message) {
      inProgress++;
      return message.finally(() => inProgress--);
    },

    keepOnly(appIds) {
      for (const [name, { appId }] of closed) if (!appIds.has(appId)) closed.delete(name);
    },

    perApp,
  };
}
