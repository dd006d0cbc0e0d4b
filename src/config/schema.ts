import * as z from 'zod';
import { ISSUER_KINDS } from '../core/tokens/issuers.ts';
import { accessSchema, auditSection, sealSchema, tlsSchema } from './access-schema.ts';
import {
  baseUrl,
  duration,
  hosts,
  integer,
  listen,
  listenOrNull,
  proxyUrl,
  says,
  section,
  settings,
  share,
  words,
} from './fields.ts';

const envError = says('the name of an environment variable (A-Z, a-z, 0-9, _)', 'for example { env: WX_SECRET }');
const fileError = says('the path of a file', 'for example { file: secrets/wx1 }');

/** The two ways of saying that a text stands elsewhere, which the descriptions call `thing`. */
function elsewhere(thing: string) {
  const env = z
    .string({ error: envError })
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: envError })
    .describe(`The name of the environment variable that holds ${thing}.`);
  const file = z
    .string({ error: fileError })
    .min(1, { error: fileError })
    .describe(
      `The path of a file that holds ${thing} and nothing else; a relative one starts at the folder of this file.`,
    );
  return [z.strictObject({ env }), z.strictObject({ file })] as const;
}

/** A place in which a text stands. */
export const pointerSchema = z.union(elsewhere('it'));

const storeError = says(
  '"sqlite:PATH", "redis://HOST" or "memory:", or { env: NAME } or { file: PATH } of such a text',
  'for example "sqlite:lingpai.db"',
);

/** The address of a store. */
export const storeUrlSchema = z
  .string({ error: storeError })
  // A `sqlite://` URL reads as a relative path to some and as an absolute one to others.
  .regex(/^(memory:|sqlite:(?!\/\/|:).+|rediss?:\/\/.*)$/, { error: storeError });

const storeUrl = z
  .union([storeUrlSchema, ...elsewhere('the address')], { error: storeError })
  .prefault('sqlite:lingpai.db')
  .describe(
    'Where tokens, budgets and the ledger of messages survive a restart. "sqlite:PATH" keeps them in one file, for one broker (a relative PATH starts at the folder of this file). "redis://[USER[:PASSWORD]@]HOST[:PORT][/DB][?prefix=NAME]", with TLS "rediss://...", keeps them in a Redis that several brokers share. "memory:" keeps nothing: each start asks WeChat again. With a password prefer { env: NAME } or { file: PATH } of the whole address, so that this file holds no secret.',
  );

const proxyError = says(
  'null or an http:// or https:// URL, or { env: NAME } or { file: PATH } of such a text',
  'null, or for example "http://127.0.0.1:3128"',
);

/** The URL of a proxy. */
export const proxyUrlSchema = proxyUrl(proxyError);

const secretError = says(
  'one of { env: NAME }, { file: PATH } or text of 1 to 256 characters',
  'for example { env: WX_SECRET } (a text of digits alone needs quotes)',
);

/** An app's AppSecret as the file writes it: text, or where to find it. */
export const secretSchema = z
  .union(
    [
      z.string({ error: secretError }).min(1, { error: secretError }).max(256, { error: secretError }),
      ...elsewhere('the AppSecret'),
    ],
    { error: secretError },
  )
  .describe(
    "The app's AppSecret: { env: NAME }, { file: PATH } or the text itself. Prefer the first two, so that this file holds no secret.",
  );

/** What the gateway hands out as access_token. */
const TOKENS = ['standin', 'real'] as const;
const tokensError = says('standin or real', 'one of them, or leave the key out for standin');

const appIdError = says(
  'text of 1 to 64 characters out of A-Z, a-z, 0-9, - and _',
  'the AppID, for example wx0123456789abcdef, in quotes if it is digits alone',
);
const issuerError = says('stable or classic', 'one of them, or leave the key out for stable');

const app = z.strictObject(
  {
    app_id: z
      .string({ error: appIdError })
      .regex(/^[A-Za-z0-9_-]{1,64}$/, { error: appIdError })
      .describe("The app's AppID. Each app stands in the list once."),
    secret: secretSchema,
    issuer: z
      .enum(ISSUER_KINDS, { error: issuerError })
      .prefault('stable')
      .describe(
        'The token endpoint. "stable" (/cgi-bin/stable_token) reads: prefer it. "classic" (/cgi-bin/token) mints at each call: for apps whose tokens others already fetch that way.',
      ),
  },
  { error: says('a map', '{ app_id: ..., secret: ... }') },
);

const apps = z
  .array(app, { error: says('a list', '"apps:" and below it "- { app_id: ..., secret: { env: NAME } }" for each app') })
  .min(1, { error: 'is empty; write "- { app_id: ..., secret: { env: NAME } }" for each app' })
  .describe('The WeChat apps whose tokens are kept; at least one.');

/** A replica that is looked at less often than this in a lease would be taken for dead now and then. */
const POLLS_A_LEASE = 3;

const cluster = settings({
  lease: duration('15s', {
    min: '1s',
    max: '5m',
    about: 'How long a replica may be silent before the others take over what it was at; at least three times `poll`.',
  }),
  poll: duration('2s', {
    min: '100ms',
    max: '1m',
    about:
      'The pause between looks for what other replicas stored: how far behind one can be that Redis does not notify. Each look is one command.',
  }),
})
  .refine(({ lease, poll }) => lease >= POLLS_A_LEASE * poll, {
    path: ['lease'],
    error: 'must be at least three times cluster.poll; write a longer one, or a shorter poll',
  })
  .prefault({} as never)
  .describe(
    'Several replicas that share a store: read where store.url is redis:// or rediss://. Give all of them the same.',
  );

/** The whole config file: the one source of its checks, its defaults, its types and lingpai.schema.json. */
export const configSchema = z.strictObject(
  {
    grpc: section('The gRPC listener.', {
      listen: listen('127.0.0.1:7600', 'Where gRPC is served. Beyond loopback only with `access`.'),
    }),
    http: section('The HTTP listener: Connect/JSON, gRPC-Web, /livez, /readyz, /metrics.', {
      listen: listen('127.0.0.1:7680', 'Where HTTP is served. Beyond loopback only with `access`.'),
      hosts: hosts(
        'The hosts that it answers to (Host header), besides localhost. On loopback it answers to no other, so that no web page can make a name of its own lead here; elsewhere to any unless some are named. /livez and /readyz answer to all.',
      ),
    }),
    gateway: section("WeChat's own API, for services whose SDK fetches its tokens itself: see docs/gateway.md.", {
      listen: listenOrNull('127.0.0.1:7670', 'Where it is served; null: nowhere. Beyond loopback only with `access`.'),
      tokens: z
        .enum(TOKENS, { error: tokensError })
        .prefault('standin')
        .describe(
          'What an SDK is given as access_token. "standin": a text that only the gateway takes, which puts the token in its place; needs the verb call. "real": the token itself, for an SDK of which only the token URL can be moved; needs the verb read.',
        ),
    }),
    tls: tlsSchema,
    access: accessSchema,
    audit: auditSection,
    store: section('Where tokens and budgets are kept.', { url: storeUrl, seal: sealSchema }),
    upstream: section('WeChat, and the way to it.', {
      base_url: baseUrl(
        'https://api.weixin.qq.com',
        'The root of the WeChat API, without `/cgi-bin`; another one for a sandbox.',
      ),
      timeout: duration('5s', {
        min: '10ms',
        max: '1m',
        about: 'The time one call to WeChat may take in all. Longer holds up the callers that wait for a first token.',
      }),
      overlap: duration('5m', {
        min: '0s',
        max: '1h',
        about: 'How long WeChat honours the token before the current one; WeChat documents 5 minutes.',
      }),
      proxy: z
        .union([z.null(), proxyUrlSchema, ...elsewhere('the URL')], { error: proxyError })
        .prefault(null)
        .describe(
          'A proxy for every call to WeChat, for instance for an address that is on the allow-list; user and password percent-encoded. The environment (HTTPS_PROXY) is not read. null, or an http:// or https:// URL, or, with a password, { env: NAME } or { file: PATH } of the whole URL.',
        ),
      quota_reset_hour: integer(0, {
        min: 0,
        max: 23,
        about:
          "The hour in Asia/Shanghai at which WeChat's daily quotas reset. WeChat does not document it; midnight is what is seen.",
      }),
    }),
    refresh: section('When tokens are replaced, and how often at most; each limit is per app.', {
      classic_at: share(
        0.5,
        "The share of a classic token's life after which it is replaced. At 0.5 the endpoint can be down for an hour before anyone notices.",
      ),
      stable_poll: duration('15s', {
        min: '1s',
        max: '5m',
        about: "The pause between reads near the end of a stable token's life, until a new one comes.",
      }),
      cooldown: duration('30s', {
        min: '0s',
        max: '1h',
        about: 'The least time between mints that callers cause. WeChat ignores forced refreshes less than 30 s apart.',
      }),
      probe_interval: duration('60s', {
        min: '1s',
        max: '24h',
        zero: true,
        about: "The pause between the broker's checks that its own tokens still work; 0s turns them off.",
      }),
      daily_budget: integer(1000, {
        min: 1,
        max: 10_000,
        about: 'Mints a day and app. Keep it below the quota that WeChat gives /cgi-bin/token (2000 as documented).',
      }),
      force_daily_budget: integer(18, {
        min: 0,
        max: 20,
        about: 'Calls with force_refresh a day and app. WeChat allows 20; two are kept for an emergency.',
      }),
    }),
    watch: section('WatchToken streams.', {
      heartbeat: duration('10s', {
        min: '1s',
        max: '12s',
        about: 'The longest silence on a stream; clients take 25 s without a message for a lost connection.',
      }),
      stall_timeout: duration('30s', {
        min: '1s',
        max: '10m',
        about: 'After how long a stream whose client does not read is ended.',
      }),
      max_watchers: integer(50_000, {
        min: 1,
        max: 1_000_000,
        about: 'How many streams may be open at once; each takes some memory.',
      }),
    }),
    messages: section('How many messages are sent at most; each limit is per app.', {
      daily_quota: integer(1_000_000, {
        min: 1,
        max: 1_000_000_000,
        about: 'Messages a day. It counts from upstream.quota_reset_hour, and goes on counting after a restart.',
      }),
      rate: integer(0, { min: 0, max: 100_000, about: 'Messages a second; 0 sets no limit.' }),
      concurrency: integer(128, {
        min: 1,
        max: 10_000,
        about: 'Messages under way at once; the next ones wait. A stream of messages is read only so far ahead.',
      }),
      max_waiting: integer(10_000, {
        min: 0,
        max: 1_000_000,
        about: 'Messages that may wait for their turn; more are refused at once.',
      }),
      max_permits: integer(1_000_000, {
        min: 1,
        max: 100_000_000,
        about: 'Permits with uses left that may be deposited; one takes about 400 bytes in a file and 1,000 in Redis.',
      }),
    }),
    review: section('Words that ReviewTemplate looks for besides those that it knows.', {
      marketing_words: words('Words of marketing, which no title may have (rule 1.6).'),
      general_titles: words('Titles, without 提醒 or 通知, that name no concrete service (rule 1.5).'),
      own_words: words('Words of your own, such as brands and slogans, which no title may have (rule 1.4).'),
      broad_keywords: words('Keywords that say too little (rule 2.5).'),
    }),
    cluster,
    apps,
  },
  { error: says('a map of settings', '"apps:" with at least one app; examples/lingpai.yaml shows every setting') },
);

/** The file's content once checked: defaults filled in, durations in milliseconds, secrets not resolved yet. */
export type ConfigFile = z.output<typeof configSchema>;
