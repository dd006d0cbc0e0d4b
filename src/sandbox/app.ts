/** What stands between a simulated account and a token; every one but `normal` answers token calls with its errcode. */
export type Condition =
  | 'normal'
  /** 40243. */
  | 'secret_frozen'
  /** 50004, to the probe and to messages as well. */
  | 'account_closed'
  /** 89503: an administrator must confirm. */
  | 'confirmation_required'
  /** 89501: the administrator has been asked. */
  | 'confirmation_pending'
  /** 89507: refused once, for 1 hour. */
  | 'confirmation_refused'
  /** 89506: refused twice, for 24 hours. */
  | 'confirmation_refused_twice';

/** The errcode of each condition; 0 for `normal`. */
export const conditionErrcodes: Readonly<Record<Condition, number>> = {
  normal: 0,
  secret_frozen: 40243,
  account_closed: 50004,
  confirmation_required: 89503,
  confirmation_pending: 89501,
  confirmation_refused: 89507,
  confirmation_refused_twice: 89506,
};

/** How many accepted calls an app has. Days begin at midnight in Asia/Shanghai, minutes at the full minute. */
export interface Quotas {
  readonly classicPerDay: number;
  readonly classicPerMinute: number;
  readonly stablePerDay: number;
  readonly stablePerMinute: number;
  /** Calls with `force_refresh: true`; they count as stable calls too. */
  readonly forcedPerDay: number;
}

/** How the simulated WeChat treats an app. */
export interface AppSettings {
  /** The `expires_in` of a new token, at least 1000; WeChat counts in whole seconds. */
  readonly lifetimeMs: number;
  /** How long the token before the current one is honoured. */
  readonly overlapMs: number;
  /** Characters of a token, at least 32. */
  readonly tokenLength: number;
  readonly quotas: Quotas;
  /** The addresses that may ask for a token; null: all. */
  readonly allowList: readonly string[] | null;
  readonly condition: Condition;
  /** What a wrong AppSecret is answered with. */
  readonly wrongSecret: 40001 | 40125;
  /** Forced calls that follow a forced refresh by less than this do not refresh. */
  readonly forceSpacingMs: number;
  /** What such a call gets instead: what a normal read would, or this errcode. WeChat's choice is not documented. */
  readonly forceTooSoon: 'current' | 45009 | 45011;
  /** What kind of account it is: messages of the other kind are answered 48001. `any`: both at once. */
  readonly accountKind: 'any' | 'mini_program' | 'official_account';
  /** Whether the template messages of mini programs are retired (45103), as WeChat retired them on 2020-01-10. */
  readonly retired: boolean;
  /** The openids that exist, others are answered 40003; null: all. */
  readonly users: readonly string[] | null;
  /** The templates that exist, others are answered 40037; null: all. */
  readonly templates: readonly string[] | null;
  /** The mini program's pages, others are answered 41030; null: all that do not begin with a slash. */
  readonly pages: readonly string[] | null;
  /** Whether every user agrees to every subscription message; otherwise consents must be given first (43101). */
  readonly unlimitedConsent: boolean;
  /** How many messages may be sent by each of the four calls. */
  readonly messageQuotas: { readonly perDay: number; readonly perMinute: number };
  /** How often each path may be called that a token is sent to, but for messages. */
  readonly callQuotas: { readonly perDay: number; readonly perMinute: number };
  /** The `expires_in` of a new ticket. */
  readonly ticketLifetimeMs: number;
  /** The buttons of the account's menu; null: it has none (46003). */
  readonly menu: readonly object[] | null;
  /** Whether the answer to a message that was taken has a comma too many, as in WeChat's example. */
  readonly trailingComma: boolean;
}

/** An app of the simulated WeChat: its settings, where they are not the defaults. */
export interface SandboxApp extends Partial<AppSettings> {
  readonly appId: string;
  /** The AppSecret; null takes any. */
  readonly secret: string | null;
}

/** What WeChat documents, and where it says nothing, what users report. */
export const defaultSettings: AppSettings = {
  lifetimeMs: 7_200_000,
  overlapMs: 300_000,
  tokenLength: 136,
  quotas: {
    classicPerDay: 2_000,
    classicPerMinute: 2_000,
    stablePerDay: 500_000,
    stablePerMinute: 10_000,
    forcedPerDay: 20,
  },
  allowList: null,
  condition: 'normal',
  wrongSecret: 40125,
  forceSpacingMs: 30_000,
  forceTooSoon: 'current',
  accountKind: 'any',
  retired: true,
  users: null,
  templates: null,
  pages: null,
  unlimitedConsent: false,
  messageQuotas: { perDay: 1_000_000, perMinute: 1_000_000 },
  callQuotas: { perDay: 10_000_000, perMinute: 10_000_000 },
  ticketLifetimeMs: 7_200_000,
  menu: [{ type: 'click', name: '今日歌曲', key: 'V1001_TODAY_MUSIC', sub_button: [] }],
  trailingComma: false,
};
