import { describe, expect, test } from 'vitest';
import type { MessageEvent } from '../../src/core/messages/events.ts';
import { createLogger } from '../../src/ops/log.ts';
import { logMessageEvent } from '../../src/ops/message-log.ts';
import { createMetrics } from '../../src/ops/metrics.ts';
import { FakeClock } from '../support/clock.ts';

const wx1 = { appId: 'wx1', channel: 'subscribe' } as const;

/** Each event, the series that it counts in, and its line in the log. */
const EVENTS: readonly (readonly [MessageEvent, string | null, Record<string, unknown>])[] = [
  [
    { type: 'message_sent', ...wx1, arrived: false, durationMs: 12.4 },
    'lingpai_messages_total{app_id="wx1",channel="subscribe",outcome="sent",reason=""} 1',
    { level: 'debug', msg: 'message sent', channel: 'subscribe', arrived: false, duration_ms: 12 },
  ],
  [
    { type: 'message_refused', ...wx1, reason: 'DATA_INVALID', errcode: 47003, kept: true, durationMs: 1 },
    'lingpai_messages_total{app_id="wx1",channel="subscribe",outcome="refused",reason="DATA_INVALID"} 1',
    { level: 'info', msg: 'message refused', reason: 'DATA_INVALID', errcode: 47003, kept: true, duration_ms: 1 },
  ],
  [
    { type: 'message_refused', ...wx1, reason: 'SEND_LIMIT_EXCEEDED', errcode: null, kept: false, durationMs: 0 },
    'lingpai_messages_total{app_id="wx1",channel="subscribe",outcome="refused",reason="SEND_LIMIT_EXCEEDED"} 1',
    { level: 'debug', msg: 'message refused', reason: 'SEND_LIMIT_EXCEEDED', errcode: null },
  ],
  [
    { type: 'message_unknown', ...wx1, durationMs: 5_000 },
    'lingpai_messages_total{app_id="wx1",channel="subscribe",outcome="unknown",reason=""} 1',
    { level: 'warn', msg: 'fate of a message unknown', duration_ms: 5_000 },
  ],
  [
    { type: 'message_replayed', ...wx1, outcome: 'sent' },
    'lingpai_messages_total{app_id="wx1",channel="subscribe",outcome="replayed",reason=""} 1',
    { level: 'debug', msg: 'outcome of a message answered again', outcome: 'sent' },
  ],
  [
    { type: 'message_retried', ...wx1, step: 'refresh', reason: 'TOKEN_REFUSED' },
    'lingpai_message_retries_total{app_id="wx1",channel="subscribe",step="refresh"} 1',
    { level: 'info', msg: 'message tried again', step: 'refresh', reason: 'TOKEN_REFUSED' },
  ],
  [
    { type: 'breaker_opened', ...wx1, reason: 'MINUTE_QUOTA_EXHAUSTED', forMs: 30_000.4 },
    'lingpai_channel_closed{app_id="wx1",channel="subscribe"} 1',
    { level: 'warn', msg: 'channel closed', reason: 'MINUTE_QUOTA_EXHAUSTED', for_ms: 30_000 },
  ],
  [
    { type: 'breaker_to_probe', ...wx1 },
    'lingpai_channel_closed{app_id="wx1",channel="subscribe"} 0',
    { level: 'info', msg: 'closed channel to be tried again', channel: 'subscribe' },
  ],
  [
    { type: 'breaker_closed', ...wx1 },
    'lingpai_channel_closed{app_id="wx1",channel="subscribe"} 0',
    { level: 'info', msg: 'channel opened', channel: 'subscribe' },
  ],
  [
    { type: 'ledger_failed', appId: 'wx1', operation: 'settle', error: new Error('disk full'), retryInMs: 999.6 },
    'lingpai_ledger_failures_total{app_id="wx1",operation="settle"} 1',
    { level: 'error', msg: 'ledger write failed', operation: 'settle', error: 'disk full', retry_in_ms: 1_000 },
  ],
  [
    { type: 'ledger_failed', appId: 'wx1', operation: 'lookup', error: new Error('gone'), retryInMs: null },
    'lingpai_ledger_failures_total{app_id="wx1",operation="lookup"} 1',
    { level: 'error', msg: 'ledger read failed', operation: 'lookup', error: 'gone', retry_in_ms: null },
  ],
  [{ type: 'ledger_recovered', appId: 'wx1' }, null, { level: 'info', msg: 'ledger write succeeded again' }],
];

function setup(appIds: string[] = ['wx1']) {
  const clock = new FakeClock();
  const states = () => appIds.map((appId) => ({ appId }) as never);
  const metrics = createMetrics({ states, watchers: () => 0, cluster: () => undefined, now: () => clock.now() });
  const samples = async (part: string) =>
    new TextDecoder()
      .decode(await metrics.text())
      .split('\n')
      .filter((line) => line.startsWith('lingpai_') && line.includes(part));
  return { clock, metrics, samples };
}

test.each(EVENTS)('%# is counted', async (event, series) => {
  const { metrics, samples } = setup();
  metrics.messages.observe(event);
  if (series === null) expect((await samples('_total{app_id')).filter((line) => !line.endsWith(' 0'))).toEqual([]);
  else expect(await samples(series)).toEqual([series]);
});

test.each(EVENTS)('%# is logged', (event, _, line) => {
  const written: string[] = [];
  const logger = createLogger({ level: 'debug', destination: { write: (text) => void written.push(text) } });
  logMessageEvent(logger, event);
  expect(JSON.parse(written[0] ?? '')).toMatchObject({ app_id: 'wx1', ...line });
});

describe('metrics of messages', () => {
  test('how long they took, by channel and outcome', async () => {
    const { metrics, samples } = setup();
    metrics.messages.observe({ type: 'message_sent', ...wx1, arrived: false, durationMs: 40 });
    const [line] = await samples('lingpai_send_duration_seconds_bucket{channel="subscribe",outcome="sent",le="0.05"}');
    expect(line).toMatch(/ 1$/);
    expect(await samples('outcome="sent",le="0.025"')).toEqual([expect.stringMatching(/ 0$/)]);
  });

  test('how many are in progress', async () => {
    const { metrics, samples } = setup();
    const { promise, reject } = Promise.withResolvers<void>();
    const tracked = metrics.messages.track(promise);
    expect(await samples('in_progress')).toEqual(['lingpai_messages_in_progress 1']);
    reject(new Error('refused'));
    await expect(tracked).rejects.toThrow('refused');
    expect(await samples('in_progress')).toEqual(['lingpai_messages_in_progress 0']);
  });

  test('a closed channel opens when its time is over', async () => {
    const { clock, metrics, samples } = setup();
    metrics.messages.observe({ type: 'breaker_opened', ...wx1, reason: 'ACCOUNT_CLOSED', forMs: 30_000 });
    await clock.advance(29_999);
    expect(await samples('channel_closed')).toEqual([expect.stringMatching(/ 1$/)]);
    await clock.advance(1);
    expect(await samples('channel_closed')).toEqual([expect.stringMatching(/ 0$/)]);
  });

  test('series of an app that is gone vanish', async () => {
    const apps = ['wx1'];
    const { metrics, samples } = setup(apps);
    for (const [event] of EVENTS) metrics.messages.observe(event);
    expect((await samples('app_id="wx1"')).length).toBeGreaterThan(5);
    apps.pop();
    expect(await samples('app_id="wx1"')).toEqual([]);
  });
});
