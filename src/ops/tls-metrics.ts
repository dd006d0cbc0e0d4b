import { Counter, Gauge, type Registry } from 'prom-client';

/** What is counted of TLS. */
export interface TlsMetrics {
  /** The certificate that is served from now on expires then, in wall-clock milliseconds since 1970. */
  expires(time: number): void;
  /** Files that had changed were taken into use, or could not be. */
  reloaded(result: 'ok' | 'failed'): void;
}

/** Registers the metrics of TLS. */
export function registerTlsMetrics(registry: Registry): TlsMetrics {
  const registers = [registry];
  const reloads = new Counter({
    name: 'lingpai_tls_reloads_total',
    help: 'Changed certificates, keys or client CAs that were taken into use (ok), or could not be (failed).',
    labelNames: ['result'],
    registers,
  });
  for (const result of ['ok', 'failed']) reloads.inc({ result }, 0);
  const expires = new Gauge({
    name: 'lingpai_tls_certificate_expires_seconds',
    help: 'When the certificate that is served expires, in seconds since 1970. There is none without TLS.',
    registers,
  });
  // Its 0 would be a certificate that expired in 1970.
  expires.remove();
  return {
    expires: (time) => expires.set(time / 1000),
    reloaded: (result) => reloads.inc({ result }),
  };
}
