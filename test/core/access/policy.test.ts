import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Policy } from '../../../src/core/access/policy.ts';
import type { Rule } from '../../../src/core/access/ports.ts';
import { LOCAL, type Principal } from '../../../src/core/access/principal.ts';
import { VERBS, type Verb } from '../../../src/core/access/verbs.ts';

const known = (name: string, credentialId: string | null = null): Principal => {
  return { name, method: 'key', credentialId, expireTime: null };
};

const RULES: readonly Rule[] = [
  { who: ['key:orders', 'spiffe://prod.example/ns/pay/*'], may: ['read'], apps: ['wx1'] },
  { who: ['k8s:prod/crm/notifier'], may: ['send'], apps: ['wx1', 'shop-*'] },
  { who: ['key:prometheus'], may: ['status'], apps: ['*'] },
  { who: ['key:oncall'], may: ['read', 'refresh', 'status', 'admin'], apps: ['*'] },
  { who: ['key:orders'], may: ['read', 'call'], apps: ['wx2'], paths: ['/wxa/'] },
  { who: ['key:orders'], may: ['call'], apps: ['wx2', 'wx3'], paths: ['/cgi-bin/message/', '/wxa/'] },
  { who: ['key:orders'], may: ['call'], apps: ['wx3'] },
];
const policy = new Policy({ rules: RULES, blocked: ['key:gone', 'dns:evil.*', '3f9a12c07b1e'] });

describe('a policy', () => {
  it.each<[string, Verb, string, number | undefined]>([
    ['key:orders', 'read', 'wx1', 0],
    ['key:orders', 'read', 'wx2', 4],
    ['key:orders', 'read', 'wx3', undefined],
    ['key:orders', 'send', 'wx1', undefined],
    ['key:order', 'read', 'wx1', undefined],
    ['key:orders2', 'read', 'wx1', undefined],
    ['KEY:orders', 'read', 'wx1', undefined],
    ['spiffe://prod.example/ns/pay/till', 'read', 'wx1', 0],
    ['spiffe://prod.example/ns/pay/', 'read', 'wx1', 0],
    ['spiffe://prod.example/ns/pay', 'read', 'wx1', undefined],
    ['spiffe://prod.example/ns/pay/*', 'read', 'wx1', 0],
    ['k8s:prod/crm/notifier', 'send', 'shop-', 1],
    ['k8s:prod/crm/notifier', 'send', 'shop-1', 1],
    ['k8s:prod/crm/notifier', 'send', 'shop', undefined],
    ['key:prometheus', 'status', 'anything', 2],
    ['key:oncall', 'admin', '', 3],
    ['key:oncall', 'send', 'wx1', undefined],
    ['key:gone', 'read', 'wx1', undefined],
    ['', 'read', 'wx1', undefined],
    ['local', 'read', 'wx1', undefined],
    ['__proto__', 'read', 'wx1', undefined],
  ])('%s may %s %s by rule %s', (name, verb, app, rule) => {
    // Twice: what is remembered answers as what was found out.
    for (let i = 0; i < 2; i++) {
      expect(policy.may(known(name), verb, app)).toBe(rule !== undefined);
      expect(policy.explain(name, verb, app)).toBe(rule);
    }
  });

  it('allows every app, those to come included, only by a rule that says so', () => {
    expect(policy.mayAll(known('key:prometheus'), 'status')).toBe(true);
    expect(policy.mayAll(known('key:prometheus'), 'read')).toBe(false);
    expect(policy.mayAll(known('key:orders'), 'read')).toBe(false);
    const wide = new Policy({ rules: [{ who: ['key:a'], may: ['read'], apps: ['wx*'] }], blocked: [] });
    expect(wide.mayAll(known('key:a'), 'read')).toBe(false);
  });

  it('knows who has a rule at all', () => {
    expect(policy.hasRule(known('key:orders'))).toBe(true);
    expect(policy.hasRule(known('key:nobody'))).toBe(false);
  });

  it('blocks names, beginnings of names and ids of credentials, whatever the rules say', () => {
    const rules: Rule[] = [{ who: ['*'], may: [...VERBS], apps: ['*'] }];
    const blocking = new Policy({ rules, blocked: ['key:gone', 'dns:evil.*', '3f9a12c07b1e'] });
    for (const principal of [known('key:gone'), known('dns:evil.example'), known('key:a', '3f9a12c07b1e')]) {
      expect(blocking.isBlocked(principal)).toBe(true);
      expect(blocking.may(principal, 'read', 'wx1')).toBe(false);
      expect(blocking.mayAll(principal, 'read')).toBe(false);
      expect(blocking.hasRule(principal)).toBe(false);
      expect(blocking.paths(principal, 'wx1')).toEqual([]);
    }
    for (const principal of [known('key:a'), known('key:a', '000000000000'), known('dns:evil')]) {
      expect(blocking.isBlocked(principal)).toBe(false);
      expect(blocking.may(principal, 'read', 'wx1')).toBe(true);
    }
    expect(blocking.explain('key:gone', 'read', 'wx1')).toBeUndefined();
  });

  it('takes `*` for every caller that is known, and not for one that nobody asked', () => {
    const everyone = new Policy({ rules: [{ who: ['*'], may: ['read'], apps: ['*'] }], blocked: [] });
    expect(everyone.may(known('key:whoever'), 'read', 'wx1')).toBe(true);
    expect(everyone.may(LOCAL, 'read', 'wx1')).toBe(false);
    expect(everyone.hasRule(LOCAL)).toBe(false);
  });

  it('joins the paths that a caller may call: all where a rule names none, none where no rule allows it', () => {
    const orders = known('key:orders');
    expect(policy.paths(orders, 'wx1')).toEqual([]);
    expect(policy.paths(orders, 'wx2')).toEqual(['/wxa/', '/cgi-bin/message/']);
    expect(policy.paths(orders, 'wx3')).toBeUndefined();
  });

  it('without rules allows nothing', () => {
    const closed = new Policy({ rules: [], blocked: [] });
    for (const verb of VERBS) expect(closed.may(known('key:a'), verb, 'wx1')).toBe(false);

    expect(closed.hasRule(known('key:a'))).toBe(false);
  });

  it('keeps callers apart whose rules are numbered alike', () => {
    const who: Record<number, string> = { 12: 'key:a', 1: 'key:b', 2: 'key:b' };
    const rules = Array.from(
      { length: 13 },
      (_, i): Rule => ({ who: [who[i] ?? 'key:c'], may: ['read'], apps: [`wx${i}`] }),
    );
    const numbered = new Policy({ rules, blocked: [] });
    expect(numbered.may(known('key:a'), 'read', 'wx12')).toBe(true);
    expect(numbered.may(known('key:b'), 'read', 'wx12')).toBe(false);
    expect(numbered.may(known('key:b'), 'read', 'wx2')).toBe(true);
  });

  it('remembers no more than its bounds, and answers the same when it has forgotten', () => {
    const many = new Policy({ rules: [{ who: ['k8s:*'], may: ['read'], apps: ['wx1'] }], blocked: [] });
    const caller = (i: number) => known(`k8s:prod/default/${i}`);
    for (let i = 0; i < 10_050; i++) expect(many.may(caller(i), 'read', 'wx1')).toBe(true);
    expect(many.remembered).toBe(10_000);
    expect(many.may(caller(0), 'read', 'wx1')).toBe(true);
    expect(many.may(caller(0), 'read', 'wx2')).toBe(false);

    // Each caller has rules of its own, of very many apps.
    const apps = Array.from({ length: 10_000 }, (_, i) => `wx${i}`);
    const rules = Array.from({ length: 150 }, (_, i): Rule => ({ who: [`key:${i}`], may: ['read'], apps }));
    const large = new Policy({ rules, blocked: [] });
    for (let i = 0; i < 150; i++) expect(large.may(known(`key:${i}`), 'read', 'wx9999')).toBe(true);
    expect(large.remembered).toBeLessThanOrEqual(100);
    expect(large.may(known('key:0'), 'read', 'wx9999')).toBe(true);
  });
});

describe('whatever the rules are', () => {
  const pieces = ['', 'a', 'b', 'ab', 'ba', 'aab'];
  const pattern = (prefix: string) =>
    fc.tuple(fc.constantFrom(...pieces), fc.constantFrom('', '*')).map(([piece, end]) => prefix + piece + end);
  const who = fc.oneof(pattern('key:'), pattern('jwt:'), fc.constant('*'));
  const rule: fc.Arbitrary<Rule> = fc.record(
    {
      who: fc.array(who, { minLength: 1, maxLength: 3 }),
      may: fc.subarray([...VERBS], { minLength: 1 }),
      apps: fc.array(pattern(''), { minLength: 1, maxLength: 3 }),
      paths: fc.array(fc.constantFrom('/a/', '/b/'), { minLength: 1 }),
    },
    { requiredKeys: ['who', 'may', 'apps'] },
  );
  const rules = fc.array(rule, { maxLength: 6 });
  const blocked = fc.array(fc.oneof(pattern('key:'), fc.constantFrom('0123456789ab', 'ffffffffffff')), {
    maxLength: 2,
  });
  const principal = fc
    .tuple(
      fc.constantFrom('key:', 'jwt:', ''),
      fc.constantFrom(...pieces, 'local'),
      fc.constantFrom(null, '0123456789ab'),
    )
    .map(([prefix, piece, id]) => known(prefix + piece, id));
  const stands = (names: readonly string[], name: string) =>
    names.some((one) => (one.endsWith('*') ? name.indexOf(one.slice(0, -1)) === 0 : one === name));

  it('a policy says what one says who reads them from top to bottom', () => {
    fc.assert(
      fc.property(rules, blocked, fc.array(principal, { minLength: 1 }), (rules, blocked, callers) => {
        const policy = new Policy({ rules, blocked });
        for (const caller of [...callers, ...callers]) {
          const isOut =
            stands(blocked, caller.name) || blocked.includes(String(caller.credentialId)) || caller.name === 'local';
          const mine = rules.filter((rule) => !isOut && stands(rule.who, caller.name));
          expect(policy.hasRule(caller)).toBe(mine.length > 0);
          for (const verb of VERBS) {
            expect(policy.mayAll(caller, verb)).toBe(mine.some((r) => r.may.includes(verb) && r.apps.includes('*')));
            for (const app of pieces) {
              const allowing = mine.filter((rule) => rule.may.includes(verb) && stands(rule.apps, app));
              expect(policy.may(caller, verb, app)).toBe(allowing.length > 0);
              if (verb !== 'call') continue;
              const free = allowing.some(({ paths }) => !paths);
              const paths = policy.paths(caller, app);
              expect(paths && new Set(paths)).toEqual(
                free ? undefined : new Set(allowing.flatMap((r) => r.paths ?? [])),
              );
            }
          }
          const first = rules.findIndex(
            (r) => stands(r.who, caller.name) && r.may.includes('read') && stands(r.apps, 'ab'),
          );
          const isNameOut = stands(blocked, caller.name) || caller.name === 'local';
          expect(policy.explain(caller.name, 'read', 'ab')).toBe(isNameOut || first === -1 ? undefined : first);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('their order does not matter', () => {
    fc.assert(
      fc.property(
        rules,
        principal,
        fc.constantFrom(...VERBS),
        fc.constantFrom(...pieces),
        (rules, caller, verb, app) => {
          const [one, other] = [rules, rules.toReversed()].map((rules) => new Policy({ rules, blocked: [] }));
          expect(one?.may(caller, verb, app)).toBe(other?.may(caller, verb, app));
        },
      ),
    );
  });
});
