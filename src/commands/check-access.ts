import type { AccessConfig, Config } from '../config/config.ts';
import { accessMode, accessRules } from '../config/exposure.ts';
import { issuerOf, whoProblem } from '../config/who.ts';
import { Policy } from '../core/access/policy.ts';
import { VERBS, type Verb } from '../core/access/verbs.ts';
import { Failure } from './exit.ts';
import type { Io } from './io.ts';
import { asLines, jsonLine, print } from './output.ts';

/** What is asked: whether a caller may do something with an app, or with every app (`*`). */
export interface AccessQuestion {
  readonly who: string;
  readonly may: Verb;
  readonly app: string;
}

/** What a configuration answers. */
interface AccessAnswer {
  readonly ok: boolean;
  /** The index of the rule that allows it; null: none does, or there are no rules. */
  readonly rule: number | null;
  /** Why, or what to write. */
  readonly message: string;
}

/** The flags of `check` that ask it, which go together. */
export interface AccessFlags {
  readonly who?: string;
  readonly may?: string;
  readonly app?: string;
}

/** What flags ask; undefined: nothing. Throws a Failure with exit code 2. */
export function questionOf({ who, may, app }: AccessFlags): AccessQuestion | undefined {
  if (who === undefined && may === undefined && app === undefined) return undefined;
  if (who === undefined || may === undefined || app === undefined)
    throw new Failure('--who, --may and --app ask one question together: write all three, or none', 2);
  const verb = VERBS.find((known) => known === may);
  if (!verb) throw new Failure(`--may ${may}: write one of ${VERBS.join(', ')}`, 2);
  const problem = who.endsWith('*') ? 'is no single caller; write one whole name' : whoProblem(who);
  if (problem !== undefined) throw new Failure(`--who ${who}: ${problem}`, 2);
  if (!/^([A-Za-z0-9_-]{1,64}|\*)$/.test(app))
    throw new Failure(`--app ${app}: write an app id, or "*" for every app`, 2);
  return { who, may: verb, app };
}

/** Says which rule allows it, or what to write. Exit code 1: nothing does. */
export function checkAccess(config: Config, question: AccessQuestion, options: { json?: boolean }, io: Io): void {
  const answer = answerTo(config, question);
  if (options.json) print(jsonLine({ ...answer, problems: [], warnings: config.warnings }), io);
  else if (answer.ok) print(asLines([answer.message]), io);
  if (!answer.ok) throw new Failure(answer.message);
}

function answerTo(config: Config, { who, may, app }: AccessQuestion): AccessAnswer {
  const access = accessRules(config);
  const what = `${may} ${app === '*' ? 'every app' : app}`;
  const note =
    app === '*' || config.apps.some(({ appId }) => appId === app) ? '' : ` (${app} is no app of this configuration)`;
  if (access === null) {
    const why = accessMode(config) === 'open' ? 'access is open' : 'only this machine reaches the listeners';
    return { ok: true, rule: null, message: `${who} may ${what}${note}: ${why}, and every caller may do everything` };
  }
  const denied = (message: string): AccessAnswer => ({ ok: false, rule: null, message });
  const policy = new Policy(access);
  if (policy.isBlocked({ name: who, credentialId: null }))
    return denied(`${who} is blocked, and may do nothing; take it out of access.blocked`);
  const rule = policy.explain(who, may, app);
  if (rule === undefined) {
    const written = `- { who: [${JSON.stringify(who)}], may: [${may}], apps: [${JSON.stringify(app)}] }`;
    return denied(`${who} may not ${what}${note}; below access.rules write ${written}`);
  }
  const unknown = whyUnknown(access, config.tls, who);
  if (unknown !== undefined) return denied(`access.rules[${rule}] lets ${who} ${what}${note}, but ${unknown}`);
  const key = who.startsWith('key:') ? who.slice('key:'.length) : undefined;
  const isLacking = key !== undefined && access.keyNames?.includes(key) === false;
  const lacks = isLacking ? `; it has no key yet: lingpai keys create ${key}` : '';
  return { ok: true, rule, message: `${who} may ${what}${note}: access.rules[${rule}] allows it${lacks}` };
}

/** Why nobody can be known by a name; undefined: somebody can. */
function whyUnknown(access: AccessConfig, tls: Config['tls'], who: string): string | undefined {
  if (who.startsWith('key:')) {
    if (access.keysFile === null) return 'no key is known; write access.keys, for example keys: lingpai.keys';
    return undefined;
  }
  if (/^(spiffe|dns):/.test(who))
    return typeof tls === 'object' && tls?.clientCa != null
      ? undefined
      : 'no certificate is accepted; write tls.client_ca';
  const issuer = issuerOf(who);
  const isKnown = access.tokens.some(
    ({ name, kubernetes }) => name === issuer?.issuer && kubernetes === (issuer.kind === 'k8s'),
  );
  return isKnown ? undefined : 'its issuer is no item of access.tokens; add it there';
}
