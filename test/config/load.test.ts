import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { REVIEW_WORDS } from '../../src/core/review/words.ts';
import { FOLDER, load, places, refusal } from './fixture.ts';

const APPS = 'apps: [{ app_id: wx1, secret: s1 }]';

describe('a config that is right', () => {
  test('has the documented defaults', async () => {
    expect(await load(APPS)).toEqual({
      path: `${FOLDER}/lingpai.yaml`,
      grpc: { host: '127.0.0.1', port: 7600 },
      gateway: { listen: null, tokens: 'standin' },
      http: { host: '127.0.0.1', port: 7680, hosts: [] },
      store: { url: `sqlite:${FOLDER}/lingpai.db`, seal: [] },
      tls: null,
      access: null,
      audit: { to: 'stdout' },
      upstream: { baseUrl: 'https://api.weixin.qq.com', proxy: null },
      settings: {
        timeoutMs: 5_000,
        overlapMs: 300_000,
        quotaResetHour: 0,
        classicAt: 0.5,
        stablePollMs: 15_000,
        cooldownMs: 30_000,
        probeIntervalMs: 60_000,
        dailyBudget: 1000,
        forceDailyBudget: 18,
        heartbeatMs: 10_000,
        maxWatchers: 50_000,
      },
      watch: { stallTimeoutMs: 30_000 },
      messages: {
        dailyQuota: 1_000_000,
        ratePerSecond: 0,
        concurrency: 128,
        maxWaiting: 10_000,
        maxPermits: 1_000_000,
        quotaResetHour: 0,
        timeoutMs: 5_000,
      },
      reviewWords: REVIEW_WORDS,
      cluster: { leaseMs: 15_000, pollMs: 2_000 },
      apps: [{ appId: 'wx1', secret: 's1', issuer: 'stable' }],
      secretFiles: [],
      publicFiles: [],
      warnings: [],
      fixed: expect.any(Object),
    });
  });

  test('every setting reaches its place', async () => {
    const config = await load(
      `
grpc: { listen: "[::1]:1" }
gateway: { listen: "localhost:3", tokens: real }
http: { listen: "localhost:0", hosts: [lingpai.internal, "::1"] }
store: { url: "memory:" }
upstream: { base_url: "http://127.0.0.1:9/wx/", timeout: 10ms, overlap: 0s, proxy: "http://u:p@127.0.0.1:3128", quota_reset_hour: 23 }
refresh: { classic_at: 0.9, stable_poll: 1s, cooldown: 0s, probe_interval: 0s, daily_budget: 1, force_daily_budget: 0 }
watch: { heartbeat: 12s, stall_timeout: 10m, max_watchers: 2 }
messages: { daily_quota: 1, rate: 2, concurrency: 3, max_waiting: 4, max_permits: 5 }
review: { marketing_words: [a], general_titles: [b], own_words: [c], broad_keywords: [d] }
cluster: { lease: 1s, poll: 100ms }
apps:
  - { app_id: wx1, secret: { env: WX1 }, issuer: classic }
  - { app_id: wx2, secret: { file: keys/wx2 } }
  - { app_id: wx3, secret: { file: /run/wx3 } }
  - { app_id: wx4, secret: { file: keys/wx2 } }
`,
      { env: { WX1: 'one' }, files: { [`${FOLDER}/keys/wx2`]: 'two\n', '/run/wx3': 'three\r\n' } },
    );
    expect(config).toEqual({
      path: `${FOLDER}/lingpai.yaml`,
      grpc: { host: '::1', port: 1 },
      gateway: { listen: { host: 'localhost', port: 3 }, tokens: 'real' },
      http: { host: 'localhost', port: 0, hosts: ['lingpai.internal', '::1'] },
      store: { url: 'memory:', seal: [] },
      tls: null,
      access: null,
      audit: { to: 'stdout' },
      upstream: { baseUrl: 'http://127.0.0.1:9/wx', proxy: 'http://u:p@127.0.0.1:3128' },
      settings: {
        timeoutMs: 10,
        overlapMs: 0,
        quotaResetHour: 23,
        classicAt: 0.9,
        stablePollMs: 1_000,
        cooldownMs: 0,
        probeIntervalMs: 0,
        dailyBudget: 1,
        forceDailyBudget: 0,
        heartbeatMs: 12_000,
        maxWatchers: 2,
      },
      watch: { stallTimeoutMs: 600_000 },
      messages: {
        dailyQuota: 1,
        ratePerSecond: 2,
        concurrency: 3,
        maxWaiting: 4,
        maxPermits: 5,
        quotaResetHour: 23,
        timeoutMs: 10,
      },
      reviewWords: {
        marketing: [...REVIEW_WORDS.marketing, 'a'],
        general: [...REVIEW_WORDS.general, 'b'],
        own: ['c'],
        broad: [...REVIEW_WORDS.broad, 'd'],
      },
      cluster: { leaseMs: 1_000, pollMs: 100 },
      apps: [
        { appId: 'wx1', secret: 'one', issuer: 'classic' },
        { appId: 'wx2', secret: 'two', issuer: 'stable' },
        { appId: 'wx3', secret: 'three', issuer: 'stable' },
        { appId: 'wx4', secret: 'two', issuer: 'stable' },
      ],
      secretFiles: [`${FOLDER}/keys/wx2`, '/run/wx3'],
      publicFiles: [],
      warnings: [],
      fixed: expect.any(Object),
    });
  });

  test('is frozen all the way down', async () => {
    const config = await load(APPS);
    for (const part of [config, config.grpc, config.settings, config.apps, config.apps[0], config.secretFiles])
      expect(Object.isFrozen(part)).toBe(true);
  });

  test.each([
    ['sqlite:data/x.db', `sqlite:${FOLDER}/data/x.db`],
    ['sqlite:../x.db', 'sqlite:/etc/x.db'],
    ['sqlite:/var/x.db', 'sqlite:/var/x.db'],
    ['memory:', 'memory:'],
    ['redis://u:p@h:6380/2?prefix=x', 'redis://u:p@h:6380/2?prefix=x'],
    ['rediss://h', 'rediss://h'],
  ])('store.url %s becomes %s', async (written, url) => {
    expect((await load(`store: { url: "${written}" }\n${APPS}`)).store.url).toBe(url);
  });
});

describe('store.url and upstream.proxy may stand elsewhere', () => {
  test('in the environment', async () => {
    const yaml = `store: { url: { env: STORE } }\nupstream: { proxy: { env: PROXY } }\n${APPS}`;
    const env = { STORE: 'redis://:pw@h', PROXY: 'http://u:p%40@127.0.0.1:3128' };
    const config = await load(yaml, { env });
    expect(config.store.url).toBe('redis://:pw@h');
    expect(config.upstream.proxy).toBe('http://u:p%40@127.0.0.1:3128');
    expect(config.secretFiles).toEqual([]);
  });

  test('in files, which are watched as those of secrets are', async () => {
    const yaml = `store: { url: { file: keys/store } }\nupstream: { proxy: { file: /run/proxy } }\n${APPS}`;
    const files = { [`${FOLDER}/keys/store`]: 'sqlite:x.db\n', '/run/proxy': 'http://h:1\r\n' };
    const config = await load(yaml, { files });
    expect(config.store.url).toBe(`sqlite:${FOLDER}/x.db`);
    expect(config.upstream.proxy).toBe('http://h:1');
    expect(config.secretFiles).toEqual([`${FOLDER}/keys/store`, '/run/proxy']);
  });
});

test('what a reload cannot change is known by its path', async () => {
  const [one, other] = [await load(APPS), await load(`watch: { stall_timeout: 1m }\n${APPS}`)];
  expect(Object.keys(one.fixed)).toEqual(expect.arrayContaining(['grpc.listen', 'store.url', 'upstream.proxy']));
  expect(Object.keys(one.fixed).filter((path) => one.fixed[path] !== other.fixed[path])).toEqual(
    expect.arrayContaining(['watch.stall_timeout']),
  );
  expect(Object.keys(one.fixed).some((path) => path.startsWith('apps'))).toBe(false);
});

describe('a config that is wrong', () => {
  test('every mistake is reported at once, with its path and its line', async () => {
    const error = await refusal(
      `grpc: { listen: 7600 }
http:
  listen: "[::1:80"
store: { url: "postgres://127.0.0.1" }
upstream:
  timeout: 5
  base_ur1: "http://127.0.0.1"
refresh:
  classic_at: 1
  force_daily_budget: 21
  cooldown: 30s
  cooldown: 40s
watch:
apps:
  - app_id: wx1
    secret: { env: WX1 }
  - app_id: wx1
    secret: { file: gone }
    issuer: fast
  - secret: 12345678
sevrer: {}
`,
    );
    expect(places(error)).toEqual([
      '1 grpc.listen',
      '3 http.listen',
      '4 store.url',
      '6 upstream.timeout',
      '7 upstream',
      '9 refresh.classic_at',
      '10 refresh.force_daily_budget',
      '12 refresh.cooldown',
      '13 watch',
      '16 apps[0].secret.env',
      '17 apps[1].app_id',
      '18 apps[1].secret.file',
      '19 apps[1].issuer',
      '20 apps[2].app_id',
      '20 apps[2].secret',
      '21 sevrer',
    ]);
  });

  test.each([
    // [what is written, where the problem is, what it says]
    ['', '- ', 'must be a map of settings; write "apps:" with at least one app'],
    ['[]', '- ', 'must be a map of settings'],
    ['grpc: {}', '- apps', 'is missing; write "apps:" and below it'],
    ['apps: []', '1 apps', 'is empty; write "- { app_id'],
    ['apps: { app_id: wx1 }', '1 apps', 'must be a list; write'],
    ['apps: [wx1]', '1 apps[0]', 'must be a map; write { app_id'],
    ['apps: [{ secret: s }]', '1 apps[0].app_id', 'is missing; write the AppID'],
    ['apps: [{ app_id: 12, secret: s }]', '1 apps[0].app_id', 'in quotes if it is digits alone'],
    ['apps: [{ app_id: "a b", secret: s }]', '1 apps[0].app_id', 'must be text of 1 to 64 characters'],
    ['apps: [{ app_id: wx1 }]', '1 apps[0].secret', 'is missing; write for example { env: WX_SECRET }'],
    ['apps: [{ app_id: wx1, secret: }]', '1 apps[0].secret', 'must be one of { env: NAME }'],
    ['apps: [{ app_id: wx1, secret: "" }]', '1 apps[0].secret', 'must be one of { env: NAME }'],
    ['apps: [{ app_id: wx1, secret: { env: A, file: b } }]', '1 apps[0].secret', 'must be one of'],
    ['apps: [{ app_id: wx1, secret: { env: NONE } }]', '1 apps[0].secret.env', 'variable NONE is not set; set it'],
    ['apps: [{ app_id: wx1, secret: { env: EMPTY } }]', '1 apps[0].secret.env', 'variable EMPTY is empty; set it'],
    ['apps: [{ app_id: wx1, secret: { env: a-b } }]', '1 apps[0].secret.env', 'must be the name of an environment'],
    ['apps: [{ app_id: wx1, secret: { file: gone } }]', '1 apps[0].secret.file', `start at ${FOLDER}`],
    ['apps: [{ app_id: wx1, secret: { file: empty } }]', '1 apps[0].secret.file', 'the file is empty; put'],
    ['apps: [{ app_id: wx1, secret: { file: lines } }]', '1 apps[0].secret.file', 'has white space'],
    [`grpc: { listen: "0.0.0.0:65536" }\n${APPS}`, '1 grpc.listen', 'must be HOST:PORT'],
    [`grpc: { listen: ":7600" }\n${APPS}`, '1 grpc.listen', 'must be HOST:PORT'],
    [`gateway: { listen: 7670 }\n${APPS}`, '1 gateway.listen', 'must be null or HOST:PORT'],
    [`gateway: { listen: "h:99999" }\n${APPS}`, '1 gateway.listen', 'must be null or HOST:PORT'],
    [`gateway: { tokens: both }\n${APPS}`, '1 gateway.tokens', 'must be standin or real'],
    [`cluster: { lease: 5s }\n${APPS}`, '1 cluster.lease', 'at least three times cluster.poll'],
    [`store: { url: "sqlite:" }\n${APPS}`, '1 store.url', 'must be "sqlite:PATH", "redis://HOST" or "memory:"'],
    [`store: { url: "sqlite::memory:" }\n${APPS}`, '1 store.url', 'must be "sqlite:PATH", "redis://HOST" or "memory:"'],
    [`store: { url: "sqlite://x.db" }\n${APPS}`, '1 store.url', 'must be "sqlite:PATH", "redis://HOST" or "memory:"'],
    // What is known of addresses beyond their form takes the place of what the schema says.
    [`store: { url: "redis://" }\n${APPS}`, '1 store.url', 'the host is missing'],
    [`upstream: { base_url: "ftp://h" }\n${APPS}`, '1 upstream.base_url', 'must be an http:// or https:// URL'],
    [`upstream: { base_url: "http://h?x" }\n${APPS}`, '1 upstream.base_url', 'must be an http:// or https:// URL'],
    [`upstream: { base_url: "http://" }\n${APPS}`, '1 upstream.base_url', 'must be an http:// or https:// URL'],
    [`http: { hosts: lingpai }\n${APPS}`, '1 http.hosts', 'a list of host names or IP addresses'],
    [`http: { hosts: ["a:80"] }\n${APPS}`, '1 http.hosts[0]', 'without scheme and port'],
    [`http: { hosts: ["http://a"] }\n${APPS}`, '1 http.hosts[0]', 'without scheme and port'],
    [`upstream: { proxy: 3128 }\n${APPS}`, '1 upstream.proxy', 'must be null or an http:// or https:// URL'],
    [`upstream: { proxy: "http://" }\n${APPS}`, '1 upstream.proxy', 'must be null or an http:// or https:// URL'],
    [`upstream: { timeout: 0s }\n${APPS}`, '1 upstream.timeout', 'must be a duration of 10ms to 1m'],
    [`upstream: { timeout: 61s }\n${APPS}`, '1 upstream.timeout', 'must be a duration of 10ms to 1m'],
    [`upstream: { overlap: 2h }\n${APPS}`, '1 upstream.overlap', 'must be a duration of 0s to 1h'],
    [`upstream: { quota_reset_hour: 24 }\n${APPS}`, '1 upstream.quota_reset_hour', 'a whole number from 0 to 23'],
    [`refresh: { classic_at: 0 }\n${APPS}`, '1 refresh.classic_at', 'must be a number between 0 and 1'],
    [`refresh: { stable_poll: 6m }\n${APPS}`, '1 refresh.stable_poll', 'must be a duration of 1s to 5m'],
    [
      `refresh: { cooldown: 30 }\n${APPS}`,
      '1 refresh.cooldown',
      'a whole number and a unit (ms, s, m or h); write for example 30s',
    ],
    [`refresh: { cooldown: 30sec }\n${APPS}`, '1 refresh.cooldown', 'write for example 30s'],
    [
      `refresh: { probe_interval: 999ms }\n${APPS}`,
      '1 refresh.probe_interval',
      'must be a duration of 0s, or 1s to 24h',
    ],
    [`refresh: { daily_budget: 10001 }\n${APPS}`, '1 refresh.daily_budget', 'a whole number from 1 to 10000'],
    [`refresh: { daily_budget: 1.5 }\n${APPS}`, '1 refresh.daily_budget', 'a whole number from 1 to 10000'],
    [`refresh: { force_daily_budget: 21 }\n${APPS}`, '1 refresh.force_daily_budget', 'a whole number from 0 to 20'],
    [`watch: { heartbeat: 999ms }\n${APPS}`, '1 watch.heartbeat', 'must be a duration of 1s to 12s'],
    [`watch: { stall_timeout: 0s }\n${APPS}`, '1 watch.stall_timeout', 'must be a duration of 1s to 10m'],
    [`watch: { max_watchers: 0 }\n${APPS}`, '1 watch.max_watchers', 'a whole number from 1 to 1000000'],
    [`refresh: { cool_down: 1s }\n${APPS}`, '1 refresh.cool_down', 'is not a setting; did you mean cooldown?'],
    ...['https://h/cgi-bin', 'https://h/cgi-bin/', 'http://h/wx/cgi-bin/token', 'https://h/CGI-BIN'].map((url) => [
      `upstream: { base_url: "${url}" }\n${APPS}`,
      '1 upstream.base_url',
      'must end before "/cgi-bin", which is put behind it; write for example "https://api.weixin.qq.com"',
    ]),
    ...['50%', '%zz', '%ff', 'a/b', 'a?b', 'a#b', '1#2'].map((password) => [
      `upstream: { proxy: "http://u:${password}@127.0.0.1:3128" }\n${APPS}`,
      '1 upstream.proxy',
      'has a user name or password that is not percent-encoded; write "%25" for "%"',
    ]),
    [`upstream: { baseUrl: "http://h" }\n${APPS}`, '1 upstream.baseUrl', 'did you mean base_url?'],
    [
      `watch: { zzz: 1 }\n${APPS}`,
      '1 watch.zzz',
      'is not a setting; write one of heartbeat, stall_timeout, max_watchers',
    ],
    [`ap: 1\n${APPS}`, '1 ap', 'is not a setting'],
    [`${APPS}\napps: []`, '2 apps', 'is written twice (line 1 too); keep one'],
    [`watch:\n\theartbeat: 1s\n${APPS}`, '2 ', 'is indented with a tab; write spaces'],
    [`watch: { heartbeat: 1s\n${APPS}`, '2 ', 'lacks the "]" or "}" of a bracket'],
    ['apps: [', '1 ', 'lacks the "]" or "}" of a bracket that was opened here or before; write it'],
    ['apps: [{ app_id: wx1, secret: s }\n', '2 ', 'lacks the "]" or "}" of a bracket'],
    ['apps: ]', '1 ', 'has a "]" or "}" that no bracket opens; remove it'],
    ['apps: [{ app_id: wx1 secret: s }]', '1 ', 'lacks a comma inside [ ] or { }; write commas'],
    ['apps: [\n  - { app_id: wx1, secret: s }\n]', '2 ', 'has a "- " or lacks a comma inside [ ]'],
    ['apps: [{ app_id: "wx1, secret: s }]', '1 ', 'lacks the closing quote of a text'],
    ['apps:\n  - app_id: wx1\n      secret: s\n', '2 ', 'is followed by a line that is indented too far; write'],
    ['apps:\n  - app_id: wx1\n   secret: s\n', '3 ', 'is indented wrongly; write the keys of one item in one'],
    ['apps:\n  - app_id: wx1\n  secret: s\n', '3 ', 'is indented wrongly; write the keys of one map in one'],
    [`watch:\n  heartbeat: 1s\n http: {}\n${APPS}`, '3 ', 'is indented wrongly; write the keys of one map'],
    [` watch: {}\n${APPS}`, '2 ', 'is indented wrongly; write the keys of one map'],
    [`apps: [{ app_id: wx1, secret: $\{WX_SECRET} }]`, '1 ', 'variables are not filled in; for a secret'],
    [`apps: [{ app_id: wx1, secret: "$\{WX_SECRET}" }]`, '1 apps[0].secret', 'write { env: WX_SECRET }'],
    ['apps: [{ app_id: wx1, secret: $WX_SECRET }]', '1 apps[0].secret', 'write { env: WX_SECRET }'],
    ['apps: [{ app_id: wx1, secret: "$(WX_SECRET)" }]', '1 apps[0].secret', 'write { env: WX_SECRET }'],
    [`apps: [{ app_id: wx1, secret: "$\{WX_SECRET:-x}" }]`, '1 apps[0].secret', 'write { env: WX_SECRET }'],
    ['apps: [{ app_id: wx1, secret: "%WX_SECRET%" }]', '1 apps[0].secret', 'write { env: WX_SECRET }'],
    ['apps: [{ app_id: wx1, secret: $abc }]', '1 apps[0].secret', 'write { env: NAME }'],
    [`store: { url: "$\{REDIS_URL}" }\n${APPS}`, '1 store.url', 'write { env: REDIS_URL } with the address as a whole'],
    [`store: { url: "redis://:$\{PW}@h" }\n${APPS}`, '1 store.url', 'write { env: PW } with the address as a whole'],
    [`upstream: { proxy: "$\{PROXY}" }\n${APPS}`, '1 upstream.proxy', 'write { env: PROXY } with the URL as a whole'],
    [`upstream: { proxy: "http://u:100%@h" }\n${APPS}`, '1 upstream.proxy', 'not percent-encoded; write "%25" for "%"'],
    [`store: { url: { env: NONE } }\n${APPS}`, '1 store.url.env', 'NONE is not set; set it to the address'],
    [`store: { url: { env: ODD } }\n${APPS}`, '1 store.url.env', 'what stands there is wrong: must be "sqlite:PATH"'],
    [
      `store: { url: { env: HOSTLESS } }\n${APPS}`,
      '1 store.url.env',
      'what stands there is wrong: the host is missing',
    ],
    [`store: { url: { env: a-b } }\n${APPS}`, '1 store.url.env', 'must be the name of an environment'],
    [
      `store: { url: { file: gone } }\n${APPS}`,
      '1 store.url.file',
      `does not exist; relative paths start at ${FOLDER}`,
    ],
    [
      `upstream: { proxy: { env: ODD } }\n${APPS}`,
      '1 upstream.proxy.env',
      'what stands there is wrong: must be null or',
    ],
    [`upstream: { proxy: { file: empty } }\n${APPS}`, '1 upstream.proxy.file', 'is empty; put the URL in it'],
    ['apps: [{ app_id: wx1, secret: { file: long } }]', '1 apps[0].secret.file', 'is longer than 256 characters'],
    [`${APPS}\n---\nx: 1`, '2 ', 'begins a second document'],
    ['apps: [{ app_id: wx1, secret: *abc }]', '1 apps[0].secret', 'write a text that begins with * in quotes'],
    ['apps: [{ app_id: wx1, secret: !abc }]', '1 ', 'write a text that begins with ! in quotes'],
  ])('%j', async (yaml, place, message) => {
    const files = {
      [`${FOLDER}/empty`]: '\n',
      [`${FOLDER}/lines`]: 'a\nb\n',
      [`${FOLDER}/long`]: 's'.repeat(257),
    };
    const error = await refusal(yaml, { env: { EMPTY: '', ODD: 'ftp://h', HOSTLESS: 'redis://' }, files });
    expect(places(error)[0]).toBe(place);
    expect(error.problems[0]?.message).toContain(message);
  });

  test('two apps of one id name each other', async () => {
    const error = await refusal('apps:\n  - { app_id: wx1, secret: a }\n  - { app_id: wx1, secret: b }\n');
    expect(error.message).toBe(
      `${FOLDER}/lingpai.yaml:3 apps[1].app_id: is the same as apps[0].app_id (line 2); keep one`,
    );
  });

  test('the message has one line a problem, in the order of the file', async () => {
    const error = await refusal('apps: []\nwatch: 3\n');
    expect(error.message.split('\n')).toEqual([
      expect.stringMatching(/^\/etc\/lingpai\/lingpai\.yaml:1 apps: is empty; write /),
      expect.stringMatching(/^\/etc\/lingpai\/lingpai\.yaml:2 watch: must be a map of settings; write /),
    ]);
  });

  test('what nobody would read is counted, and costs no more than it is long', async () => {
    const keys = (count: number) =>
      refusal(`${APPS}\n${Array.from({ length: count }, (_, i) => `k_${'abcdefghij'[i % 10]}${i}: 1`).join('\n')}`);
    const error = await keys(20_000);
    expect(error.total).toBe(20_000);
    expect(error.problems.length).toBe(101);
    expect(error.problems.at(-1)?.message).toBe('has 19900 more problems; mend these first');
    expect(error.message.split('\n').length).toBe(101);
  });

  test.each([
    ['keys that are not settings', (i: number) => `k${i}: 1\n`, APPS],
    ['nested lists', () => '[', `${APPS}\nx: `],
    ['nested items', () => '- ', `${APPS}\nx:\n `],
    ['aliases', () => '*a, ', `${APPS}\nx: &a 1\ny: [`],
    ['aliases of nothing', () => '*b, ', `${APPS}\ny: [`],
    ['anchors with an alias each', (i: number) => `a${i}: &a${i} 1\nb${i}: *a${i}\n`, APPS],
    ['keys below a long one', (i: number) => ` b${i}: 1\n`, `${APPS}\n${'k'.repeat(200_000)}:\n`],
    ['apps that lack everything', () => '- {}\n', 'apps:\n'],
  ])('what takes quadratic time to read is refused as well: %s', async (_, unit, head) => {
    // Half a minute at the least where each unit is compared with all the others, or carries a long path along.
    const units = Array.from({ length: 30_000 }, (_, i) => unit(i)).join('');
    expect((await refusal(`${head}\n${units}`.replace('[\n', '['))).problems.length).toBeGreaterThan(0);
  });

  test('aliases that multiply are refused', async () => {
    const bomb = ['a: &a [x, x, x, x, x, x, x, x, x]'];
    for (const [name, of] of ['ba', 'cb', 'dc', 'ed'])
      bomb.push(`${name}: &${name} [${Array(9).fill(`*${of}`).join(', ')}]`);
    expect((await refusal(bomb.join('\n'))).message).toContain('repeats its aliases');
  });
});

describe('P12: no secret shows in a problem', () => {
  const SECRET = 'hunter2c0ffee5ec7e75ec7e75ec7e75';
  test.each([
    `apps: [{ app_id: wx1, secret: ${SECRET}, x: 1 }]`,
    `apps: [{ app_id: wx1, secret: [${SECRET}] }]`,
    `apps: [{ app_id: wx1, secret: { ${SECRET} } }]`,
    `apps: [{ app_id: wx1, secret: { ${SECRET}: 1, env: A } }]`,
    `apps: [{ app_id: wx1, secret: { text: ${SECRET} } }]`,
    `apps: [{ app_id: wx1, secret: { env: ${SECRET} } }]`,
    `apps: [{ app_id: wx1, secret: { file: ${SECRET} } }]`,
    `apps: [{ app_id: wx1, secret:${SECRET} }]`,
    `apps: [{ app_id: wx1, ${SECRET}: secret }]`,
    `apps: [{ app_id: wx1, ${SECRET}: 1, ${SECRET}: 2 }]`,
    `apps: [{ app_id: wx1, secret: ${SECRET} ]`,
    `apps: [{ app_id: wx1, secret: "${SECRET} }]`,
    `apps:\n  - app_id: wx1\n    secret: ${SECRET}: ${SECRET}\n`,
    `apps:\n  - app_id: wx1\n    secret:${SECRET}\n`,
    `apps:\n  - app_id: wx1\n   secret: ${SECRET}\n`,
    `apps:\n  - app_id: wx1\n    secret: *${SECRET}\n`,
    `apps:\n  - app_id: wx1\n    secret: !${SECRET} x\n`,
    `apps:\n  - app_id: wx1\n    secret: @${SECRET}\n`,
    `apps:\n  - app_id: wx1\n    secret: "\\q${SECRET}"\n`,
    `apps:\n  - app_id: wx1\n    secret: "${SECRET} with space"\n`,
    `apps:\n  - app_id: wx1\n    secret: >x${SECRET}\n`,
    `apps: [{ app_id: "${SECRET} ", secret: { env: WX } }]`,
    `apps: [{ app_id: ${SECRET}, secret: a }, { app_id: ${SECRET}, secret: b }]`,
    `apps: [{ app_id: wx1, secret: a, issuer: ${SECRET} }]`,
    `grpc: { listen: ${SECRET} }\n${APPS}`,
    `upstream: { timeout: ${SECRET}, proxy: "http://u:${SECRET}@", base_url: "http://${SECRET}@h" }\n${APPS}`,
    `store: { url: ${SECRET} }\n${APPS}`,
    `${SECRET}: 1\n${APPS}`,
    `%${SECRET}\n---\n${APPS}`,
    `apps: [{ app_id: wx1, secret: a, secret:${SECRET}: *x }]`,
    `store: { url: "redis://:$\{x}${SECRET}@h" }\n${APPS}`,
    `store: { url: { env: ${SECRET} } }\n${APPS}`,
    `store: { url: { env: URL } }\nupstream: { proxy: { env: PROXY } }\n${APPS}`,
    `upstream: { proxy: "http://u:${SECRET}%@h" }\n${APPS}`,
    `apps: [{ app_id: wx1, secret: "$\{${SECRET}}" }]`,
    `apps: [{ app_id: wx1, secret: $${SECRET} }]`,
    `apps: [{ app_id: wx1, secret: $\{${SECRET}} }]`,
    SECRET,
  ])('%#', async (yaml) => {
    const error = await refusal(yaml, {
      env: { WX: `${SECRET} `, URL: `redis://:${SECRET}@`, PROXY: `http://u:${SECRET}%@h` },
    });
    expect(error.problems.length).toBeGreaterThan(0);
    expect(error.stack).not.toContain(SECRET);
    expect(JSON.stringify(error.problems)).not.toContain(SECRET);
    expect(error.cause).toBeUndefined();
  });
});

test('P12: below `secret` not even a key that looks like a setting is named', async () => {
  const error = await refusal('apps: [{ app_id: wx1, secret: { env: WX, correcthorse: 1 } }]', { env: { WX: 's' } });
  expect(places(error)).toEqual(['1 apps[0].secret']);
  expect(error.message).not.toContain('correcthorse');
});

describe('on a real disk', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lingpai-config-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test('reads the config and its secret files', async () => {
    await writeFile(join(folder, 'key'), 's1\n');
    await writeFile(join(folder, 'ok.yaml'), 'apps: [{ app_id: wx1, secret: { file: key } }]');
    const config = await loadConfig(join(folder, 'ok.yaml'), {});
    expect(config.apps[0]?.secret).toBe('s1');
    expect(config.secretFiles).toEqual([join(folder, 'key')]);
  });

  test.each<[string, string | Buffer | undefined, string]>([
    ['gone.yaml', undefined, 'does not exist; write a config file there'],
    ['.', undefined, 'is a folder'],
    ['pipe', undefined, 'is a pipe, a device or a socket; name a regular file'],
    ['/dev/zero', undefined, 'is a pipe, a device or a socket; name a regular file'],
    ['long.yaml', `#${' '.repeat(1024 * 1024)}`, 'is larger than 1 MiB'],
    ['gbk.yaml', Buffer.from([0x61, 0x0a, 0x0a, 0xd6, 0xd0, 0x0a, 0xff]), 'is not UTF-8 (line 3); save it as UTF-8'],
    ['utf16.yaml', Buffer.from('\uFEFFapps: []', 'utf16le'), 'is not UTF-8 (line 1)'],
  ])('is no file to read: %s', async (name, content, message) => {
    const path = resolve(folder, name);
    if (content !== undefined) await writeFile(path, content);
    else if (name === 'pipe') execFileSync('mkfifo', [path]);
    await expect(loadConfig(path, {})).rejects.toSatisfy(
      (error) => error instanceof ConfigError && error.problems.length === 1 && error.message.includes(message),
    );
    const config = join(folder, 'points.yaml');
    await writeFile(config, `apps: [{ app_id: wx1, secret: { file: "${path}" } }]`);
    const told = message.replace(/;.*/, '');
    await expect(loadConfig(config, {})).rejects.toSatisfy(
      (error) => error instanceof ConfigError && error.message.includes(`apps[0].secret.file: the file ${told}`),
    );
  });

  test('a mark of the order of bytes is no part of a secret', async () => {
    await writeFile(join(folder, 'marked'), '\uFEFFs1\n');
    await writeFile(join(folder, 'marked.yaml'), '\uFEFFapps: [{ app_id: wx1, secret: { file: marked } }]');
    expect((await loadConfig(join(folder, 'marked.yaml'), {})).apps[0]?.secret).toBe('s1');
  });
});
