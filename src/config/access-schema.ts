import * as z from 'zod';
import { VERBS } from '../core/access/verbs.ts';
import { isLoopback } from '../core/kernel/web.ts';
import { integer, says, section, settings } from './fields.ts';
import { blockedProblem, MAX_WHO, NAME, whoProblem } from './who.ts';

export const MAX_ISSUERS = 16;
export const MAX_SEAL_KEYS = 16;
const MAX_RULES = 1000;
/** In all rules together: what a caller may do is found out by looking at all of them once. */
const MAX_NAMES = 100_000;

const fileError = says('the path of a file', 'for example tls/server.pem');

function file(about: string) {
  return z
    .string({ error: fileError })
    .min(1, { error: fileError })
    .max(4096, { error: fileError })
    .describe(`${about} The path of a file; a relative one starts at the folder of this file.`);
}

const tlsError = says('a map with cert and key, or off', 'tls: { cert: FILE, key: FILE }, or tls: off');

/** What every listener is encrypted with. */
export const tlsSchema = z
  .union(
    [
      z.literal('off'),
      settings({
        cert: file(
          "The certificate that callers see, in PEM: the server's own first, then those between it and a root.",
        ),
        key: file('The private key of the certificate, in PEM, without a passphrase.'),
        client_ca: file(
          'Certificates in PEM. A caller that presents one signed by them is known by it: `spiffe://...` or `dns:NAME`. To present one stays optional.',
        ).optional(),
      }),
    ],
    { error: tlsError },
  )
  .optional()
  .describe(
    'TLS on every listener, or "off". Where rules are and a listener is beyond loopback it has to be written: without TLS keys and tokens can be read on their way. New files are taken up while running; from off to on, or back, takes a restart.',
  );

const verbError = says(`one of ${VERBS.join(', ')}`, 'a list of them, for example [read]');
const appError = says(
  'an app id, or the beginning of some and a * at its end',
  'for example [wx0123456789abcdef], or ["*"] for every app',
);
const pathError = says('the beginning of a path of WeChat, from its / on', 'for example "/cgi-bin/message/"');
const whoError = says(
  `text of 1 to ${MAX_WHO} characters`,
  'for example key:orders, or "spiffe://prod.example/ns/pay/*"',
);

/** Text of which a function says what is wrong with it. */
function named(problemOf: (text: string) => string | undefined) {
  return z
    .string({ error: whoError })
    .min(1, { error: whoError })
    .max(MAX_WHO, { error: whoError })
    .superRefine((text, context) => {
      const message = text === '' || text.length > MAX_WHO ? undefined : problemOf(text);
      if (message !== undefined) context.addIssue({ code: 'custom', message });
    });
}

function list<T extends z.ZodType>(item: T, max: number, error: ReturnType<typeof says>) {
  return z
    .array(item, { error })
    .min(1, { error: (issue) => error({ input: issue.input }).replace(/^must be .*?; /, 'is empty; ') })
    .max(max, { error: `has more than ${max} items; write fewer` });
}

const rule = settings({
  who: list(
    named(whoProblem),
    1000,
    says('a list of callers', 'for example [key:orders, "spiffe://prod.example/ns/pay/*"]'),
  ).describe(
    'The callers: key:NAME, spiffe://TRUST-DOMAIN/PATH, dns:NAME, k8s:ISSUER/NAMESPACE/ACCOUNT or jwt:ISSUER/SUB. A * at the end of a name stands for any rest; alone, for every caller that is known.',
  ),
  may: list(z.enum(VERBS, { error: verbError }), VERBS.length, verbError).describe(
    'What they may do. read: Get, WatchToken, ForceRefresh that names what was refused, tickets. call: the gateway, where they see no token. send: messages and permits. refresh: ForceRefresh that names nothing. status: GetStatus; with apps ["*"] also /metrics and the names in /readyz. admin: ListCallers, GetQuota, ClearQuota, GetRequest, ProbeToken, and what the console does.',
  ),
  apps: list(
    z.string({ error: appError }).regex(/^([A-Za-z0-9_-]{1,64}|[A-Za-z0-9_-]{0,64}\*)$/, { error: appError }),
    10_000,
    says('a list of app ids', 'for example [wx0123456789abcdef], or ["*"] for every app'),
  ).describe('With which apps. A * at the end stands for any rest; alone, for every app, those to come included.'),
  paths: list(
    z
      .string({ error: pathError })
      .max(256, { error: pathError })
      .regex(/^\/[\x21-\x7e]*$/, { error: pathError }),
    100,
    says('a list of beginnings of paths', 'for example ["/cgi-bin/message/"]'),
  )
    .optional()
    .describe(
      'What of WeChat they may reach with `call`, by the beginnings of paths; all of it where this is left out.',
    ),
}).refine(({ may, paths }) => !paths || may.includes('call'), {
  path: ['paths'],
  error: 'is only for the verb call; write call into may, or leave paths out',
});

const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const;
const algorithmError = says(`one of ${ALGORITHMS.join(', ')}`, 'what the issuer signs with, for example [RS256]');
const nameError = says(
  'text of 1 to 64 characters out of A-Z, a-z, 0-9, ., _ and -',
  'the name that rules have for it, for example prod',
);
const textError = says('text of 1 to 1024 characters', 'what the JWTs have, to the letter');
const urlError = says('an https:// URL (http:// only on loopback)', 'where the issuer has its keys');
const claim = z.string({ error: textError }).min(1, { error: textError }).max(1024, { error: textError });

const jwks = settings({
  file: file('A JWK set.').optional(),
  url: z
    .string({ error: urlError })
    .max(2048, { error: urlError })
    .refine(isFetchable, { error: urlError })
    .optional()
    .describe('Where the JWK set is fetched, again and again; the last good one is kept. An https:// URL.'),
  ca: file(
    'With url: the certificates in PEM that its server is known by; left out: those that Node trusts.',
  ).optional(),
  token: file('With url: the bearer token to fetch it with, read anew each time.').optional(),
}).superRefine(({ file, url, ca, token }, context) => {
  const issue = (message: string, path: string[] = []) => context.addIssue({ code: 'custom', path, message });
  if ((file === undefined) === (url === undefined)) issue('needs one of the two; write { file: FILE } or { url: URL }');
  else if (url === undefined) {
    if (ca !== undefined) issue('is only for url; leave it out', ['ca']);
    if (token !== undefined) issue('is only for url; leave it out', ['token']);
  }
});

function isFetchable(text: string): boolean {
  const url = URL.parse(text);
  if (!url || url.username || url.password) return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname.replace(/^\[|\]$/g, '')));
}

const issuer = settings({
  name: z
    .string({ error: nameError })
    .regex(NAME, { error: nameError })
    .describe('The name that rules have for it: k8s:NAME/... or jwt:NAME/...'),
  kubernetes: z
    .boolean({ error: says('true or false', 'true for the service accounts of a Kubernetes cluster') })
    .prefault(false)
    .describe('Whether its JWTs are of service accounts: k8s:NAME/NAMESPACE/ACCOUNT, and not jwt:NAME/SUB.'),
  issuer: claim.describe('Their claim `iss`.'),
  audience: claim.describe('What their claim `aud` has to have.'),
  algorithms: list(z.enum(ALGORITHMS, { error: algorithmError }), ALGORITHMS.length, algorithmError)
    .prefault(['RS256'])
    .describe('What they may be signed with.'),
  jwks: jwks.describe('The public keys: { file: FILE } or { url: URL }.'),
});

const accessError = says('a map with rules, or open', 'access: { keys: lingpai.keys, rules: [...] }, or access: open');

/** Who may do what. */
export const accessSchema = z
  .union(
    [
      z.literal('open'),
      settings({
        keys: file(
          'Where "lingpai keys" writes which keys are good; it holds no key. It need not exist before the first key does.',
        ).optional(),
        tokens: z
          .array(issuer, {
            error: says('a list of issuers', 'for example [{ name: prod, issuer: ..., audience: ... }]'),
          })
          .max(MAX_ISSUERS, { error: `has more than ${MAX_ISSUERS} issuers; write fewer` })
          .prefault([])
          .describe('Issuers whose JWTs are identities.'),
        rules: z
          .array(rule, {
            error: says('a list of rules', 'for example [{ who: [key:orders], may: [read], apps: ["*"] }]'),
          })
          .max(MAX_RULES, { error: `has more than ${MAX_RULES} rules; write fewer` })
          .refine((rules) => rules.reduce((sum, { who, apps }) => sum + who.length + apps.length, 0) <= MAX_NAMES, {
            error: `has more than ${MAX_NAMES} callers and apps in all; write fewer, or a * at the end of a name`,
          })
          .describe('Who may do what. Rules only allow, and their order does not matter; what none allows is denied.'),
        blocked: z
          .array(named(blockedProblem), { error: says('a list of callers', 'for example [key:orders, 3f9a12c07b1e]') })
          .max(10_000, { error: 'has more than 10000 items; write fewer' })
          .prefault([])
          .describe('Callers, or ids of keys (12 hex digits), that may do nothing, whatever the rules say.'),
        limits: section('What each caller may use.', {
          calls: integer(1000, { min: 1, max: 1_000_000, about: 'Calls a second.' }),
          streams: integer(1000, { min: 1, max: 1_000_000, about: 'Streams that are open at once.' }),
        }),
      }),
    ],
    { error: accessError },
  )
  .optional()
  .describe(
    'Who may do what, or "open": everyone who reaches a listener may do everything, which is right only where something else keeps strangers away. On loopback it may be left out: then every caller is `local` and may do everything. Changed rules, keys and limits are taken up while running; between rules, "open" and nothing takes a restart.',
  );

const auditError = says('stdout, off or the path of a file', 'for example to: stdout');

export const auditSection = section('The audit log: who read, changed and was denied what, in JSON lines.', {
  to: z
    .string({ error: auditError })
    .min(1, { error: auditError })
    .max(4096, { error: auditError })
    .prefault('stdout')
    .describe(
      'Where it goes: "stdout", beside the log; "off"; or the path of a file, to which lines are added (a relative one starts at the folder of this file).',
    ),
});

const sealError = says('a list of paths of key files, and of plain', 'for example [secrets/store-1.key]');

export const sealSchema = z
  .array(z.string({ error: sealError }).min(1, { error: sealError }).max(4096, { error: sealError }), {
    error: sealError,
  })
  .max(MAX_SEAL_KEYS, { error: `has more than ${MAX_SEAL_KEYS} keys; write fewer` })
  .prefault([])
  .describe(
    'The files of the keys that seal tokens in the store ("lingpai store key" makes one). The first seals, all open. "plain" may stand in the list for records that are not sealed; an empty list is ["plain"]. Relative paths start at the folder of this file.',
  );
