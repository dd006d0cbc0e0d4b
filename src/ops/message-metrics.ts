import { Counter, Gauge, type Registry } from 'prom-client';
import type { MessageEvent } from '../core/messages/events.ts';
import { registerHistogram } from './histogram.ts';
import { keepOnlyApps } from './per-app.ts';

/** What is counted of messages. No label ever holds an openid, a template, a key or content. */
export interface MessageMetrics {
  /** Counts an event. */
  observe(event: MessageEvent): void;
  /** Counts a message as in progress until the promise settles; returns the promise. */
  track<T>(message: Promise<T>): Promise<T>;
  /** Drops the series of every other app. */
  keepOnly(appIds: ReadonlySet<string>): Promise<void>;
}

/** Seconds. A replay takes a millisecond; a message that waits for its turn may take minutes. */
const SEND_BOUNDS = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** Registers the metrics of messages. `now` is the wall-clock time in milliseconds. */
export function registerMessageMetrics(registry: Registry, now: () => number): MessageMetrics {
  const registers = [registry];
  const messages = new Counter({
    name: 'lingpai_messages_total',
    help: 'Messages, by what became of them: sent, refused (by whom and why: the reason), unknown, or replayed to a repeated key.',
    labelNames: ['app_id', 'channel', 'outcome', 'reason'],
    registers,
  });
  const retries = new Counter({
    name: 'lingpai_message_retries_total',
    help: 'Attempts that failed and were followed by another: retry (WeChat was busy), refresh (the token), redraw (the permit), repeat (no answer).',
    labelNames: ['app_id', 'channel', 'step'],
    registers,
  });
  const ledgerFailures = new Counter({
    name: 'lingpai_ledger_failures_total',
    help: 'Writes to the ledger that failed, by operation; those that settle a message are retried.',
    labelNames: ['app_id', 'operation'],
    registers,
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
  const perApp: readonly Counter[] = [messages, retries, ledgerFailures];

  function ended(event: { appId: string; channel: string; durationMs: number }, outcome: string, reason = ''): void {
    messages.inc({ app_id: event.appId, channel: event.channel, outcome, reason });
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
          messages.inc({ app_id: event.appId, channel: event.channel, outcome: 'replayed', reason: '' });
          break;
        case 'message_retried':
          retries.inc({ app_id: event.appId, channel: event.channel, step: event.step });
          break;
        case 'channel_closed': {
          const { appId, channel, forMs } = event;
          closed.set(`${appId} ${channel}`, { appId, channel, until: now() + forMs });
          break;
        }
        case 'channel_to_be_tried':
        case 'channel_opened':
          closed.set(`${event.appId} ${event.channel}`, { ...event, until: 0 });
          break;
        case 'ledger_failed':
          ledgerFailures.inc({ app_id: event.appId, operation: event.operation });
          break;
      }
    },

    track(message) {
      inProgress++;
      return message.finally(() => inProgress--);
    },

    async keepOnly(appIds) {
      for (const [name, { appId }] of closed) if (!appIds.has(appId)) closed.delete(name);
      await keepOnlyApps(perApp, appIds);
    },
  };
}
