import { createHash } from 'node:crypto';
import type { Random } from '../core/kernel/clock.ts';
import type { IssuerKind } from '../core/tokens/ports.ts';
import { type Account, type AppView, newAccount } from './account.ts';
import { type AppSettings, conditionErrcodes, type SandboxApp } from './app.ts';
import { type Call, type CallRecord, type Counts, noCounts } from './calls.ts';
import type { IssuedToken } from './chain.ts';
import { errmsgOf, invalidIp, plainIp } from './errmsgs.ts';
import { type Delivery, deliver, Faults, takesEffect } from './faults.ts';
import { isAppId } from './fields.ts';
import { Fresh } from './fresh.ts';
import type { MessageCall } from './message-call.ts';
import type { Messages } from './messages.ts';
import { Stubs } from './stubs.ts';

/** How a simulated WeChat is made. */
export interface SimulatedWeChatOptions {
  /** WeChat's own clock: wall-clock milliseconds since 1970. It need not agree with the clock of those who call. */
  readonly clock: { now(): number };
  readonly random: Random;
  readonly apps?: readonly SandboxApp[];
  /** Any app id that is not among the apps becomes one with its first call, and may use any secret. Default false. */
  readonly anyApp?: boolean;
  /** Told of every call. */
  readonly log?: (record: CallRecord) => void;
}

/** A token as it stands, without its value. */
export interface TokenView extends Omit<IssuedToken, 'value'> {
  readonly issuer: IssuerKind;
  readonly honoured: boolean;
}

/** Which tokens to kill. */
export interface Kill {
  readonly issuer: IssuerKind;
  /** The current one, or with it the one before that is still honoured. */
  readonly which: 'current' | 'all';
  /** Stable only: a normal read goes on returning the dead token, until `force_refresh`. Default false. */
  readonly stuck?: boolean;
}

interface Answer {
  readonly errcode: number;
  readonly text: string;
  readonly token?: IssuedToken;
  readonly minted?: boolean;
  readonly delivered?: boolean;
}

const ipList = JSON.stringify({ ip_list: ['101.226.62.77', '101.226.62.78', '140.207.54.73'] });

/** Calls that the log keeps. */
const logged = 10_000;
/** Apps that come by their calls alone, or by the control endpoint. */
const mostApps = 10_000;

/** WeChat's token and message endpoints without a network: what they answer, which tokens are honoured, what arrives. */
export class SimulatedWeChat {
  readonly faults: Faults;
  readonly stubs = new Stubs();
  readonly #options: SimulatedWeChatOptions;
  readonly #accounts = new Map<string, Account>();
  /** Whose token a value is. */
  readonly #owners = new Map<string, Account>();
  /** Calls of apps that do not exist. */
  readonly #strays = noCounts();
  readonly #calls: CallRecord[] = [];
  readonly #fresh: Fresh;

  constructor(options: SimulatedWeChatOptions) {
    this.#options = options;
    this.#fresh = new Fresh(options.random);
    this.faults = new Faults(() => this.now());
    for (const app of options.apps ?? []) this.setApp(app);
  }

  /** WeChat's wall-clock time in milliseconds since 1970. */
  now(): number {
    return this.#options.clock.now();
  }

  /** One call, with whatever fault it meets. */
  receive(call: Call): Delivery {
    const appId = 'token' in call ? (this.#owners.get(call.token)?.app.appId ?? '') : call.appId;
    const effect = this.faults.take(call.kind, appId);
    let answer: Answer | undefined;
    if (effect?.kind === 'errcode') answer = this.#refuse(effect.errcode, effect.errmsg);
    else if (!effect || takesEffect(effect)) answer = this.#handle(call);
    this.#record(call, appId, answer, effect?.kind ?? null);
    return deliver(effect, answer?.text ?? '');
  }

  /** The answer to a request that is no call: a wrong method, path or body. */
  refuse(errcode: number): Delivery {
    return deliver(undefined, this.#refuse(errcode).text);
  }

  /** Adds an app, or changes one: what is left out stays. Its tokens stay as they are. */
  setApp(app: SandboxApp): void {
    const account = this.#accounts.get(app.appId);
    if (account) account.app = { ...account.app, ...app };
    else this.#accounts.set(app.appId, newAccount(app));
  }

  /** Changes settings of an app that exists. */
  changeApp(appId: string, settings: Partial<AppSettings>): void {
    this.setApp({ ...this.app(appId), ...settings });
  }

  /** Whether there are as many apps as strangers may add. */
  get isFull(): boolean {
    return this.#accounts.size >= mostApps;
  }

  /** Every app's id. */
  get appIds(): readonly string[] {
    return [...this.#accounts.keys()];
  }

  /** Whether there is such an app. */
  hasApp(appId: string): boolean {
    return this.#accounts.has(appId);
  }

  /** An app's settings; it holds the secret. */
  app(appId: string): AppView {
    return this.#account(appId).app;
  }

  /** Whether WeChat honours this token of this app at this moment. */
  honours(appId: string, token: string): boolean {
    const { chains } = this.#account(appId);
    return [...chains.classic.tokens, ...chains.stable.tokens].some(
      ({ value, diesAt }) => value === token && this.now() < diesAt,
    );
  }

  /** The app's last tokens, dead ones included, newest first for each issuer. */
  tokens(appId: string): readonly TokenView[] {
    const { chains } = this.#account(appId);
    return (['classic', 'stable'] as const).flatMap((issuer) =>
      chains[issuer].tokens.map(({ id, issuedAt, endsAt, diesAt }) => {
        return { issuer, id, honoured: this.now() < diesAt, issuedAt, endsAt, diesAt };
      }),
    );
  }

  /** What was counted for an app; without one, for all, calls for unknown apps included. */
  counts(appId?: string): Readonly<Counts> {
    if (appId !== undefined) return { ...this.#account(appId).counts };
    const sum = { ...this.#strays };
    for (const { counts } of this.#accounts.values()) {
      for (const key of Object.keys(sum) as (keyof Counts)[]) sum[key] += counts[key];
    }
    return sum;
  }

  /** An app's messages: the rights to send them, and what arrived. */
  messages(appId: string): Messages {
    return this.#account(appId).messages;
  }

  /** The last 10,000 calls, oldest first. */
  get calls(): readonly CallRecord[] {
    return this.#calls;
  }

  /** Ends the life of tokens at once, as when WeChat revokes them. Returns those that died. */
  kill(appId: string, { issuer, which, stuck = false }: Kill): readonly IssuedToken[] {
    return this.#account(appId).chains[issuer].kill(this.now(), which, stuck);
  }

  /** Makes a token as someone else with the same AppID would, outside every quota; on stable, by `force_refresh`. */
  mintOutside(appId: string, issuer: IssuerKind): IssuedToken {
    const account = this.#account(appId);
    account.counts.outsideMints++;
    return this.#mint(account, issuer);
  }

  #account(appId: string): Account {
    const account = this.#accounts.get(appId);
    if (!account) throw new RangeError(`the simulated WeChat has no app ${appId}`);
    return account;
  }

  #handle(call: Call): Answer {
    if (!('token' in call)) return this.#grant(call);
    const account = this.#bearer(call.token);
    if (typeof account === 'number') return this.#refuse(account);
    switch (call.kind) {
      case 'probe':
        return { errcode: 0, text: ipList };
      case 'other':
        return { errcode: 0, text: this.stubs.answer(call.path) };
      default:
        return this.#message(account, call);
    }
  }

  #grant(call: Exclude<Call, { token: string }>): Answer {
    if (call.grantType !== 'client_credential') return this.#refuse(40002);
    if (call.appId === '') return this.#refuse(41002);
    if (call.secret === '') return this.#refuse(41004);
    if (this.#options.anyApp && !this.hasApp(call.appId) && isAppId(call.appId) && !this.isFull)
      this.setApp({ appId: call.appId, secret: null });
    const account = this.#accounts.get(call.appId);
    if (!account) return this.#refuse(40013);
    const { app, chains, quotas } = account;
    if (app.secret !== null && app.secret !== call.secret) return this.#refuse(app.wrongSecret);
    if (app.allowList && !app.allowList.includes(plainIp(call.ip))) return this.#refuse(40164, invalidIp(call.ip));
    if (app.condition !== 'normal') return this.#refuse(conditionErrcodes[app.condition]);

    const now = this.now();
    if (call.kind === 'classic') {
      const refused = quotas.classic.take(now, app.quotas.classicPerDay, app.quotas.classicPerMinute);
      if (refused) return this.#refuse(refused);
      return this.#granted(this.#mint(account, 'classic'), true);
    }
    const refused = quotas.stable.take(now, app.quotas.stablePerDay, app.quotas.stablePerMinute);
    if (refused) return this.#refuse(refused);
    if (call.kind === 'stable_force') {
      const spent = quotas.forced.take(now, app.quotas.forcedPerDay, Number.POSITIVE_INFINITY);
      if (spent) return this.#refuse(spent);
      if (now - account.lastForcedAt >= app.forceSpacingMs) {
        account.lastForcedAt = now;
        return this.#granted(this.#mint(account, 'stable'), true);
      }
      if (app.forceTooSoon !== 'current') return this.#refuse(app.forceTooSoon);
    }
    // A token with less than a second left would be answered with `expires_in` 0.
    const token = chains.stable.readable(now, Math.max(app.overlapMs, 999));
    if (token) return this.#granted(token, false);
    return this.#granted(this.#mint(account, 'stable'), true);
  }

  /** Whose token a call bears, or the errcode for which it is refused. */
  #bearer(value: string): Account | number {
    if (value === '') return 41001;
    const account = this.#owners.get(value);
    if (!account) return 40014;
    if (account.app.condition === 'account_closed') return conditionErrcodes.account_closed;
    const { classic, stable } = account.chains;
    const token = [...classic.tokens, ...stable.tokens].find((each) => each.value === value);
    if (!token || this.now() >= token.endsAt) return 42001;
    return this.now() >= token.diesAt ? 40001 : account;
  }

  #message({ app, messages }: Account, call: MessageCall): Answer {
    const taken = messages.take(call, app, this.now(), () => this.#fresh.messageId());
    if (!('messageId' in taken)) return this.#refuse(taken.errcode, taken.errmsg);
    // The id is more than a JavaScript number holds.
    const text = `{"errcode":0,"errmsg":"ok","msgid":${taken.messageId}${app.trailingComma ? ',' : ''}}`;
    return { errcode: 0, text, delivered: taken.delivered };
  }

  #granted(token: IssuedToken, minted: boolean): Answer {
    const body = { access_token: token.value, expires_in: Math.floor((token.endsAt - this.now()) / 1000) };
    return { errcode: 0, text: JSON.stringify(body), token, minted };
  }

  #refuse(errcode: number, errmsg = errmsgOf(errcode)): Answer {
    return { errcode, text: JSON.stringify({ errcode, errmsg: `${errmsg} rid: ${this.#fresh.rid(this.now())}` }) };
  }

  #mint(account: Account, issuer: IssuerKind): IssuedToken {
    const value = this.#fresh.token(account.app.tokenLength);
    const id = createHash('sha256').update(value).digest('hex').slice(0, 12);
    const issuedAt = this.now();
    const endsAt = issuedAt + account.app.lifetimeMs;
    const forgotten = account.chains[issuer].mint({ value, id, issuedAt, endsAt }, account.app.overlapMs);
    if (forgotten) this.#owners.delete(forgotten.value);
    this.#owners.set(value, account);
    return account.chains[issuer].tokens[0] as IssuedToken;
  }

  #record(call: Call, appId: string, answer: Answer | undefined, fault: string | null): void {
    const minted = answer?.minted ?? false;
    const counts = this.#accounts.get(appId)?.counts ?? this.#strays;
    counts[call.kind]++;
    if (minted) counts.mints++;
    if (answer?.delivered) counts.delivered++;
    const record: CallRecord = {
      time: this.now(),
      kind: call.kind,
      appId,
      errcode: answer?.errcode ?? null,
      tokenId: answer?.token?.id ?? null,
      minted,
      fault,
      ...(call.kind === 'other' && { path: call.path }),
    };
    if (this.#calls.push(record) > logged) this.#calls.shift();
    this.#options.log?.(record);
  }
}
