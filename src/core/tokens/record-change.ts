import type { LingpaiError } from '../kernel/errors.ts';
import type { Moment } from '../kernel/timeline.ts';
import { type AppRecord, type CurrentToken, sameToken } from './app-record.ts';
import { type CommitContext, commit } from './commit.ts';
import type { MintCall } from './issuers.ts';
import type { Issued } from './issuing.ts';
import { type MintWish, mintBegun, mintRefusal, mintUndone } from './minting.ts';
import type { Intent, IssuerKind, Settings } from './ports.ts';
import { dueAt } from './schedule.ts';

/** A mint is about to be made, where the generation still is `base`. */
export interface BeginMint {
  readonly type: 'begin_mint';
  readonly wish: MintWish;
  readonly base: number;
}

/** How a mint ends without a token in use. */
export type MintEnd =
  /** WeChat certainly did not mint. */
  | 'undone'
  /** Nobody knows whether it did. */
  | 'lost'
  /** It did, and refuses the token. */
  | 'outlived';

/** A mint has ended without a token in use. `intent`: as it was recorded, where replicas share the app. */
export interface EndMint {
  readonly type: 'end_mint';
  readonly intent: Intent | undefined;
  readonly call: MintCall;
  readonly how: MintEnd;
}

/** WeChat's answer to a refresh that began with generation `base`. */
export interface Land {
  readonly type: 'land';
  readonly issued: Issued;
  readonly base: number;
  /** The endpoint that answered. */
  readonly issuer: IssuerKind;
  /** Whether the token before worked, as far as anyone knew. */
  readonly trusted: boolean;
  /** See CommitContext. */
  readonly isQuiet: boolean;
  /** A new generation is at least this, in wall-clock milliseconds. */
  readonly wallNow: number;
  /** See CommitContext. */
  readonly generationStep: number;
  /** The draw of the token's `dueAt`. */
  readonly draw: number;
  /** The generation that an attempt to store this change gave the token: once it may have been seen, it stays. */
  readonly numbered?: number;
}

/** A change of an app's record, as data. It may be made again on a newer record, and then does what it did before. */
export type RecordChange =
  /** Nothing changes but the times that are stored, where a clock was set. */
  | { readonly type: 'rewrite' }
  /** A watcher came with the generation `above`, which no record has. */
  | { readonly type: 'raise_generation'; readonly above: number; readonly to: number }
  /** WeChat accepts the token of this generation that a leap of the clock had put in doubt. */
  | { readonly type: 'redeem'; readonly generation: number; readonly token: CurrentToken }
  /** An operator has WeChat asked by a call that mints nothing: `cooldown` counts from now. */
  | { readonly type: 'start_cooldown' }
  | BeginMint
  | EndMint
  | Land;

/** What became of an answer. */
export type LandResult =
  | 'rotated'
  | 'unchanged'
  /** Another replica has brought a token meanwhile. */
  | 'superseded'
  /** WeChat answered with a token that is older than the last. */
  | 'older';

/** What a change makes of a record. */
export interface Reduced<Change = RecordChange> {
  readonly record: AppRecord;
  /** The change as it is to be made again, where that differs. */
  readonly again?: Change;
  /** Of a landing. */
  readonly result?: LandResult;
  /** Of a mint that began, where replicas share the app. */
  readonly intent?: Intent;
  /** Why nothing was changed. */
  readonly refusal?: LingpaiError | Superseded;
}

/** Another replica has brought a newer token than the one that was to be replaced. */
export class Superseded extends Error {
  override readonly name = 'Superseded';
}

/** What mints make of a record depends on whether replicas share it. */
export interface MintRules {
  readonly settings: Settings;
  begin(record: AppRecord, change: BeginMint, moment: Moment): Pick<Reduced, 'record' | 'intent'>;
  end(record: AppRecord, change: EndMint, moment: Moment): AppRecord;
  land(
    record: AppRecord,
    change: Land,
    context: CommitContext,
    moment: Moment,
  ): { readonly record: AppRecord; readonly result: Exclude<LandResult, 'older'> };
}

/** Makes a change of a record at a moment. Pure: the record that it is given stays as it is. */
export function reduce(record: AppRecord, change: RecordChange, moment: Moment, rules: MintRules): Reduced {
  switch (change.type) {
    case 'rewrite':
      return { record };
    case 'raise_generation':
      return { record: record.generation < change.above ? { ...record, generation: change.to } : record };
    case 'redeem':
      return { record: redeemed(record, change) };
    case 'start_cooldown':
      return { record: { ...record, lastForcedAt: moment.elapsed } };
    case 'begin_mint': {
      if (record.generation !== change.base) return { record, refusal: new Superseded() };
      const wish = { ...change.wish, now: moment.elapsed, wallNow: moment.wall };
      const refusal = mintRefusal(record, wish, rules.settings);
      return refusal ? { record, refusal } : rules.begin(record, { ...change, wish }, moment);
    }
    case 'end_mint':
      return { record: rules.end(record, change, moment) };
    case 'land':
      return landed(record, change, moment, rules);
  }
}

function redeemed(record: AppRecord, { generation, token }: Extract<RecordChange, { type: 'redeem' }>): AppRecord {
  // A record that another replica has made meanwhile may look expired too, and has another token.
  const isOurs = record.generation === generation && sameToken(record.current ?? token, token);
  return isOurs ? { ...record, current: token } : record;
}

function landed(record: AppRecord, change: Land, moment: Moment, rules: MintRules): Reduced {
  const { issued, base, issuer, trusted, isQuiet, wallNow, generationStep, draw, numbered } = change;
  const { settings } = rules;
  const now = moment.elapsed;
  const context: CommitContext = {
    issuer,
    trusted,
    isQuiet,
    now,
    wallNow,
    generationStep,
    overlapMs: settings.overlapMs,
    // Of the tokens that a mint replaces, WeChat honours only the one directly before it.
    previousIsHonoured: record.openMints <= (issued.mintedAt === undefined ? 0 : 1),
    due: (life) => dueAt(life, issuer, settings, draw),
  };
  const next = rules.land(record, change, context, moment);
  const { current } = next.record;
  const isUsable = current !== null && current.expiresAt > now && trusted;
  if (next.result === 'unchanged' && !isUsable && record.generation === base) return { record, result: 'older' };
  if (next.result === 'rotated') {
    const { generation } = next.record;
    return { ...next, again: { ...change, numbered: generation, wallNow: Math.max(wallNow, generation) } };
  }
  // The store had it already: the answer of an earlier write was lost.
  const isDone = numbered === record.generation && issued.value === record.current?.value;
  return isDone ? { ...next, result: 'rotated' } : next;
}

/** The rules of a process that owns its store. */
export function localRules(settings: Settings): MintRules {
  return {
    settings,
    begin: (record, { wish }) => ({ record: mintBegun(record, wish, settings) }),
    end: (record, { call, how }) => (how === 'undone' ? mintUndone(record, call) : record),
    land: (record, { issued }, context) => {
      const { record: next, rotated } = commit(record, issued, context);
      return { record: next, result: rotated ? 'rotated' : 'unchanged' };
    },
  };
}
