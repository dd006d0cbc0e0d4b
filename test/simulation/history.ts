/** What is wrong with a host, as far as it can be told from outside. */
export type Condition =
  /** No process serves on it. */
  | 'down'
  /** Its process stands still. */
  | 'paused'
  /** Its way to the store, or the store itself. */
  | 'store'
  /** Its way to WeChat, or WeChat itself. */
  | 'upstream';

/** A token's death, as WeChat will have it from now on. */
export interface Death {
  readonly token: string;
  readonly at: number;
}

/** What someone is told of an app; tokens by their ids. */
export interface Told {
  readonly app: string;
  readonly generation: number;
  readonly current: string | null;
  readonly previous: string | null;
}

/** What became of a mint call, as its caller knows. `lost`: the caller gave up or died, and the mint may have happened. */
export type Outcome = 'answered' | 'refused' | 'lost';

/** What an observer sees who sees all. Hosts and subscribers are numbers; tokens, apps and calls have names. */
export type Happening =
  | { readonly type: 'condition'; readonly host: number; readonly what: Condition; readonly bad: boolean }
  /** The store's clock was set. */
  | { readonly type: 'store clock'; readonly byMs: number }
  /** A replica is about to make a call that mints. */
  | {
      readonly type: 'call';
      readonly call: number;
      readonly host: number;
      readonly app: string;
      readonly forced: boolean;
    }
  | { readonly type: 'outcome'; readonly call: number; readonly outcome: Outcome }
  /** WeChat made a token. `call` null: for somebody outside, or at a read. */
  | {
      readonly type: 'mint';
      readonly app: string;
      readonly token: string;
      readonly by: 'call' | 'read' | 'outside';
      readonly call: number | null;
      readonly endsAt: number;
      readonly deaths: readonly Death[];
    }
  /** WeChat revoked tokens. */
  | {
      readonly type: 'revoked';
      readonly app: string;
      /** Whether a read goes on bringing what was revoked, so that only a forced call helps. */
      readonly stuck: boolean;
      readonly deaths: readonly Death[];
    }
  /** A replica publishes a state. */
  | ({ readonly type: 'published'; readonly host: number } & Told)
  /** A state reaches a subscriber. */
  | ({ readonly type: 'seen'; readonly subscriber: number; readonly host: number } & Told)
  /** A subscriber has a stream, or (null) has none. */
  | { readonly type: 'stream'; readonly subscriber: number; readonly host: number | null }
  /** The record of an app in the store. `by` null: it was lost or rolled back. */
  | {
      readonly type: 'record';
      readonly app: string;
      readonly by: number | null;
      readonly generation: number;
      readonly current: string | null;
      readonly intents: number;
      /** When the debt is due; null: there is none. */
      readonly debtDueAt: number | null;
    }
  /** Mints that something beside the schedule may cause from now to the next calm. */
  | { readonly type: 'allowance'; readonly app: string; readonly mints: number }
  /** Nothing but a fault around the next mint of this app happens until the next calm. */
  | { readonly type: 'trial'; readonly app: string }
  /** All faults were healed long ago. */
  | { readonly type: 'calm' }
  /** Something inside a broker failed in a way that nobody foresaw. */
  | { readonly type: 'crack'; readonly host: number; readonly what: string };

/** Something that happened, and when, in milliseconds since the simulation began. */
export type Dated = Happening & { readonly at: number };

/** One line for people. */
export function lineOf(event: Dated): string {
  const { at, type, ...rest } = event;
  return `${clockTime(at)}  ${type.padEnd(11)} ${words(rest)}`;
}

/** Hours, minutes, seconds and milliseconds since the beginning. */
export function clockTime(at: number): string {
  const pad = (n: number, width = 2) => String(Math.floor(n)).padStart(width, '0');
  return `${pad(at / 3_600_000)}:${pad((at / 60_000) % 60)}:${pad((at / 1000) % 60)}.${pad(at % 1000, 3)}`;
}

/** Names and values, in a line. */
export function words(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${textOf(value)}`)
    .join(' ');
}

function textOf(value: unknown): string {
  if (typeof value === 'number')
    return String(Math.abs(value) < 10 ? Math.round(value * 100) / 100 : Math.round(value));
  return typeof value === 'string' ? value : JSON.stringify(value);
}
