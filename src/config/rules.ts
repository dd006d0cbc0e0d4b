import type { AccessFiles, Finding } from './access-files.ts';
import type { ConfigFile } from './schema.ts';
import { issuerOf } from './who.ts';

/** What a file says of access, once checked, and what rules are held against. */
export interface RuleContext {
  readonly access: ConfigFile['access'];
  readonly tls: ConfigFile['tls'];
  /** The ids of the apps that are configured. */
  readonly apps: ReadonlySet<unknown>;
  readonly files: Pick<AccessFiles, 'keyNames'>;
}

/** What is wrong with rules that are well-formed: callers whom nothing could make known, keys and apps that are not there. */
export function judgeRules({ access, tls, apps, files }: RuleContext): {
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
} {
  if (access === undefined || access === 'open') return { problems: [], warnings: [] };
  const problems: Finding[] = duplicates(access.tokens);
  const warnings: Finding[] = [];
  const issuers = new Map(access.tokens.map(({ name, kubernetes }) => [name, kubernetes ? 'k8s' : 'jwt']));
  const hasCertificates = typeof tls === 'object' && tls.client_ca !== undefined;
  const warnOnce = once((at, message) => warnings.push({ at, message }));
  const complainOnce = once((at, message) => problems.push({ at, message }));

  if (access.rules.length === 0)
    warnings.push({ at: ['access', 'rules'], message: 'is empty: nobody may do anything; write a rule' });
  for (const [i, { who, may, apps: names, paths }] of access.rules.entries()) {
    const rule = ['access', 'rules', i];
    for (const [j, name] of who.entries()) {
      const at = [...rule, 'who', j];
      const issuer = issuerOf(name);
      if (issuer && issuers.get(issuer.issuer) !== issuer.kind) {
        const [kind, not] = issuer.kind === 'k8s' ? ['with', 'k8s:'] : ['without', 'jwt:'];
        const message = `names an issuer that is no item of access.tokens ${kind} kubernetes: true; add it there, or correct what follows ${not}`;
        problems.push({ at, message });
      }
      if (name.startsWith('key:')) {
        if (access.keys === undefined)
          complainOnce('keys', at, 'is a key, and no key is known; write access.keys, for example keys: lingpai.keys');
        const key = name.slice('key:'.length);
        if (files.keyNames && !key.endsWith('*') && !files.keyNames.has(key))
          warnOnce(name, at, `has no key in access.keys; make it one: lingpai keys create ${key}`);
      }
      if (!hasCertificates && /^(spiffe|dns):/.test(name))
        warnOnce('client_ca', at, 'is known by a certificate, and none is accepted; write tls.client_ca');
    }
    for (const [j, app] of names.entries()) {
      if (!app.endsWith('*') && !apps.has(app))
        warnOnce(`app ${app}`, [...rule, 'apps', j], 'is no app of this configuration; correct it, or add the app');
    }
    if (paths && may.includes('read'))
      warnings.push({
        at: [...rule, 'paths'],
        message: 'holds back nobody who may read, and so has the token; write a rule of its own for call',
      });
  }
  return { problems, warnings };
}

type Tell = (at: Finding['at'], message: string) => void;

/** Tells the same thing once. */
function once(tell: Tell): (what: string, ...rest: Parameters<Tell>) => void {
  const told = new Set<string>();
  return (what, at, message) => {
    if (told.has(what)) return;
    told.add(what);
    tell(at, message);
  };
}

function duplicates(
  tokens: readonly { readonly name: string; readonly issuer: string; readonly audience: string }[],
): Finding[] {
  const names = new Map<string, number>();
  const issuers = new Map<string, number>();
  return tokens.flatMap(({ name, issuer, audience }, i) => {
    const claims = JSON.stringify([issuer, audience]);
    const [sameName, sameClaims] = [names.get(name), issuers.get(claims)];
    if (sameName === undefined) names.set(name, i);
    if (sameClaims === undefined) issuers.set(claims, i);
    const at = ['access', 'tokens', i];
    const found: Finding[] = [];
    if (sameName !== undefined)
      found.push({ at: [...at, 'name'], message: `is the same as access.tokens[${sameName}].name; write another` });
    if (sameClaims !== undefined) {
      const message = `is the same as access.tokens[${sameClaims}].issuer, with the same audience; keep one`;
      found.push({ at: [...at, 'issuer'], message });
    }
    return found;
  });
}
