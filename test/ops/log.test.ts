import { describe, expect, test } from 'vitest';
import { LingpaiError, UpstreamError } from '../../src/core/kernel/errors.ts';
import type { BrokerEvent } from '../../src/core/tokens/events.ts';
import { createLogger, errorFields, type LogLevel, LogLines, logEvent, onLinesLost } from '../../src/ops/log.ts';
import { FakeClock } from '../support/clock.ts';

/** A logger and the lines that it wrote. */
function setup(level: LogLevel = 'debug') {
  const written: string[] = [];
  const logger = createLogger({ level, destination: { write: (line) => void written.push(line) } });
  return { logger, written, lines: () => written.map((line) => JSON.parse(line)) };
}

const refused = new UpstreamError('WeChat refuses this address; add 203.0.113.7 to the IP allow-list.', {
  reason: 'IP_NOT_ALLOWED',
  recovery: { kind: 'pause', ms: 300_000 },
  effect: 'refused',
  answer: { errcode: 40164, errmsg: 'invalid ip 203.0.113.7', rid: '66000000-1a2b3c4d-5e6f7a8b' },
});
const stopping = new LingpaiError('The broker is stopping.', { reason: 'DRAINING', cause: new Error('inner') });
const diskFull = Object.assign(new Error('database or disk is full'), { code: 'ERR_SQLITE_ERROR', sql: 'SECRET' });
const app = { appId: 'wx1' };

describe('logEvent', () => {
  test.each<[BrokerEvent, Record<string, unknown>]>([
    [
      { type: 'rotated', ...app, generation: 7, tokenId: 'abc', cause: 'report', durationMs: 12.6, storedAfterMs: 1 },
      {
        level: 'info',
        msg: 'token rotated',
        app_id: 'wx1',
        generation: 7,
        token_id: 'abc',
        cause: 'report',
        duration_ms: 13,
      },
    ],
    [
      { type: 'probes_unanswered', ...app, error: refused },
      {
        level: 'warn',
        msg: 'probes get no verdict',
        app_id: 'wx1',
        ...errorFields(refused),
        advice: expect.stringContaining('get_api_domain_ip'),
      },
    ],
    [
      { type: 'secret_tried', ...app, result: 'accepted', error: undefined },
      { level: 'info', msg: 'changed secret accepted', app_id: 'wx1' },
    ],
    [
      { type: 'secret_tried', ...app, result: 'refused', error: refused },
      { level: 'error', msg: 'changed secret refused', app_id: 'wx1', ...errorFields(refused) },
    ],
    [
      { type: 'secret_tried', ...app, result: 'unknown', error: refused },
      { level: 'warn', msg: 'changed secret could not be tried', app_id: 'wx1', ...errorFields(refused) },
    ],
    [
      { type: 'unchanged', ...app, cause: 'scheduled', durationMs: 3 },
      { level: 'debug', msg: 'token unchanged', app_id: 'wx1', cause: 'scheduled', duration_ms: 3 },
    ],
    [
      { type: 'refresh_failed', ...app, cause: 'scheduled', durationMs: 3, error: refused, retryInMs: 299_999.7 },
      {
        level: 'warn',
        msg: 'refresh failed',
        app_id: 'wx1',
        cause: 'scheduled',
        duration_ms: 3,
        reason: 'IP_NOT_ALLOWED',
        error: 'WeChat refuses this address; add 203.0.113.7 to the IP allow-list.',
        errcode: 40164,
        errmsg: 'invalid ip 203.0.113.7',
        rid: '66000000-1a2b3c4d-5e6f7a8b',
        retry_in_ms: 300_000,
      },
    ],
    [
      { type: 'refresh_failed', ...app, cause: 'operator', durationMs: 0, error: stopping, retryInMs: null },
      {
        level: 'warn',
        msg: 'refresh failed',
        app_id: 'wx1',
        cause: 'operator',
        duration_ms: 0,
        reason: 'DRAINING',
        error: 'The broker is stopping.',
        retry_in_ms: null,
      },
    ],
    [
      { type: 'probed', ...app, tokenId: 'abc', cause: 'probe', verdict: 'accepted' },
      { level: 'debug', msg: 'token probed', app_id: 'wx1', token_id: 'abc', cause: 'canary', verdict: 'accepted' },
    ],
    [
      { type: 'probed', ...app, tokenId: 'abc', cause: 'report', verdict: 'rejected' },
      { level: 'info', msg: 'token probed', app_id: 'wx1', token_id: 'abc', cause: 'report', verdict: 'rejected' },
    ],
    [
      { type: 'force_refresh', ...app, result: 'REFRESHED' },
      { level: 'info', msg: 'force refresh', app_id: 'wx1', outcome: 'REFRESHED' },
    ],
    [
      { type: 'force_refresh', ...app, result: 'FAILED' },
      { level: 'debug', msg: 'force refresh', app_id: 'wx1', outcome: 'FAILED' },
    ],
    [
      { type: 'outside_mint', ...app, tokenId: 'abc' },
      { level: 'warn', msg: 'token replaced from outside', app_id: 'wx1', token_id: 'abc' },
    ],
    [
      { type: 'status', ...app, from: 'PENDING', to: 'FRESH', reason: '' },
      { level: 'info', msg: 'status changed', app_id: 'wx1', from: 'PENDING', to: 'FRESH', status_reason: '' },
    ],
    [
      { type: 'status', ...app, from: 'FRESH', to: 'DEGRADED', reason: 'why' },
      { level: 'warn', msg: 'status changed', app_id: 'wx1', from: 'FRESH', to: 'DEGRADED', status_reason: 'why' },
    ],
    [
      { type: 'status', ...app, from: 'DEGRADED', to: 'EXPIRED', reason: 'why' },
      { level: 'error', msg: 'status changed', app_id: 'wx1', from: 'DEGRADED', to: 'EXPIRED', status_reason: 'why' },
    ],
    [
      { type: 'store_failed', ...app, error: diskFull, retryInMs: 1000 },
      {
        level: 'error',
        msg: 'store write failed',
        app_id: 'wx1',
        code: 'ERR_SQLITE_ERROR',
        error: 'database or disk is full',
        retry_in_ms: 1000,
      },
    ],
    [
      { type: 'store_recovered', ...app },
      { level: 'info', msg: 'store write succeeded again', app_id: 'wx1' },
    ],
    [
      { type: 'app_added', ...app },
      { level: 'info', msg: 'app added', app_id: 'wx1' },
    ],
    [
      { type: 'app_changed', ...app },
      { level: 'info', msg: 'app changed', app_id: 'wx1' },
    ],
    [
      { type: 'app_removed', ...app },
      { level: 'info', msg: 'app removed', app_id: 'wx1' },
    ],
    [
      { type: 'store_away', error: diskFull, isNew: true },
      {
        level: 'error',
        msg: 'shared store does not answer',
        code: 'ERR_SQLITE_ERROR',
        error: 'database or disk is full',
      },
    ],
    [
      { type: 'store_went_back', changes: 7 },
      { level: 'warn', msg: 'shared store lost what it had taken', changes: 7 },
    ],
    [{ type: 'store_reached' }, { level: 'info', msg: 'shared store answers again' }],
    [
      { type: 'set_lost', ...app },
      { level: 'debug', msg: 'compare-and-set lost', app_id: 'wx1' },
    ],
    [
      { type: 'replica_died', replica: 'r2' },
      { level: 'warn', msg: 'replica fell silent', replica: 'r2' },
    ],
    [
      { type: 'adopted', ...app, generation: 7, tokenId: 'abc', delayMs: 3.4 },
      { level: 'info', msg: 'token adopted', app_id: 'wx1', generation: 7, token_id: 'abc', delay_ms: 3 },
    ],
    [
      { type: 'provisional', ...app, dueInMs: 180_000.2 },
      { level: 'warn', msg: 'token provisional', app_id: 'wx1', confirmed_in_ms: 180_000 },
    ],
    [
      { type: 'confirmed', ...app },
      { level: 'info', msg: 'token confirmed', app_id: 'wx1' },
    ],
    [
      { type: 'clock_jumped', byMs: -3_600_000.2 },
      { level: 'warn', msg: 'clock jumped', by_ms: -3_600_000 },
    ],
  ])('$type', (event, expected) => {
    const { logger, lines } = setup();
    logEvent(logger, event);
    expect(lines()).toEqual([{ ...expected, time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) }]);
  });
});

describe('createLogger', () => {
  test('writes one line of JSON each', () => {
    const { logger, written } = setup();
    logger.info({ grpc: '127.0.0.1:1' }, 'ready\nindeed');
    logger.warn('two');
    expect(written.map((line) => line.split('\n').length)).toEqual([2, 2]);
  });

  test('leaves out what is below its level', () => {
    const { logger, lines } = setup('warn');
    logger.info('one');
    logger.warn('two');
    expect(lines().map((line) => line.msg)).toEqual(['two']);
  });

  test.each(['secret', 'access_token', 'value', 'token', 'openid', 'touser', 'to_user'])(
    'P12: a field named %s is blanked, alone and in an object',
    (name) => {
      const { logger, written, lines } = setup();
      logger.info({ [name]: 'S3CR3T', nested: { [name]: 'S3CR3T' } }, 'oops');
      expect(written.join('')).not.toContain('S3CR3T');
      expect(lines()[0]).toMatchObject({ [name]: '[Redacted]', nested: { [name]: '[Redacted]' } });
    },
  );
});

describe('lines that nobody reads', () => {
  /** A log on an output that takes so many bytes. */
  function unread(room: number) {
    const clock = new FakeClock();
    const output = {
      room,
      text: '',
      most: 4_096,
      write(lines: Buffer, from: number) {
        const to = Math.min(lines.length, from + output.room);
        output.room -= to - from;
        output.text += lines.toString('utf8', from, to);
        return to;
      },
      close: async () => {},
    };
    const lines = new LogLines({ output, clock });
    const logger = createLogger({ level: 'info', destination: lines });
    return { clock, output, lines, logger };
  }

  test('wait, and are written in their order', async () => {
    const { clock, output, lines, logger } = unread(100);
    for (let i = 0; i < 50; i++) logger.info({ i }, 'one');
    expect(output.text.length).toBe(100);
    output.room = 1_000_000;
    await clock.advance(20);
    const written = output.text.trimEnd().split('\n');
    expect(written.map((line) => JSON.parse(line).i)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect([lines.lost, clock.pending]).toEqual([0, 0]);
  });

  test('are lost beyond 1 MiB, counted, and told of when somebody reads', async () => {
    const { clock, output, lines, logger } = unread(0);
    for (let i = 0; i < 10; i++) logger.info({ text: 'x'.repeat(300_000) }, 'long');
    const told: number[] = [];
    onLinesLost(logger, (count) => told.push(count));
    logger.info({ text: 'x'.repeat(300_000) }, 'long');
    expect([lines.lost, told]).toEqual([8, [7, 1]]);
    output.room = Number.POSITIVE_INFINITY;
    await clock.advance(20);
    const written = output.text.trimEnd().split('\n');
    expect(written.length).toBe(4);
    expect(JSON.parse(written.at(-1) ?? '')).toEqual({
      level: 'warn',
      time: new Date(clock.now()).toISOString(),
      lost: 8,
      msg: 'log lines lost',
    });
    logger.info('again');
    expect(output.text).toContain('again');
  });

  test('are written as the process ends, as far as they are taken', () => {
    const { output, lines, logger } = unread(0);
    logger.info('last');
    expect(lines.flush()).toBe(false);
    output.room = 1_000_000;
    expect(lines.flush()).toBe(true);
    expect(output.text).toContain('last');
  });

  test('do not hold a process that ends where there is nobody to read', () => {
    const { output, lines, logger } = unread(0);
    output.write = () => {
      throw new Error('EPIPE');
    };
    logger.info('last');
    expect(lines.flush()).toBe(true);
  });
});

test('P12: errorFields gives words and codes of an error, never what hangs on it', () => {
  const error = Object.assign(new Error('failed'), { code: 'E1', request: 'S3CR3T', cause: new Error('S3CR3T') });
  expect(errorFields(error)).toEqual({ code: 'E1', error: 'failed' });
  expect(errorFields(Object.assign(new Error('failed'), { code: { secret: 'S3CR3T' } }))).toEqual({ error: 'failed' });
  expect(errorFields('S3CR3T')).toEqual({ error: 'not an Error' });
  expect(errorFields(undefined)).toEqual({ error: 'not an Error' });
});
