import { describe, expect, test } from 'vitest';
import type { TlsConfig } from '../../src/config/config.ts';
import type { ConfigError } from '../../src/config/problem.ts';
import { contextOf } from '../../src/server/tls.ts';
import { FOLDER, load, places, refusal } from './fixture.ts';
import { ENCRYPTED_KEY, ONE, SHORT, TWO, WEAK } from './pem.ts';

const APPS = 'apps: [{ app_id: wx1, secret: s1 }]';
const RULE = '{ who: [key:orders], may: [read], apps: [wx1] }';
const at = (name: string) => `${FOLDER}/${name}`;

/** `PATH: MESSAGE` of each problem. */
const told = (error: ConfigError) => error.problems.map(({ path, message }) => `${path}: ${message}`);
const warned = async (...args: Parameters<typeof load>) =>
  (await load(...args)).warnings.map(({ path, message }) => `${path}: ${message}`);

describe('a config that is right', () => {
  test('says who may do what, and how callers are known', async () => {
    const config = await load(
      `
grpc: { listen: "0.0.0.0:7600" }
tls: { cert: tls/one.pem, key: tls/one.key, client_ca: /ca.pem }
access:
  keys: lingpai.keys
  tokens:
    - { name: prod, kubernetes: true, issuer: https://k8s, audience: lingpai, jwks: { file: jwks.json } }
    - name: sso
      issuer: https://sso
      audience: a
      algorithms: [ES256, RS256]
      jwks: { url: "https://sso/jwks", ca: ca.pem, token: token }
    - { name: plain, issuer: https://plain, audience: a, jwks: { url: "http://127.0.0.1:1/jwks" } }
  rules:
    - { who: [key:orders, "spiffe://prod.example/ns/pay/*"], may: [read], apps: [wx1] }
    - { who: ["k8s:prod/crm/notifier", "jwt:sso/a|b"], may: [send, call], apps: ["*"], paths: [/wxa/] }
  blocked: [key:gone, 3f9a12c07b1e, "dns:evil.*"]
  limits: { calls: 2 }
audit: { to: audit.log }
store: { url: "memory:", seal: [plain, secrets/2.key, /1.key] }
${APPS}
`,
      {
        files: {
          [at('tls/one.pem')]: `${ONE.cert}\n${TWO.cert}\n`,
          [at('tls/one.key')]: ONE.key,
          '/ca.pem': TWO.cert,
          [at('lingpai.keys')]: 'orders',
          [at('jwks.json')]: '{"keys":[]}\n',
          [at('ca.pem')]: TWO.cert,
          [at('token')]: 'bearer',
          [at('secrets/2.key')]: 'two\n',
          '/1.key': 'one',
        },
      },
    );
    expect(config.tls).toEqual({ cert: `${ONE.cert}\n${TWO.cert}`, key: ONE.key, clientCa: TWO.cert });
    expect(config.access).toEqual({
      keysFile: at('lingpai.keys'),
      keys: 'orders',
      keyNames: ['orders'],
      tokens: [
        {
          name: 'prod',
          kubernetes: true,
          issuer: 'https://k8s',
          audience: 'lingpai',
          algorithms: ['RS256'],
          jwks: { text: '{"keys":[]}' },
        },
        {
          name: 'sso',
          kubernetes: false,
          issuer: 'https://sso',
          audience: 'a',
          algorithms: ['ES256', 'RS256'],
          jwks: { url: 'https://sso/jwks', ca: TWO.cert, tokenFile: at('token') },
        },
        {
          name: 'plain',
          kubernetes: false,
          issuer: 'https://plain',
          audience: 'a',
          algorithms: ['RS256'],
          jwks: { url: 'http://127.0.0.1:1/jwks', ca: null, tokenFile: null },
        },
      ],
      rules: [
        { who: ['key:orders', 'spiffe://prod.example/ns/pay/*'], may: ['read'], apps: ['wx1'] },
        { who: ['k8s:prod/crm/notifier', 'jwt:sso/a|b'], may: ['send', 'call'], apps: ['*'], paths: ['/wxa/'] },
      ],
      blocked: ['key:gone', '3f9a12c07b1e', 'dns:evil.*'],
      limits: { calls: 2, streams: 1000 },
    });
    expect(config.audit).toEqual({ to: 'file', path: at('audit.log') });
    expect(config.store).toEqual({ url: 'memory:', seal: ['plain', 'two', 'one'] });
    expect(config.secretFiles).toEqual([at('tls/one.key'), at('secrets/2.key'), '/1.key']);
    expect(config.publicFiles).toEqual([
      at('tls/one.pem'),
      '/ca.pem',
      at('lingpai.keys'),
      at('jwks.json'),
      at('ca.pem'),
    ]);
    expect(config.warnings).toEqual([]);
    expect(Object.isFrozen(config.access)).toBe(true);
    expect(config.fixed).toMatchObject({
      tls: true,
      access: 'rules',
      'audit.to': 'audit.log',
      'store.seal': ['plain', 'two', 'one'],
    });
    expect(JSON.stringify(config.fixed)).not.toContain('key:orders');
  });

  test.each([
    ['', null, null, { to: 'stdout' }],
    ['tls: off\naccess: open\naudit: { to: off }', 'off', 'open', { to: 'off' }],
    ['audit: { to: stdout }', null, null, { to: 'stdout' }],
  ])('%j', async (text, tls, access, audit) => {
    expect(await load(`${text}\n${APPS}`)).toMatchObject({ tls, access, audit });
  });
});

describe('a listener beyond loopback', () => {
  const KEYS = `access: { keys: k, rules: [${RULE}] }`;
  const files = { [at('k')]: 'orders', [at('c')]: ONE.cert, [at('p')]: ONE.key };
  const BEYOND = 'grpc: { listen: "0.0.0.0:1" }';
  test.each([
    [BEYOND, 'access', /^is missing, and grpc.listen is beyond loopback; write who .*"access: open".*127.0.0.1/],
    ['http: { listen: "[::]:1" }', 'access', /^is missing, and http.listen is beyond loopback;/],
    [`${BEYOND}\nhttp: { listen: "h.internal:1" }`, 'access', /and grpc.listen and http.listen are beyond loopback;/],
    ['gateway: { listen: "10.0.0.7:1" }', 'access', /^is missing, and gateway.listen is beyond loopback;/],
    [
      `${BEYOND}\nhttp: { listen: "[::]:1" }\ngateway: { listen: "[::]:2" }`,
      'access',
      /and grpc.listen, http.listen and gateway.listen are beyond loopback;/,
    ],
    [`gateway: { listen: "10.0.0.7:1" }\n${KEYS}`, 'tls', /^is missing, and gateway.listen is beyond .*write tls:/],
    ['grpc: { listen: "[::ffff:127.0.0.1]:1" }', 'access', /beyond loopback/],
    [`${BEYOND}\ntls: { cert: c, key: p }`, 'access', /^is missing/],
    [`${BEYOND}\ntls: off`, 'access', /^is missing/],
    [`${BEYOND}\n${KEYS}`, 'tls', /^is missing, and grpc.listen is beyond .*write tls: \{ cert.*"tls: off"/],
  ])('%s is refused', async (text, path, message) => {
    const { problems } = await refusal(`${text}\n${APPS}`, { files });
    expect(problems).toMatchObject([{ path, message: expect.stringMatching(message) }]);
  });

  test.each([
    `${BEYOND}\naccess: open`,
    `${BEYOND}\naccess: open\ntls: off`,
    `${BEYOND}\ntls: off\n${KEYS}`,
    `${BEYOND}\ntls: { cert: c, key: p }\n${KEYS}`,
    KEYS,
    'grpc: { listen: "127.9.9.9:1" }\nhttp: { listen: "[::1]:1" }',
    'grpc: { listen: "localhost:1" }',
  ])('%s is taken', async (text) => {
    await expect(load(`${text}\n${APPS}`, { files })).resolves.toBeDefined();
  });

  test('is told of together with all else', async () => {
    const error = await refusal(`${BEYOND}\naccess: { rules: 3, keys: none/k }\nstore: { seal: [none] }\napps: []`);
    expect(places(error)).toEqual(
      ['1 tls', '2 access.rules', '3 store.seal[0]', '4 apps'].map((p) => expect.stringContaining(p.slice(2))),
    );
  });
});

describe('files', () => {
  const TLS = 'tls: { cert: c, key: p, client_ca: a }';
  const good = { [at('c')]: ONE.cert, [at('p')]: ONE.key, [at('a')]: TWO.cert };
  test.each<[string, Record<string, string>, string]>([
    ['of another pair', { p: TWO.key }, 'tls.cert: the certificate is not that of tls.key; write two files'],
    [
      'with the own one last',
      { c: `${TWO.cert}\n${ONE.cert}` },
      'tls.cert: the certificate of tls.key is not the first',
    ],
    ['with no certificate', { c: 'hello' }, 'tls.cert: the file has no certificate in PEM'],
    ['with a key for a certificate', { c: ONE.key }, 'tls.cert: the file holds a private key and no certificate'],
    ['half written', { c: ONE.cert.slice(0, 200) }, 'tls.cert: certificate 1 in the file has no end; copy it whole'],
    [
      'half written later',
      { c: `${ONE.cert}\n${TWO.cert.slice(0, 200)}` },
      'tls.cert: certificate 2 in the file has no end',
    ],
    [
      'with a hole',
      { a: ONE.cert.replace(/\n.{20}/, '\n') },
      'tls.client_ca: certificate 1 in the file cannot be read',
    ],
    [
      'with a list of revoked certificates',
      { a: `${TWO.cert}\n-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----` },
      'tls.client_ca: the file has a list of revoked certificates (X509 CRL), which is not looked at',
    ],
    [
      'too weak for OpenSSL',
      { c: WEAK.cert, p: WEAK.key },
      'tls.cert: OpenSSL refuses the certificate or its key (ee key too small); write others',
    ],
    ['with no key', { p: ONE.cert }, 'tls.key: the file has no private key in PEM'],
    ['with an encrypted key', { p: ENCRYPTED_KEY }, 'tls.key: the private key is encrypted; decrypt it: openssl pkey'],
    ['with a broken key', { p: ONE.key.replace(/\n.{20}/, '\n') }, 'tls.key: the private key cannot be read'],
    ['that are empty', { a: '' }, 'tls.client_ca: the file is empty; put certificates in PEM in it'],
  ])('of TLS %s', async (_, changed, expected) => {
    const files = { ...good, ...Object.fromEntries(Object.entries(changed).map(([name, text]) => [at(name), text])) };
    const error = await refusal(`${TLS}\n${APPS}`, { files });
    expect(told(error)).toEqual([expect.stringContaining(expected)]);
    for (const line of [...ONE.key.split('\n'), ...TWO.key.split('\n')].filter((line) => /^[^-]{8}/.test(line)))
      expect(error.message).not.toContain(line);
  });

  test('of TLS may hold the key beside the certificate', async () => {
    const both = `${ONE.key}\n${ONE.cert}\n`;
    const config = await load(`${TLS}\n${APPS}`, { files: { ...good, [at('c')]: both, [at('p')]: both } });
    expect(contextOf(config.tls as TlsConfig)).toMatchObject({ cert: `${ONE.cert}\n` });
  });

  test('that are missing are all told of, but the key file, which the first key makes', async () => {
    const text = `${TLS}\naccess:\n  keys: k\n  tokens: [{ name: a, issuer: i, audience: u, jwks: { file: j } }, { name: b, issuer: j, audience: u, jwks: { url: "https://h", ca: x, token: t } }]\n  rules: [${RULE}]\nstore: { seal: [s] }\n${APPS}`;
    const error = await refusal(text);
    expect(places(error).map((place) => place.replace(/^\d+ /, ''))).toEqual([
      'tls.cert',
      'tls.key',
      'tls.client_ca',
      'access.tokens[0].jwks.file',
      'access.tokens[1].jwks.ca',
      'access.tokens[1].jwks.token',
      'store.seal[0]',
    ]);
    for (const { message } of error.problems) expect(message).toContain('does not exist; relative paths start at');
  });

  test('a key file that is not there yet is looked for, and warned of', async () => {
    const config = await load(`access: { keys: k, rules: [${RULE}] }\n${APPS}`);
    expect(config.access).toMatchObject({ keys: null, keysFile: at('k'), keyNames: [] });
    expect(config.publicFiles).toEqual([at('k')]);
    expect(config.warnings).toEqual([
      {
        path: 'access.keys',
        line: 1,
        message: 'the file does not exist yet; make the first key: lingpai keys create NAME',
      },
    ]);
  });

  test('are judged by those who know them', async () => {
    const text = `access:\n  keys: k\n  tokens: [{ name: a, issuer: i, audience: u, jwks: { file: j } }]\n  rules: [${RULE}]\nstore: { seal: [s, plain, t] }\n${APPS}`;
    const files = { [at('k')]: 'bad', [at('j')]: 'bad', [at('s')]: ' plain\n', [at('t')]: 'bad' };
    expect(told(await refusal(text, { files }))).toEqual([
      'access.keys: the keys are bad; mend them',
      'access.tokens[0].jwks.file: the set is bad; mend it',
      'store.seal[0]: the file holds no key; write one: lingpai store key > FILE',
      'store.seal[2]: the seal is bad; mend it',
    ]);
  });

  test.each([
    ['2026-11-29T00:00:00Z', 'tls.cert: the certificate is not valid before 2026-11-30'],
    ['2027-01-01T00:00:00Z', undefined],
    ['2127-01-01T00:00:00Z', 'tls.cert: the certificate has expired on 2126-11-06'],
  ])('at %s a certificate is warned of: %s', async (time, expected) => {
    const warnings = await warned(`tls: { cert: c, key: p }\n${APPS}`, { files: good, now: Date.parse(time) });
    expect(warnings).toEqual(expected === undefined ? [] : [expect.stringContaining(expected)]);
  });

  test('roots are warned of once all have expired, since a rotation leaves old ones', async () => {
    const at2027 = async (roots: string) =>
      warned(`${TLS}\n${APPS}`, { files: { ...good, [at('a')]: roots }, now: Date.parse('2027-01-01T00:00:00Z') });
    expect(await at2027(`${SHORT}\n${TWO.cert}`)).toEqual([]);
    expect(await at2027(SHORT)).toEqual([
      expect.stringContaining('tls.client_ca: every certificate there has expired'),
    ]);
  });

  test('a megabyte of beginnings takes no time', async () => {
    const files = { ...good, [at('c')]: '-----BEGIN CERTIFICATE-----'.repeat(38_000) };
    const before = performance.now();
    await refusal(`${TLS}\n${APPS}`, { files });
    expect(performance.now() - before).toBeLessThan(2_000);
  });
});

describe('rules', () => {
  const config = (rules: string, rest = 'keys: k, ') => `access: { ${rest}rules: [${rules}] }\n${APPS}`;
  const files = { [at('k')]: 'orders' };
  const withWho = (who: string, rest?: string) =>
    config(`{ who: [${JSON.stringify(who)}], may: [read], apps: [wx1] }`, rest);

  test.each<[string, string]>([
    ['orders', 'does not say how the caller is known; write key:NAME, spiffe://'],
    ['local', 'does not say how the caller is known'],
    ['KEY:orders', 'does not say how the caller is known'],
    ['lingpai_0123456789', 'does not say how the caller is known'],
    ['**', 'has a * that is not at its end'],
    ['key:*orders', 'has a * that is not at its end'],
    ['spiffe://*/ns/pay', 'has a * that is not at its end'],
    ['key:', 'is no name of this kind; write key: and the name that "lingpai keys" has'],
    ['key:a b', 'is no name of this kind'],
    ['key:-', 'is no name of this kind'],
    [`key:${'a'.repeat(65)}`, 'is no name of this kind'],
    ['spiffe://prod.example', 'is no name of this kind; write spiffe://TRUST-DOMAIN/PATH'],
    ['spiffe://Prod/a', 'is no name of this kind'],
    ['spiffe://prod/a//b', 'is no name of this kind'],
    ['spiffe://prod*', 'is no name of this kind'],
    ['dns:Orders.example', 'is no name of this kind; write dns: and the name that the certificate has, in lower case'],
    ['dns:a..b', 'is no name of this kind'],
    ['k8s:prod', 'is no name of this kind; write k8s:ISSUER/NAMESPACE/ACCOUNT'],
    ['k8s:prod/ns', 'is no name of this kind'],
    ['k8s:pro*', 'is no name of this kind'],
    ['k8s:prod/a/b/c', 'is no name of this kind'],
    ['jwt:prod', 'is no name of this kind; write jwt:ISSUER/SUB'],
    ['jwt:pro*', 'is no name of this kind'],
    ['', 'must be text of 1 to 2048 characters'],
    [`dns:${'a'.repeat(2048)}`, 'must be text of 1 to 2048 characters'],
  ])('a who of %j is refused', async (who, expected) => {
    const error = await refusal(withWho(who), { files });
    expect(told(error)).toEqual([expect.stringContaining(`access.rules[0].who[0]: ${expected}`)]);
  });

  test.each([
    '*',
    'key:*',
    'key:or*',
    'spiffe://*',
    'spiffe://prod/*',
    'spiffe://prod/a-*',
    'dns:*',
    'dns:a.example',
    'dns:a.*',
    'k8s:*',
    'jwt:*',
  ])('a who of %j is taken', async (who) => {
    await expect(load(withWho(who), { files })).resolves.toBeDefined();
  });

  const TOKENS =
    'tokens: [{ name: prod, kubernetes: true, issuer: i, audience: a, jwks: { file: k } }, { name: sso, issuer: j, audience: a, jwks: { file: k } }], ';
  test.each([
    ['k8s:prod/ns/account', undefined],
    ['k8s:prod/*', undefined],
    ['k8s:*', undefined],
    ['jwt:sso/me', undefined],
    ['k8s:other/ns/account', 'names an issuer that is no item of access.tokens with kubernetes: true'],
    ['k8s:sso/ns/account', 'names an issuer that is no item of access.tokens with kubernetes: true'],
    ['jwt:prod/me', 'names an issuer that is no item of access.tokens without kubernetes: true'],
  ])('%s names an issuer that is there: %s', async (who, expected) => {
    const loading = load(withWho(who, TOKENS), { files }).then(
      () => [],
      (error) => told(error),
    );
    expect(await loading).toEqual(
      expected === undefined ? [] : [expect.stringContaining(`access.rules[0].who[0]: ${expected}`)],
    );
  });

  test.each<[string, string]>([
    ['access: yes', 'access: must be a map with rules, or open; write access: { keys'],
    ['access:', 'access: must be a map with rules, or open'],
    ['access: {}', 'access.rules: is missing; write for example [{ who'],
    ['access: { rules: [], key: x }', 'access.key: is not a setting; did you mean keys?'],
    ['access: { rules: [], limits: { call: 1 } }', 'access.limits.call: is not a setting; did you mean calls?'],
    ['access: { rules: [], limits: { calls: 0 } }', 'access.limits.calls: must be a whole number from 1 to 1000000'],
    [
      'access: { rules: [{ who: ["*"], may: [write], apps: ["*"] }] }',
      'access.rules[0].may[0]: must be one of read, call, send, refresh, status, admin',
    ],
    [
      'access: { rules: [{ who: ["*"], may: [], apps: ["*"] }] }',
      'access.rules[0].may: is empty; write a list of them',
    ],
    ['access: { rules: [{ who: [], may: [read], apps: ["*"] }] }', 'access.rules[0].who: is empty; write for example'],
    [
      'access: { rules: [{ who: "*", may: [read], apps: ["*"] }] }',
      'access.rules[0].who: must be a list of callers; write',
    ],
    ['access: { rules: [{ may: [read], apps: ["*"] }] }', 'access.rules[0].who: is missing; write'],
    ['access: { rules: [{ who: ["*"], may: [read], apps: ["*x"] }] }', 'access.rules[0].apps[0]: must be an app id'],
    ['access: { rules: [{ who: ["*"], may: [read], apps: [a b] }] }', 'access.rules[0].apps[0]: must be an app id'],
    [
      'access: { rules: [{ who: ["*"], may: [read], apps: ["*"], path: [/] }] }',
      'access.rules[0].path: is not a setting; did you mean paths?',
    ],
    [
      'access: { rules: [{ who: ["*"], may: [send], apps: ["*"], paths: [/] }] }',
      'access.rules[0].paths: is only for the verb call',
    ],
    [
      'access: { rules: [{ who: ["*"], may: [call], apps: ["*"], paths: [wxa] }] }',
      'access.rules[0].paths[0]: must be the beginning of a path',
    ],
    [
      'access: { rules: [], blocked: [gone] }',
      'access.blocked[0]: does not say how the caller is known; write key:NAME, spiffe',
    ],
    [
      'access: { rules: [], tokens: [{ name: a, issuer: i, audience: a, algorithms: [HS256], jwks: { url: "https://h" } }] }',
      'access.tokens[0].algorithms[0]: must be one of RS256',
    ],
    [
      'access: { rules: [], tokens: [{ name: a, issuer: i, audience: a, jwks: { url: "http://h" } }] }',
      'access.tokens[0].jwks.url: must be an https:// URL',
    ],
    [
      'access: { rules: [], tokens: [{ name: a, issuer: i, audience: a, jwks: {} }] }',
      'access.tokens[0].jwks: needs one of the two; write { file: FILE } or { url: URL }',
    ],
    [
      'access: { rules: [], tokens: [{ name: a/b, issuer: i, audience: a, jwks: { url: "https://h" } }] }',
      'access.tokens[0].name: must be text of 1 to 64',
    ],
    ['tls: on', 'tls: must be a map with cert and key, or off; write tls: { cert: FILE, key: FILE }, or tls: off'],
    ['tls: { cert: k }', 'tls.key: is missing; write for example tls/server.pem'],
    ['audit: { to: "" }', 'audit.to: must be stdout, off or the path of a file'],
    ['store: { seal: secrets }', 'store.seal: must be a list of paths of key files'],
  ])('%s', async (text, expected) => {
    const error = await refusal(`${text}\n${APPS}`, { files });
    expect(told(error)[0]).toContain(expected);
  });

  test('two issuers are told apart', async () => {
    const issuer = '{ name: a, issuer: i, audience: u, jwks: { url: "https://h" } }';
    const error = await refusal(`access: { tokens: [${issuer}, ${issuer}], rules: [] }\n${APPS}`);
    expect(told(error)).toEqual([
      'access.tokens[1].name: is the same as access.tokens[0].name; write another',
      'access.tokens[1].issuer: is the same as access.tokens[0].issuer, with the same audience; keep one',
    ]);
  });

  test('a key where no keys are is refused, once', async () => {
    const error = await refusal(config(`${RULE}, ${RULE}`, ''));
    expect(told(error)).toEqual([
      'access.rules[0].who[0]: is a key, and no key is known; write access.keys, for example keys: lingpai.keys',
    ]);
  });

  test('what may not be meant is warned of, each thing once', async () => {
    const rules = [
      '{ who: [key:orders, key:lost, "key:x*"], may: [read], apps: [wx1, wx2, "shop-*"] }',
      '{ who: [key:lost, "dns:a.b", "spiffe://a/b"], may: [read, call], apps: [wx2], paths: [/wxa/] }',
    ];
    expect(await warned(config(rules.join()), { files })).toEqual([
      'access.rules[0].who[1]: has no key in access.keys; make it one: lingpai keys create lost',
      'access.rules[0].apps[1]: is no app of this configuration; correct it, or add the app',
      'access.rules[1].who[1]: is known by a certificate, and none is accepted; write tls.client_ca',
      'access.rules[1].paths: holds back nobody who may read, and so has the token; write a rule of its own for call',
    ]);
    expect(await warned(config(''), { files })).toEqual([
      'access.rules: is empty: nobody may do anything; write a rule',
    ]);
  });

  test('so many there may be', async () => {
    const many = (count: number, one: string) => Array.from({ length: count }, () => one).join();
    for (const [text, message] of [
      [config(many(1001, RULE)), 'access.rules: has more than 1000 rules; write fewer'],
      [
        config(`{ who: [${many(1001, 'key:a')}], may: [read], apps: [wx1] }`),
        'access.rules[0].who: has more than 1000 items',
      ],
      [
        config(`&r { who: [key:a], may: [read], apps: [${many(9_000, 'wx1')}] }, ${many(12, '*r')}`),
        'access.rules: has more than 100000 callers and apps',
      ],
      [`store: { seal: [${many(17, 'plain')}] }\n${APPS}`, 'store.seal: has more than 16 keys; write fewer'],
    ] as const)
      expect(told(await refusal(text, { files }))[0]).toContain(message);
    const names = Array.from({ length: 200 }, (_, i) => `wxz${i}`).join();
    const warnings = await warned(config(`{ who: [key:orders], may: [read], apps: [${names}] }`), { files });
    expect(warnings).toHaveLength(101);
    expect(warnings[100]).toBe(': has 100 more warnings; mend these first');
  });
});
