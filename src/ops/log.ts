import pino from 'pino';
import { LingpaiError, UpstreamError } from '../core/kernel/errors.ts';
import type { BrokerEvent } from '../core/tokens/events.ts';
import type { Status } from '../core/tokens/state.ts';
import { PROBE_MUST_PASS } from '../core/tokens/token-health.ts';
import type { TrialResult } from '../core/tokens/trial.ts';
import { causeLabel } from './cause.ts';
import { systemClock } from './clock.ts';
import { LineWriter, type LineWriterOptions } from './line-writer.ts';
import { standardOutput } from './standard-output.ts';

/** What the log writes through: constant messages, data in fields named in snake_case. */
export type Logger = pino.Logger;

/** How much is logged. `debug` adds each probe, each read that changed nothing and each forced refresh. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Nobody logs these fields. Should somebody begin to, their content still stays out. */
const SECRET_FIELDS = ['secret', 'access_token', 'value', 'token', 'openid', 'touser', 'to_user'];

/** Lines that wait while nobody reads. */
const MAX_BYTES = 1024 * 1024;
/** How long a process that ends waits for somebody to read its last lines. */
const LAST_MS = 500;

/** Writes the lines of a log, without making anybody wait. */
export class LogLines implements pino.DestinationStream {
  readonly #lines: LineWriter;
  /** How many were lost, since nobody read them. */
  lost = 0;
  /** Told of lines that were lost. */
  onLost: (lines: number) => void = () => {};

  constructor(options: Pick<LineWriterOptions, 'output' | 'clock'>) {
    this.#lines = new LineWriter({
      ...options,
      maxBytes: MAX_BYTES,
      lostLine: ({ count }) => `${JSON.stringify(lostFields(count, options.clock.now()))}\n`,
      onLost: (lines) => {
        this.lost += lines;
        this.onLost(lines);
      },
    });
  }

  write(line: string): void {
    this.#lines.write(line);
  }

  /** Writes what waits as far as it is taken at once. False: more may be taken in a moment. */
  flush(): boolean {
    return this.#lines.flush();
  }
}

function lostFields(lost: number, now: number) {
  return { level: 'warn', time: new Date(now).toISOString(), lost, msg: 'log lines lost' };
}

/** Told how many lines of a logger were lost, and of each that is from now on. */
export function onLinesLost(logger: Logger, told: (lines: number) => void): void {
  const lines: unknown = Reflect.get(logger, pino.symbols.streamSym);
  if (!(lines instanceof LogLines)) return;
  told(lines.lost);
  lines.onLost = told;
}

/** A process has one standard output. Lines that nobody reads do not keep it from ending. */
let standard: LogLines | undefined;
function standardLines(): LogLines {
  if (standard) return standard;
  const schedule = (ms: number, fn: () => void) => {
    const timeout = setTimeout(fn, ms).unref();
    return { cancel: () => clearTimeout(timeout) };
  };
  const lines = new LogLines({ output: standardOutput(), clock: { ...systemClock, schedule } });
  process.once('exit', () => {
    const since = performance.now();
    const pause = new Int32Array(new SharedArrayBuffer(4));
    while (!lines.flush() && performance.now() - since < LAST_MS) Atomics.wait(pause, 0, 0, 10);
  });
  standard = lines;
  return lines;
}

/**
 * A logger of JSON lines: `level` in words, `time` in ISO 8601, `msg`. Standard output is the default, written at once: a line that
 * was logged before a crash is there. Where nobody reads it lines wait, up to 1 MiB, and then they are lost and counted.
 */
export function createLogger(options: { level: LogLevel; destination?: pino.DestinationStream }): Logger {
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: [...SECRET_FIELDS, ...SECRET_FIELDS.map((field) => `*.${field}`)],
    },
    options.destination ?? standardLines(),
  );
}

const STATUS_LEVEL = { PENDING: 'info', FRESH: 'info', DEGRADED: 'warn', EXPIRED: 'error' } as const satisfies Record<
  Status,
  LogLevel
>;

/** Writes one line for an event of the broker. */
export function logEvent(logger: Logger, event: BrokerEvent): void {
  const [level, message, fields] = lineOf(event);
  logger[level](fields, message);
}

const SECRET_TRIED = {
  accepted: ['info', 'changed secret accepted'],
  refused: ['error', 'changed secret refused'],
  unknown: ['warn', 'changed secret could not be tried'],
} as const satisfies Record<TrialResult, readonly [LogLevel, string]>;

type Line = readonly [Exclude<LogLevel, 'silent'>, message: string, fields: Record<string, unknown>];

function lineOf(event: BrokerEvent): Line {
  switch (event.type) {
    case 'rotated': {
      const { appId, generation, tokenId, cause, durationMs } = event;
      const fields = {
        app_id: appId,
        generation,
        token_id: tokenId,
        cause: causeLabel(cause),
        duration_ms: round(durationMs),
      };
      return ['info', 'token rotated', fields];
    }
    case 'unchanged': {
      const { appId, cause, durationMs } = event;
      return ['debug', 'token unchanged', { app_id: appId, cause: causeLabel(cause), duration_ms: round(durationMs) }];
    }
    case 'refresh_failed': {
      const { appId, cause, durationMs, error, retryInMs } = event;
      const fields = { app_id: appId, cause: causeLabel(cause), duration_ms: round(durationMs), ...errorFields(error) };
      return ['warn', 'refresh failed', { ...fields, retry_in_ms: round(retryInMs) }];
    }
    case 'probed': {
      const { appId, tokenId, cause, verdict } = event;
      const level = verdict === 'rejected' ? 'info' : 'debug';
      return [level, 'token probed', { app_id: appId, token_id: tokenId, cause: causeLabel(cause), verdict }];
    }
    case 'probes_unanswered': {
      const { appId, error } = event;
      return ['warn', 'probes get no verdict', { app_id: appId, ...errorFields(error), advice: PROBE_MUST_PASS }];
    }
    case 'secret_tried': {
      const { appId, result, error } = event;
      return [...SECRET_TRIED[result], { app_id: appId, ...(error && errorFields(error)) }];
    }
    case 'force_refresh': {
      // Callers may ask a hundred times a second: only what asked WeChat for a token is worth a line.
      const level = event.result === 'REFRESHED' ? 'info' : 'debug';
      return [level, 'force refresh', { app_id: event.appId, outcome: event.result }];
    }
    case 'outside_mint':
      return ['warn', 'token replaced from outside', { app_id: event.appId, token_id: event.tokenId }];
    case 'status': {
      const { appId, from, to, reason } = event;
      return [STATUS_LEVEL[to], 'status changed', { app_id: appId, from, to, status_reason: reason }];
    }
    case 'store_failed': {
      const { appId, error, retryInMs } = event;
      const fields = { app_id: appId, ...errorFields(error), retry_in_ms: round(retryInMs) };
      return ['error', 'store write failed', fields];
    }
    case 'store_recovered':
      return ['info', 'store write succeeded again', { app_id: event.appId }];
    case 'app_added':
      return ['info', 'app added', { app_id: event.appId }];
    case 'app_changed':
      return ['info', 'app changed', { app_id: event.appId }];
    case 'app_removed':
      return ['info', 'app removed', { app_id: event.appId }];
    case 'store_away':
      return ['error', 'shared store does not answer', errorFields(event.error)];
    case 'store_reached':
      return ['info', 'shared store answers again', {}];
    case 'store_went_back':
      return ['warn', 'shared store lost what it had taken', { changes: event.changes }];
    case 'set_lost':
      return ['debug', 'compare-and-set lost', { app_id: event.appId }];
    case 'replica_died':
      return ['warn', 'replica fell silent', { replica: event.replica }];
    case 'adopted': {
      const { appId, generation, tokenId, delayMs } = event;
      return ['info', 'token adopted', { app_id: appId, generation, token_id: tokenId, delay_ms: round(delayMs) }];
    }
    case 'provisional':
      return ['warn', 'token provisional', { app_id: event.appId, confirmed_in_ms: round(event.dueInMs) }];
    case 'confirmed':
      return ['info', 'token confirmed', { app_id: event.appId }];
    case 'clock_jumped':
      return ['warn', 'clock jumped', { by_ms: round(event.byMs) }];
  }
}

/** What a line may say of an error: words and codes, never the object, which may hold what was sent. */
export function errorFields(error: unknown): Record<string, string | number> {
  if (error instanceof UpstreamError || error instanceof LingpaiError) {
    const { reason, message, answer } = error;
    return { reason, error: message, ...answer };
  }
  if (!(error instanceof Error)) return { error: 'not an Error' };
  const code = 'code' in error ? error.code : undefined;
  return { ...(typeof code === 'string' ? { code } : {}), error: error.message };
}

function round(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms);
}
