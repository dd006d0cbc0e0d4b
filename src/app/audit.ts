import type { AuditConfig, Config } from '../config/config.ts';
import { accessRules } from '../config/exposure.ts';
import { AuditLog } from '../core/access/audit-log.ts';
import type { Audit } from '../core/access/ports.ts';
import type { AccessMetrics, KnownKey } from '../ops/access-metrics.ts';
import { fileOutput } from '../ops/audit-output.ts';
import { AuditWriter } from '../ops/audit-writer.ts';
import { systemClock } from '../ops/clock.ts';
import type { LineOutput } from '../ops/line-writer.ts';
import { errorFields, type Logger } from '../ops/log.ts';
import { standardOutput } from '../ops/standard-output.ts';
import { starting } from './start-error.ts';

/** The audit log of a broker. */
export interface AuditTrail extends Audit {
  /** A configuration is in use from now on, with these keys: says so, and which keys came and went since the one before. */
  loaded(config: Pick<Config, 'access' | 'apps'>, keys: readonly KnownKey[]): void;
  /** Writes all that is not written yet; within half a second. */
  close(): Promise<void>;
}

/** Opens the audit log where the configuration wants it. Rejects with a StartError that says what to do. */
export async function openAudit(
  to: AuditConfig,
  { logger, metrics }: { readonly logger: Logger; readonly metrics: Pick<AccessMetrics, 'configure' | 'auditLost'> },
): Promise<AuditTrail> {
  const output = await starting(outputOf(to));
  const { log, close } = output ? writing(output, logger, metrics) : NOWHERE;
  let before: ReadonlyMap<string, KnownKey> | undefined;
  return {
    record: (event) => log.record(event),
    get writable() {
      return log.writable;
    },
    loaded(config, keys) {
      const { apps } = config;
      const rules = accessRules(config)?.rules ?? [];
      log.apps = new Set([...apps.map(({ appId }) => appId), ...rules.flatMap((rule) => rule.apps)]);
      metrics.configure(
        rules.flatMap(({ who }) => who),
        keys,
      );
      log.record({ event: 'config.loaded', rules: rules.length, apps: apps.length });
      const now = new Map(keys.map((key) => [key.id, key]));
      if (before) {
        for (const { id, caller } of now.values())
          if (!before.has(id)) log.record({ event: 'key.added', caller, keyId: id });
        for (const { id, caller } of before.values())
          if (!now.has(id)) log.record({ event: 'key.revoked', caller, keyId: id });
      }
      before = now;
    },
    close,
  };
}

const NOWHERE = {
  log: { record() {}, writable: true, apps: new Set<string>() } satisfies Audit & Pick<AuditLog, 'apps'>,
  close: async () => {},
};

async function outputOf(to: AuditConfig): Promise<LineOutput | undefined> {
  if (to.to === 'file') return await fileOutput(to.path);
  return to.to === 'stdout' ? standardOutput() : undefined;
}

function writing(output: LineOutput, logger: Logger, metrics: Pick<AccessMetrics, 'auditLost'>) {
  const writer = new AuditWriter({
    output,
    clock: systemClock,
    onLost: metrics.auditLost,
    onTrouble(error) {
      const fields = error === undefined ? { error: 'nobody reads it' } : errorFields(error);
      logger.error(fields, 'audit log cannot be written; refreshes that name no token and admin calls are refused');
    },
    onRecovered: (lost) => logger.warn({ lost }, 'audit log is written again'),
  });
  const log = new AuditLog({ clock: systemClock, sink: writer });
  return {
    log,
    async close() {
      log.close();
      await writer.close();
    },
  };
}
