/** The most characters that the name of a caller has: those of a SPIFFE ID. */
export const MAX_WHO = 2048;

/** How a key, or an issuer of JWTs, is named. */
export const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** How the id of a credential is written. */
const CREDENTIAL_ID = /^[0-9a-f]{12}$/;

const KINDS = 'key:NAME, spiffe://TRUST-DOMAIN/PATH, dns:NAME, k8s:ISSUER/NAMESPACE/ACCOUNT or jwt:ISSUER/SUB';

/** What the names of each kind look like, whole and as far as they go before a `*`; and what to write. */
const FORMS: readonly {
  readonly prefix: string;
  readonly whole: RegExp;
  readonly beginning: RegExp;
  readonly advice: string;
}[] = [
  {
    prefix: 'key:',
    whole: NAME,
    beginning: /^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$/,
    advice:
      'write key: and the name that "lingpai keys" has for it: 1 to 64 characters out of A-Z, a-z, 0-9, ., _ and -',
  },
  {
    prefix: 'spiffe://',
    whole: /^[a-z0-9._-]+(\/[A-Za-z0-9._-]+)+$/,
    // In the trust domain it would let in others, whose names begin alike.
    beginning: /^([a-z0-9._-]+(\/[A-Za-z0-9._-]+)*\/[A-Za-z0-9._-]*)?$/,
    advice:
      'write spiffe://TRUST-DOMAIN/PATH: the trust domain in lower case, and a * nowhere but at the end of the path',
  },
  {
    prefix: 'dns:',
    whole: /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/,
    beginning: /^[a-z0-9._-]*$/,
    advice: 'write dns: and the name that the certificate has, in lower case',
  },
  {
    prefix: 'k8s:',
    whole: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\/[a-z0-9.-]+\/[a-z0-9.-]+$/,
    beginning: /^([A-Za-z0-9][A-Za-z0-9._-]{0,63}\/[a-z0-9.-]*(\/[a-z0-9.-]*)?)?$/,
    advice: 'write k8s:ISSUER/NAMESPACE/ACCOUNT, where ISSUER is the name of an item of access.tokens, or k8s:ISSUER/*',
  },
  {
    prefix: 'jwt:',
    whole: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\/[^\p{Cc}]+$/u,
    beginning: /^([A-Za-z0-9][A-Za-z0-9._-]{0,63}\/[^\p{Cc}]*)?$/u,
    advice: 'write jwt:ISSUER/SUB, where ISSUER is the name of an item of access.tokens, or jwt:ISSUER/*',
  },
];

/** What is wrong with a name of callers in a rule, and what to write; undefined: nothing. */
export function whoProblem(who: string): string | undefined {
  if (who === '*') return undefined;
  if (who.slice(0, -1).includes('*')) return 'has a * that is not at its end; write it there, or none';
  const form = FORMS.find(({ prefix }) => who.startsWith(prefix));
  if (!form) return `does not say how the caller is known; write ${KINDS}`;
  const isBeginning = who.endsWith('*');
  const rest = isBeginning ? who.slice(form.prefix.length, -1) : who.slice(form.prefix.length);
  return (isBeginning ? form.beginning : form.whole).test(rest) ? undefined : `is no name of this kind; ${form.advice}`;
}

/** The same for one who is blocked, who may also be named by the id of a credential. */
export function blockedProblem(who: string): string | undefined {
  if (CREDENTIAL_ID.test(who)) return undefined;
  const problem = whoProblem(who);
  return problem?.startsWith('does not say') ? `${problem}, or the 12 hex digits of a key's id` : problem;
}

/** The issuer that a name of callers speaks of, and how its callers are known; undefined: of none, or of all. */
export function issuerOf(who: string): { readonly kind: 'k8s' | 'jwt'; readonly issuer: string } | undefined {
  const [, kind, issuer] = /^(k8s|jwt):([^/*]+)\//.exec(who) ?? [];
  return issuer === undefined ? undefined : { kind: kind === 'k8s' ? 'k8s' : 'jwt', issuer };
}
