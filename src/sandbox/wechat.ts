import { createHash } from 'node:crypto';
import type { Random } from '../core/kernel/clock.ts';
import type { IssuerKind } from '../core/tokens/ports.ts';
import { type Account, type AppView, newAccount } from './account.ts';
import { type AppSettings, conditionErrcodes, type SandboxApp } from './app.ts';
import { business, clearQuota } from './business.ts';
import { CallLog, type Logged } from './call-log.ts';
import { type Call, type CallRecord, type Counts, type GrantCall, noCounts, type SecretCall } from './calls.ts';
import type { IssuedToken } from './chain.ts';
import { Codes, login } from './codes.ts';
import { errmsgOf } from './errmsgs.ts';
import { type Delivery, deliver, Faults, takesEffect } from './faults.ts';
import { isAppId } from './fields.ts';
import { Fresh } from './fresh.ts';
import { grant, refusalOf } from './grant.ts';
import { type Media, MediaLibrary } from './media.ts';
import type { MessageCall } from './message-call.ts';
import type { Messages } from './messages.ts';
import { type Origin, Rids } from './rids.ts';
import { Stubs } from './stubs.ts';
import type { Ticket, TicketType } from './tickets.ts';
import type { Told } from './told.ts';

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

interface Answer extends Logged {
  readonly text: string;
  /** A file in place of the text. */
  readonly media?: Media;
  /** Of a refusal. */
  readonly rid?: string;
}

/** Apps that come by their calls alone, or by the control endpoint. */
const mostApps = 10_000;

/** WeChat without a network: what its endpoints answer, which tokens are honoured, what arrives. */
export class SimulatedWeChat {
  readonly faults: Faults;
  readonly stubs = new Stubs();
  readonly #rids = new Rids();
  readonly #codes = new Codes();
  readonly #media = new MediaLibrary();
  readonly #options: SimulatedWeChatOptions;
  readonly #accounts = new Map<string, Account>();
  /** Whose token a value is. */
  readonly #owners = new Map<string, Account>();
  /** Calls of apps that do not exist. */
  readonly #strays = noCounts();
  readonly #log: CallLog;
  readonly #fresh: Fresh;

  constructor(options: SimulatedWeChatOptions) {
    this.#options = options;
    this.#log = new CallLog((record) => options.log?.(record));
    this.#fresh = new Fresh(options.random);
    this.faults = new Faults(() => this.now());
    for (const app of options.apps ?? []) this.setApp(app);
  }

  /** WeChat's wall-clock time in milliseconds since 1970. */
  now(): number {
    return this.#options.clock.now();
  }

  /** One call, with whatever fault it meets. `origin`: its request, for who asks what became of it. */
  receive(call: Call, origin?: Origin): Delivery {
    const appId = 'token' in call ? (this.#owners.get(call.token)?.app.appId ?? '') : call.appId;
    const effect = this.faults.take(call.kind, appId);
    let answer: Answer | undefined;
    if (effect?.kind === 'errcode') answer = this.#refuse(effect.errcode, effect.errmsg);
    else if (!effect || takesEffect(effect)) answer = this.#handle(call);
    const counts = this.#accounts.get(appId)?.counts ?? this.#strays;
    this.#log.add(call, counts, answer, { time: this.now(), appId, fault: effect?.kind ?? null });
    this.#remember(answer, appId, origin);
    return deliver(effect, answer?.text ?? '', answer?.media);
  }

  /** The answer to a request that is no call: a wrong method, path or body. */
  refuse(errcode: number, origin?: Origin): Delivery {
    const answer = this.#refuse(errcode);
    const token = new URLSearchParams(origin?.query).get('access_token') ?? '';
    this.#remember(answer, this.#owners.get(token)?.app.appId ?? '', origin);
    return deliver(undefined, answer.text);
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

  /** An app's last tickets; they hold the values. */
  tickets(appId: string): readonly Ticket[] {
    return this.#account(appId).tickets.all;
  }

  /** Whether WeChat honours this ticket of this app at this moment. */
  honoursTicket(appId: string, type: TicketType, ticket: string): boolean {
    return this.#account(appId).tickets.honours(type, ticket, this.now());
  }

  /** How often an app may clear its quotas this month. */
  clearsLeft(appId: string): number {
    return this.#account(appId).clears.left(this.now());
  }

  /** The last 10,000 calls, oldest first. */
  get calls(): readonly CallRecord[] {
    return this.#log.calls;
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
    if (!('token' in call)) return 'ip' in call ? this.#grant(call) : this.#withSecret(call);
    const account = this.#bearer(call.token);
    if (typeof account === 'number') return this.#refuse(account);
    if ('letter' in call) return this.#message(account, call);
    const common = { now: this.now(), fresh: this.#fresh, stubs: this.stubs, rids: this.#rids, media: this.#media };
    return this.#answer(business(call, account, common));
  }

  /** Whose AppSecret a call carries, or the errcode for which it is refused. */
  #owner({ appId, secret }: { readonly appId: string; readonly secret: string }): Account | number {
    if (appId === '') return 41002;
    if (secret === '') return 41004;
    if (this.#options.anyApp && !this.hasApp(appId) && isAppId(appId) && !this.isFull)
      this.setApp({ appId, secret: null });
    const account = this.#accounts.get(appId);
    if (!account) return 40013;
    if (account.app.secret !== null && account.app.secret !== secret) return account.app.wrongSecret;
    return account;
  }

  #withSecret(call: SecretCall): Answer {
    const account = this.#owner(call);
    if (typeof account === 'number') return this.#refuse(account);
    const { condition } = account.app;
    if (condition === 'secret_frozen' || condition === 'account_closed')
      return this.#refuse(conditionErrcodes[condition]);
    if (call.kind === 'clear_quota_v2') return this.#answer(clearQuota(account, this.now()));
    return this.#answer(login(call, this.#codes, this.#fresh));
  }

  #grant(call: GrantCall): Answer {
    if (call.grantType !== 'client_credential') return this.#refuse(40002);
    const account = this.#owner(call);
    if (typeof account === 'number') return this.#refuse(account);
    const granted = grant(call, account, this.now(), (issuer) => this.#mint(account, issuer));
    if (!('token' in granted)) return this.#answer(granted);
    const { token, minted } = granted;
    const body = { access_token: token.value, expires_in: Math.floor((token.endsAt - this.now()) / 1000) };
    return { errcode: 0, text: JSON.stringify(body), token, minted };
  }

  /** Whose token a call bears, or the errcode for which it is refused. */
  #bearer(value: string): Account | number {
    if (value === '') return 41001;
    const account = this.#owners.get(value);
    if (!account) return 40014;
    return refusalOf(account, value, this.now()) || account;
  }

  #message({ app, messages }: Account, call: MessageCall): Answer {
    const taken = messages.take(call, app, this.now(), () => this.#fresh.messageId());
    if (!('messageId' in taken)) return this.#refuse(taken.errcode, taken.errmsg);
    // The id is more than a JavaScript number holds.
    const text = `{"errcode":0,"errmsg":"ok","msgid":${taken.messageId}${app.trailingComma ? ',' : ''}}`;
    return { errcode: 0, text, delivered: taken.delivered };
  }

  #answer(told: Told): Answer {
    return 'text' in told ? told : this.#refuse(told.errcode, told.errmsg);
  }

  #refuse(errcode: number, errmsg = errmsgOf(errcode)): Answer {
    const rid = this.#fresh.rid(this.now());
    return { errcode, text: JSON.stringify({ errcode, errmsg: `${errmsg} rid: ${rid}` }), rid };
  }

  /** Keeps what became of a call that failed. */
  #remember(answer: Answer | undefined, appId: string, origin: Origin | undefined): void {
    if (answer?.rid !== undefined)
      this.#rids.add(answer.rid, { appId, time: this.now(), origin, response: answer.text });
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
}
