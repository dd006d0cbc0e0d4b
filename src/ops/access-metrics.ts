import { Counter, Gauge, type Registry } from 'prom-client';
import type { Method, Principal } from '../core/access/principal.ts';
import { VERBS, type Verb } from '../core/access/verbs.ts';
import { CallerLabels } from './caller-labels.ts';

/** A key of the key file. */
export interface KnownKey {
  /** `key:NAME`. */
  readonly caller: string;
  /** 12 hex digits of the SHA-256 of the key. */
  readonly id: string;
  /** In wall-clock milliseconds; null: it never expires. */
  readonly expireTime: number | null;
}

/** What is counted of callers. A label is an entry of `who`, or a key of the key file: nobody who calls chooses one. */
export interface AccessMetrics {
  /** Takes the entries of `who` and the keys that are configured now. The series of others vanish. */
  configure(who: Iterable<string>, keys: Iterable<KnownKey>): void;
  /** Counts a call whose caller was believed. */
  believed(principal: Principal): void;
  /** Counts one whose caller was not. `method`: how they tried; `none`: not at all. `busy`: nobody looked. */
  refused(method: Exclude<Method, 'local'> | 'none', result: Refused): void;
  /** Counts a call that no rule allows. */
  denied(caller: string, verb: Verb): void;
  /** Counts a call that was beyond its caller's limits. */
  limited(caller: string): void;
  /** Counts lines of the audit log that are lost. */
  auditLost(lines: number): void;
}

type Refused = 'missing' | 'invalid' | 'expired' | 'busy';
type Result = 'ok' | Refused;

/**
 * Registers the metrics of callers. `now` is the wall-clock time in milliseconds. Each entry of `who` begins with 7 series at 0:
 * calls that were denied, by verb, and calls beyond its limits.
 */
export function registerAccessMetrics(registry: Registry, now: () => number): AccessMetrics {
  const registers = [registry];
  const labels = new CallerLabels();
  const keys = new Map<string, KnownKey>();
  const usedAt = new Map<string, number>();

  /** How often each came, by method and result. Every call counts one: it is to cost less than hashing labels. */
  const attempts = new Map<string, Map<Result, number>>();
  new Counter({
    name: 'lingpai_authentications_total',
    help: 'Calls by how their callers were known (key, certificate, token; local: nobody is asked; none: they had no credential) and what came of it: ok, missing, invalid, expired, or busy where nobody could look.',
    labelNames: ['method', 'result'],
    registers,
    collect() {
      this.reset();
      for (const [method, results] of attempts)
        for (const [result, count] of results) this.inc({ method, result }, count);
    },
  });
  const attempt = (method: string, result: Result, by = 1) => {
    const results = attempts.get(method) ?? new Map<Result, number>();
    attempts.set(method, results.set(result, (results.get(result) ?? 0) + by));
  };
  attempt('none', 'missing', 0);
  for (const method of ['key', 'certificate', 'token'])
    for (const result of ['ok', 'invalid', 'expired'] as const) attempt(method, result, 0);

  const denials = new Counter({
    name: 'lingpai_access_denied_total',
    help: 'Calls that no rule allows, by the entry of `who` that names the caller (or other) and the verb.',
    labelNames: ['caller', 'verb'],
    registers,
  });
  const limits = new Counter({
    name: 'lingpai_caller_limited_total',
    help: 'Calls beyond the limits of their caller, by the entry of `who` that names it (or other).',
    labelNames: ['caller'],
    registers,
  });
  new Gauge({
    name: 'lingpai_key_last_used_timestamp_seconds',
    help: 'When a key was last used here, in seconds since 1970; no series: not since this process started.',
    labelNames: ['caller', 'key_id'],
    registers,
    collect() {
      this.reset();
      for (const { caller, id } of keys.values()) {
        const at = usedAt.get(id);
        if (at !== undefined) this.set({ caller, key_id: id }, at / 1000);
      }
    },
  });
  new Gauge({
    name: 'lingpai_key_expires_seconds',
    help: 'Seconds until a key expires; 0 when it has; no series: it never does.',
    labelNames: ['caller', 'key_id'],
    registers,
    collect() {
      this.reset();
      for (const { caller, id, expireTime } of keys.values())
        if (expireTime !== null) this.set({ caller, key_id: id }, secondsUntil(expireTime));
    },
  });
  const lost = new Counter({
    name: 'lingpai_audit_lost_total',
    help: 'Lines of the audit log that were lost, since they could not be written.',
    registers,
  });
  const secondsUntil = (time: number) => Math.max(0, time - now()) / 1000;

  let callers: readonly string[] = [];
  const begin = (who: readonly string[]) => {
    for (const caller of who) {
      for (const verb of VERBS) denials.inc({ caller, verb }, 0);
      limits.inc({ caller }, 0);
    }
  };
  begin([CallerLabels.OTHER]);

  return {
    configure(who, known) {
      const next = [...new Set(who)];
      for (const caller of callers.filter((each) => !next.includes(each))) {
        for (const verb of VERBS) denials.remove({ caller, verb });
        limits.remove({ caller });
      }
      callers = next;
      labels.configure(next);
      begin(next);
      keys.clear();
      for (const key of known) keys.set(key.id, key);
      for (const id of usedAt.keys()) if (!keys.has(id)) usedAt.delete(id);
    },

    believed({ method, credentialId }) {
      attempt(method, 'ok');
      if (method === 'key' && credentialId !== null && keys.has(credentialId)) usedAt.set(credentialId, now());
    },

    refused: (method, result) => attempt(method, result),

    denied: (caller, verb) => denials.inc({ caller: labels.of(caller), verb }),

    limited: (caller) => limits.inc({ caller: labels.of(caller) }),

    auditLost: (lines) => lost.inc(lines),
  };
}
