import { resolve } from 'node:path';
import type { AccessFiles, Finding } from './access-files.ts';
import { accessSchema, tlsSchema } from './access-schema.ts';
import type { Config, JwtIssuerConfig } from './config.ts';
import { exposureProblems } from './exposure.ts';
import { judgeRules } from './rules.ts';
import { type ConfigFile, configSchema } from './schema.ts';

/** What is wrong with who may do what, and what may not be meant, as far as these parts of the file are well-formed. */
export function judgeAccess(
  value: unknown,
  { files, apps }: { readonly files: AccessFiles; readonly apps: ReadonlySet<unknown> },
): { readonly problems: readonly Finding[]; readonly warnings: readonly Finding[] } {
  const written = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const { shape } = configSchema;
  const listeners = (['grpc', 'http', 'gateway'] as const).flatMap((name) => {
    const section = shape[name].safeParse(written[name]);
    const listen = section.success ? section.data.listen : null;
    return listen ? { setting: `${name}.listen`, listen } : [];
  });
  const exposed = exposureProblems({
    listeners,
    tls: written['tls'] === undefined ? 'unsaid' : written['tls'] === 'off' ? 'off' : 'on',
    access: written['access'] === undefined ? 'local' : written['access'] === 'open' ? 'open' : 'rules',
  });
  const access = accessSchema.safeParse(written['access']);
  const tls = tlsSchema.safeParse(written['tls']);
  if (!access.success) return { problems: exposed, warnings: [] };
  const rules = judgeRules({ access: access.data, tls: tls.data, apps, files });
  return { problems: [...exposed, ...rules.problems], warnings: rules.warnings };
}

/** The parts of a Config that say who may do what, and what is told of it. */
export function toAccess(
  { tls, access, audit, store }: Pick<ConfigFile, 'tls' | 'access' | 'audit' | 'store'>,
  { text, keyNames }: AccessFiles,
  folder: string,
): Pick<Config, 'tls' | 'access' | 'audit'> & { readonly seal: readonly string[] } {
  const textAt = (...at: (string | number)[]) => text(at) ?? '';
  return {
    tls:
      typeof tls !== 'object'
        ? (tls ?? null)
        : {
            cert: textAt('tls', 'cert'),
            key: textAt('tls', 'key'),
            clientCa: tls.client_ca === undefined ? null : textAt('tls', 'client_ca'),
          },
    access:
      typeof access !== 'object'
        ? (access ?? null)
        : {
            keysFile: access.keys === undefined ? null : resolve(folder, access.keys),
            keys: text(['access', 'keys']) ?? null,
            keyNames: text(['access', 'keys']) === undefined ? [] : keyNames ? [...keyNames] : null,
            tokens: access.tokens.map(({ jwks, ...issuer }, i): JwtIssuerConfig => {
              const at = ['access', 'tokens', i, 'jwks'];
              if (jwks.url === undefined) return { ...issuer, jwks: { text: textAt(...at, 'file') } };
              const ca = jwks.ca === undefined ? null : textAt(...at, 'ca');
              const tokenFile = jwks.token === undefined ? null : resolve(folder, jwks.token);
              return { ...issuer, jwks: { url: jwks.url, ca, tokenFile } };
            }),
            rules: access.rules.map(({ paths, ...rule }) => ({ ...rule, ...(paths && { paths }) })),
            blocked: access.blocked,
            limits: access.limits,
          },
    audit:
      audit.to === 'stdout' || audit.to === 'off' ? { to: audit.to } : { to: 'file', path: resolve(folder, audit.to) },
    seal: store.seal.map((written, i) => (written === 'plain' ? written : textAt('store', 'seal', i))),
  };
}
