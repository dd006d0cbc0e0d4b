import { isLoopback } from '../core/kernel/web.ts';
import type { Finding } from './access-files.ts';
import type { AccessConfig, Config } from './config.ts';
import type { Listen } from './listen.ts';

/** How callers are treated: all as `local`, since only this machine reaches the listeners; all alike, on purpose; by rules. */
export type AccessMode = 'local' | 'open' | 'rules';

/** How callers are treated by a configuration that was taken into use. */
export function accessMode({ access }: Pick<Config, 'access'>): AccessMode {
  if (access === null) return 'local';
  return access === 'open' ? 'open' : 'rules';
}

/** Who may do what, and how callers are known; null: nobody is asked, and everyone may do everything. */
export function accessRules({ access }: Pick<Config, 'access'>): AccessConfig | null {
  return access === 'open' ? null : access;
}

/** What is said of who may call, and where calls come from. */
export interface Exposure {
  /** The listeners by their settings. */
  readonly listeners: readonly { readonly setting: string; readonly listen: Listen }[];
  readonly tls: 'on' | 'off' | 'unsaid';
  readonly access: AccessMode;
}

/** The exposure of a whole configuration. */
export function exposureOf(config: Pick<Config, 'grpc' | 'http' | 'gateway' | 'tls' | 'access'>): Exposure {
  const { grpc, http, gateway, tls, access } = config;
  const listeners = [
    { setting: 'grpc.listen', listen: grpc },
    { setting: 'http.listen', listen: http },
    ...(gateway.listen ? [{ setting: 'gateway.listen', listen: gateway.listen }] : []),
  ];
  return { listeners, tls: tls === null ? 'unsaid' : tls === 'off' ? 'off' : 'on', access: accessMode({ access }) };
}

/**
 * Why a broker does not serve so, and what to write; empty: it does. Beyond loopback it has to be said who may call, and with
 * rules whether keys and tokens are encrypted on their way.
 */
export function exposureProblems({ listeners, tls, access }: Exposure): Finding[] {
  const beyond = listeners.filter(({ listen }) => !isLoopback(listen.host)).map(({ setting }) => setting);
  if (beyond.length === 0) return [];
  const where = `is missing, and ${listed(beyond)} ${beyond.length === 1 ? 'is' : 'are'} beyond loopback`;
  if (access === 'local') {
    const message = `${where}; write who may do what, for example access: { keys: lingpai.keys, rules: [{ who: [key:orders], may: [read], apps: ["*"] }] }, or "access: open" if something else keeps strangers away, or listen on 127.0.0.1`;
    return [{ at: ['access'], message }];
  }
  if (access === 'open' || tls !== 'unsaid') return [];
  const message = `${where}, where keys and tokens can be read on their way; write tls: { cert: FILE, key: FILE }, or "tls: off" if something else encrypts`;
  return [{ at: ['tls'], message }];
}

/** `a`, `a and b`, `a, b and c`. */
function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}
