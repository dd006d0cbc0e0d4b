import { Names } from './names.ts';
import type { AccessPolicy, Rule } from './ports.ts';
import { LOCAL, type Principal } from './principal.ts';
import type { Verb } from './verbs.ts';

/** How many callers' rights are remembered; who was forgotten is looked up anew. */
const MAX_CALLERS = 10_000;
/** How many names of apps stand in all remembered rights together. */
const MAX_APPS = 1_000_000;

/** What the rules that name one caller allow. Callers whom the same rules name share it. */
interface Granted {
  /** The indexes of the rules, rising. */
  readonly rules: readonly number[];
  /** Verbs that are allowed for every app. */
  readonly all: ReadonlySet<Verb>;
  readonly apps: ReadonlyMap<Verb, Names<number>>;
  readonly size: number;
}

const NOTHING: Granted = { rules: [], all: new Set(), apps: new Map(), size: 0 };

/**
 * The rules of a configuration, made ready to be asked. Rules only allow and their union counts, so that their order never
 * matters; who is blocked may do nothing. A policy never changes: another configuration makes another one. What a caller may do
 * is found out once and remembered, within bounds, so that a call costs a few look-ups.
 */
export class Policy {
  readonly #rules: readonly Rule[];
  readonly #who = new Names<number>();
  readonly #blocked = new Names<true>();
  readonly #byName = new Map<string, Granted>();
  readonly #byRules = new Map<string, Granted>();
  #remembered = 0;

  constructor({ rules, blocked }: Pick<AccessPolicy, 'rules' | 'blocked'>) {
    this.#rules = rules;
    for (const [index, { who }] of rules.entries()) for (const name of who) this.#who.add(name, index);
    for (const name of blocked) this.#blocked.add(name, true);
  }

  /** Whether a caller may do this with this app, which may be none that is configured. */
  may(principal: Principal, verb: Verb, appId: string): boolean {
    if (this.isBlocked(principal)) return false;
    const { all, apps } = this.#rightsOf(principal.name);
    return all.has(verb) || apps.get(verb)?.has(appId) === true;
  }

  /** Whether a caller may do this with every app, those to come included: only a rule with `apps: ["*"]` says so. */
  mayAll(principal: Principal, verb: Verb): boolean {
    return !this.isBlocked(principal) && this.#rightsOf(principal.name).all.has(verb);
  }

  /** Whether any rule names a caller. */
  hasRule(principal: Principal): boolean {
    return !this.isBlocked(principal) && this.#rightsOf(principal.name).rules.length > 0;
  }

  /** Whether a caller, or the credential that was presented, is blocked. */
  isBlocked({ name, credentialId }: Pick<Principal, 'name' | 'credentialId'>): boolean {
    return this.#blocked.has(name) || (credentialId !== null && this.#blocked.has(credentialId));
  }

  /** The beginnings of WeChat's paths that a caller may `call` for an app; undefined: all; empty: none. */
  paths(principal: Principal, appId: string): readonly string[] | undefined {
    if (!this.may(principal, 'call', appId)) return [];
    const paths = new Set<string>();
    for (const rule of this.#rulesFor(principal.name, 'call', appId)) {
      if (!rule.paths) return undefined;
      for (const path of rule.paths) paths.add(path);
    }
    return [...paths];
  }

  /** The index of the first rule that allows it to whoever has this name; undefined: none does, or it is blocked. */
  explain(name: string, verb: Verb, appId: string): number | undefined {
    if (this.#blocked.has(name)) return undefined;
    return this.#rightsOf(name).rules.find((index) => covers(this.#rules[index], verb, appId));
  }

  /** How many callers' rights are remembered. */
  get remembered(): number {
    return this.#byName.size;
  }

  #rulesFor(name: string, verb: Verb, appId: string): Rule[] {
    const rules = this.#rightsOf(name).rules.flatMap((index) => this.#rules[index] ?? []);
    return rules.filter((rule) => covers(rule, verb, appId));
  }

  #rightsOf(name: string): Granted {
    const known = this.#byName.get(name);
    if (known) return known;
    // `*` means every caller that is known, and nobody knows who is only local.
    const rules = name === LOCAL.name ? [] : [...new Set(this.#who.find(name))].toSorted((a, b) => a - b);
    const rights = rules.length === 0 ? NOTHING : this.#rightsBy(rules);
    if (this.#byName.size >= MAX_CALLERS)
      for (const oldest of this.#byName.keys()) if (this.#byName.delete(oldest)) break;
    this.#byName.set(name, rights);
    return rights;
  }

  #rightsBy(rules: readonly number[]): Granted {
    const key = rules.join();
    const known = this.#byRules.get(key);
    if (known) return known;
    const rights = this.#combined(rules);
    this.#remembered += rights.size;
    if (this.#remembered > MAX_APPS) {
      this.#byName.clear();
      this.#byRules.clear();
      this.#remembered = rights.size;
    }
    this.#byRules.set(key, rights);
    return rights;
  }

  #combined(rules: readonly number[]): Granted {
    const all = new Set<Verb>();
    const apps = new Map<Verb, Names<number>>();
    let size = 1;
    for (const index of rules) {
      const rule = this.#rules[index];
      for (const verb of rule?.may ?? []) {
        const names = apps.get(verb) ?? new Names<number>();
        apps.set(verb, names);
        for (const app of rule?.apps ?? []) {
          if (app === '*') all.add(verb);
          names.add(app, index);
          size++;
        }
      }
    }
    return { rules, all, apps, size };
  }
}

function covers(rule: Rule | undefined, verb: Verb, appId: string): boolean {
  return rule?.may.includes(verb) === true && rule.apps.some((app) => matches(app, appId));
}

function matches(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
}
