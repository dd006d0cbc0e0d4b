import { z } from 'zod';
import type { Reason } from '../core/kernel/errors.ts';
import { ISSUER_KINDS } from '../core/tokens/issuers.ts';
import type { Intent, SharedPart, StoredApp } from '../core/tokens/ports.ts';
import { StoreError } from './errors.ts';

const time = z.number();
const count = z.int().nonnegative();

/** A token, or a ticket. */
export const token = z.object({
  value: z.string().min(1),
  id: z.string().min(1),
  issueTime: time,
  expireTime: time,
});

/** An intent as it is stored: `lost` where it is orphaned. Replicas of two versions may share a store. */
const intent = z
  .object({ epoch: count, replica: z.string(), time, lost: z.boolean() })
  .transform(({ lost, ...rest }): Intent => ({ ...rest, orphaned: lost }));

/** A refresh that failed. */
export const trouble = z.object({
  failures: count,
  time: time.default(0),
  retryTime: time,
  // A newer version may have reasons that this one does not know.
  reason: z.string().transform((reason) => reason as Reason),
  message: z.string(),
  answer: z.object({ errcode: z.number(), errmsg: z.string(), rid: z.string() }).nullable(),
});

/** What an app has spent. */
export const budget = z.object({ day: z.int(), mints: count, forced: count });

/** What replicas share, as it is stored: a pending confirmation is `debt`. */
const shared: z.ZodType<SharedPart> = z
  .object({
    commitTime: time,
    epoch: count,
    intents: z.array(intent),
    debt: z.object({ epoch: count, time }).nullable(),
    dead: z.boolean(),
    warning: z.string(),
    trouble: trouble.nullable(),
  })
  .transform(({ debt, ...rest }) => ({ ...rest, pendingConfirmation: debt }));

const storedApp: z.ZodType<StoredApp> = z.object({
  appId: z.string().min(1),
  issuer: z.enum(ISSUER_KINDS),
  generation: count,
  current: token.nullable(),
  previous: token.nullable(),
  budget,
  lastMintTime: time,
  lastForcedTime: time,
  openMints: count,
  shared: shared.optional(),
});

/** A record as the text that stores keep. */
export function encodeRecord(app: StoredApp): string {
  if (!app.shared) return JSON.stringify(app);
  const { pendingConfirmation: debt, ...rest } = app.shared;
  const intents = rest.intents.map(({ orphaned: lost, ...intent }) => ({ ...intent, lost }));
  return JSON.stringify({ ...app, shared: { ...rest, intents, debt } });
}

/** The record in a stored text. Throws a StoreError that names the app and the store when it is not a whole record of this app. */
export function decodeRecord(appId: string, text: string, store: string): StoredApp {
  const app = parseRecord(storedApp, text, (faults) => damaged(appId, store, faults));
  if (app.appId !== appId) throw damaged(appId, store, 'it belongs to another app');
  return app;
}

/** What a stored text says, if it is what it should be; else throws what `toError` makes of its faults, which quote nothing. */
export function parseRecord<T>(form: z.ZodType<T>, text: string, toError: (faults: string) => StoreError): T {
  const parsed = form.safeParse(parse(text));
  if (parsed.success) return parsed.data;
  // Field names and rules only: a JSON parser's own words may quote a token.
  const faults = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'the record'}: ${issue.code}`);
  throw toError(faults.join(', '));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function damaged(appId: string, store: string, faults: string): StoreError {
  return new StoreError(
    `${store}: the record of app ${appId} is damaged (${faults}). Restore the store from a backup, or move it away: the broker then asks WeChat for new tokens.`,
  );
}
