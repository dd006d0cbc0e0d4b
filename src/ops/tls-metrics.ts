import { Counter, Gauge, type Registry } from 'prom-client';

/** What is counted of TLS. */
export interface TlsMetrics {
  /** The certificate that is served from now on expires then, in wall-clock milliseconds since 1970. */
  expires(time: number): void;
  /** Files that had changed were taken into use, or could not be. */
  reloaded(result: 'ok' | 'failed'): void;
}

/** Registers the metrics of TLS. `now` is the wall-clock time in milliseconds. */
export function registerTlsMetrics(registry: Registry, now: () => number): TlsMetrics {
  const registers = [registry];
  const reloads = new Counter({
    name: 'lingpai_tls_reloads_total',
    help: 'Changed certificates, keys or client CAs that were taken into use (ok), or could not be (failed).',
    labelNames: ['result'],
    registers,
  });
  for (const result of ['ok', 'failed']) reloads.inc({ result }, 0);
  let expireTime: number | undefined;
  new Gauge({
    name: 'lingpai_tls_certificate_expires_seconds',
    help: 'Seconds until the certificate that is served expires; 0 when it has. There is none without TLS.',
    registers,
    // Without labels a gauge would be 0 from the start.
    labelNames: ['_'],
    collect() {
      if (expireTime !== undefined) this.set({}, Math.max(0, expireTime - now()) / 1000);
    },
  });
  return {
    expires(time) {
      expireTime = time;
    },
    reloaded: (result) => reloads.inc({ result }),
  };
}
