import { expect, test } from 'vitest';
import { LingpaiError, UpstreamError } from '../../src/core/kernel/errors.ts';
import type { TicketEvent } from '../../src/core/tickets/events.ts';
import { createLogger } from '../../src/ops/log.ts';
import { createMetrics } from '../../src/ops/metrics.ts';
import { logTicketEvent } from '../../src/ops/ticket-log.ts';

const wx1 = { appId: 'wx1', ticketType: 'jsapi' } as const;
const spent = new UpstreamError('spent', {
  reason: 'DAILY_QUOTA_EXHAUSTED',
  recovery: { kind: 'daily_quota' },
  effect: 'refused',
  answer: { errcode: 45009, errmsg: 'reach max', rid: 'r' },
});

/** Each event, the series that it counts in, and its line in the log. */
const EVENTS: readonly (readonly [TicketEvent, string | null, Record<string, unknown>])[] = [
  [
    { type: 'ticket_rotated', ...wx1, ticketId: 'abc', durationMs: 12.4 },
    '{app_id="wx1",type="jsapi",result="rotated"} 1',
    { level: 'info', msg: 'ticket rotated', ticket_id: 'abc', duration_ms: 12 },
  ],
  [
    { type: 'ticket_adopted', ...wx1, ticketId: 'abc' },
    '{app_id="wx1",type="jsapi",result="adopted"} 1',
    { level: 'info', msg: 'ticket adopted', ticket_id: 'abc' },
  ],
  [
    { type: 'ticket_token_refused', ...wx1, tokenId: 'def' },
    null,
    { level: 'info', msg: 'token refused for a ticket', token_id: 'def' },
  ],
  [
    { type: 'ticket_refresh_failed', ...wx1, durationMs: 1.2, error: spent, retryInMs: 900_000.4 },
    '{app_id="wx1",type="jsapi",result="failed"} 1',
    {
      level: 'warn',
      msg: 'ticket refresh failed',
      reason: 'DAILY_QUOTA_EXHAUSTED',
      errcode: 45009,
      rid: 'r',
      retry_in_ms: 900_000,
    },
  ],
  [
    {
      type: 'ticket_refresh_failed',
      ...wx1,
      durationMs: 1,
      error: new LingpaiError('away', { reason: 'STORE_UNAVAILABLE' }),
      retryInMs: 1_000,
    },
    '{app_id="wx1",type="jsapi",result="failed"} 1',
    { level: 'warn', msg: 'ticket refresh failed', reason: 'STORE_UNAVAILABLE', error: 'away' },
  ],
];

const state = (appId: string) =>
  ({ appId, generation: 0, current: null, previous: null, status: 'PENDING', statusReason: '' }) as never;

test.each(EVENTS)('%o', async (event, series, line) => {
  const lines: string[] = [];
  logTicketEvent(createLogger({ level: 'debug', destination: { write: (text) => void lines.push(text) } }), event);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ app_id: 'wx1', ticket_type: 'jsapi', ...line });
  const metrics = createMetrics({
    states: () => [state('wx1')],
    watchers: () => 0,
    cluster: () => undefined,
    now: () => 0,
  });
  metrics.tickets.observe(event);
  const text = new TextDecoder().decode(await metrics.text());
  const counted = text
    .split('\n')
    .filter((row) => row.startsWith('lingpai_ticket_refreshes_total{') && !row.endsWith(' 0'));
  expect(counted).toEqual(series === null ? [] : [`lingpai_ticket_refreshes_total${series}`]);
});

test('failures of a ticket begin at 0 with its first call', async () => {
  const metrics = createMetrics({
    states: () => [state('wx1')],
    watchers: () => 0,
    cluster: () => undefined,
    now: () => 0,
  });
  metrics.tickets.observe({ type: 'ticket_rotated', ...wx1, ticketId: 'abc', durationMs: 1 });
  expect(new TextDecoder().decode(await metrics.text())).toContain(
    'lingpai_ticket_refreshes_total{app_id="wx1",type="jsapi",result="failed"} 0\n',
  );
});

test('a ticket that is kept shows how long it lives yet, of apps that are configured', async () => {
  const ticket = { value: 'the-value', id: 'abc', issueTime: 0, expireTime: 7_200_000 };
  const metrics = createMetrics({
    states: () => [state('wx1')],
    tickets: () => [
      { appId: 'wx1', type: 'jsapi', ticket },
      { appId: 'wx1', type: 'wx_card', ticket: null },
      { appId: 'wxgone', type: 'jsapi', ticket },
    ],
    watchers: () => 0,
    cluster: () => undefined,
    now: () => 1_000,
  });
  const text = new TextDecoder().decode(await metrics.text());
  expect(text.split('\n').filter((row) => row.startsWith('lingpai_ticket_seconds_left{'))).toEqual([
    'lingpai_ticket_seconds_left{app_id="wx1",type="jsapi"} 7199',
    'lingpai_ticket_seconds_left{app_id="wx1",type="wx_card"} 0',
  ]);
  expect(text).not.toContain('the-value');
});
