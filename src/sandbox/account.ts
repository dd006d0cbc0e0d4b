import type { IssuerKind } from '../core/tokens/ports.ts';
import { defaultSettings, type SandboxApp } from './app.ts';
import { type Counts, noCounts } from './calls.ts';
import { Chain } from './chain.ts';
import { Messages } from './messages.ts';
import { Monthly } from './monthly.ts';
import { PathQuotas, Quota } from './quota.ts';
import { Tickets } from './tickets.ts';

/** An app as it stands. */
export type AppView = Readonly<Required<SandboxApp>>;

/** All that the simulated WeChat holds of one app. */
export interface Account {
  app: AppView;
  readonly chains: Readonly<Record<IssuerKind, Chain>>;
  readonly quotas: Readonly<Record<IssuerKind | 'forced', Quota>>;
  readonly counts: Counts;
  readonly messages: Messages;
  /** Of every call with a token that is no message. */
  readonly calls: PathQuotas;
  /** How often the quotas may be cleared. */
  readonly clears: Monthly;
  readonly tickets: Tickets;
  /** WeChat's wall-clock time in milliseconds since 1970. */
  lastForcedAt: number;
}

/** An app to which nothing has happened yet. */
export function newAccount(app: SandboxApp): Account {
  return {
    app: { ...defaultSettings, ...app },
    chains: { classic: new Chain(), stable: new Chain() },
    quotas: { classic: new Quota(), stable: new Quota(), forced: new Quota() },
    counts: noCounts(),
    messages: new Messages(),
    calls: new PathQuotas(),
    clears: new Monthly(10),
    tickets: new Tickets(),
    lastForcedAt: Number.NEGATIVE_INFINITY,
  };
}
