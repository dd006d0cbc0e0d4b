import { z } from 'zod';
import { type AppSettings, conditionErrcodes, type Quotas, type SandboxApp } from './app.ts';
import { appId, flag, integer, issuer, oneOf, seconds } from './fields.ts';
import type { Kill } from './wechat.ts';

const quota = integer(0, 1_000_000_000).optional();

/** A list of what exists, or null for all. */
const known = (what: string) =>
  z
    .array(z.string({ error: `write a text` }).min(1, { error: 'write a text that is not empty' }), {
      error: `write a list of ${what}, or null to take all`,
    })
    .nullable()
    .optional();

/** The body of `POST /sandbox/apps`. */
export const appSchema = z.strictObject({
  app_id: appId,
  secret: z.string({ error: 'write the AppSecret, or null to take any' }).min(1).nullable().optional(),
  lifetime_s: seconds(1, 86_400 * 30).optional(),
  overlap_s: seconds(0, 86_400 * 30).optional(),
  token_length: integer(32, 4096).optional(),
  quotas: z
    .strictObject(
      {
        classic_per_day: quota,
        classic_per_minute: quota,
        stable_per_day: quota,
        stable_per_minute: quota,
        forced_per_day: quota,
      },
      { error: 'write an object of quotas' },
    )
    .optional(),
  allow_list: z
    .array(z.union([z.ipv4(), z.ipv6()], { error: 'write an IPv4 or IPv6 address' }), {
      error: 'write a list of IP addresses, or null to allow all',
    })
    .nullable()
    .optional(),
  condition: oneOf(Object.keys(conditionErrcodes) as (keyof typeof conditionErrcodes)[]).optional(),
  wrong_secret: oneOf([40001, 40125]).optional(),
  force_spacing_s: seconds(0, 86_400).optional(),
  force_too_soon: oneOf(['current', 45009, 45011]).optional(),
  account_kind: oneOf(['any', 'mini_program', 'official_account']).optional(),
  retired: flag.optional(),
  users: known('openids'),
  templates: known('template ids'),
  pages: known('pages'),
  unlimited_consent: flag.optional(),
  message_quotas: z
    .strictObject({ per_day: quota, per_minute: quota }, { error: 'write an object of quotas' })
    .optional(),
  call_quotas: z.strictObject({ per_day: quota, per_minute: quota }, { error: 'write an object of quotas' }).optional(),
  ticket_lifetime_s: seconds(1, 86_400 * 30).optional(),
  menu: z
    .array(z.looseObject({}), { error: 'write a list of buttons, or null for no menu' })
    .max(10, { error: 'write at most 10 buttons' })
    .nullable()
    .optional(),
  trailing_comma: flag.optional(),
});

/** What a valid body of `POST /sandbox/apps` asks for, on top of `base`, the app as it is or the defaults. */
export function toApp(body: z.infer<typeof appSchema>, base: AppSettings & { secret: string | null }): SandboxApp {
  const { quotas = {}, message_quotas: messageQuotas = {}, call_quotas: callQuotas = {} } = body;
  const merged: Record<keyof Quotas, number> = {
    classicPerDay: quotas.classic_per_day ?? base.quotas.classicPerDay,
    classicPerMinute: quotas.classic_per_minute ?? base.quotas.classicPerMinute,
    stablePerDay: quotas.stable_per_day ?? base.quotas.stablePerDay,
    stablePerMinute: quotas.stable_per_minute ?? base.quotas.stablePerMinute,
    forcedPerDay: quotas.forced_per_day ?? base.quotas.forcedPerDay,
  };
  return {
    appId: body.app_id,
    secret: body.secret === undefined ? base.secret : body.secret,
    lifetimeMs: body.lifetime_s === undefined ? base.lifetimeMs : body.lifetime_s * 1000,
    overlapMs: body.overlap_s === undefined ? base.overlapMs : body.overlap_s * 1000,
    tokenLength: body.token_length ?? base.tokenLength,
    quotas: merged,
    allowList: body.allow_list === undefined ? base.allowList : body.allow_list,
    condition: body.condition ?? base.condition,
    wrongSecret: body.wrong_secret ?? base.wrongSecret,
    forceSpacingMs: body.force_spacing_s === undefined ? base.forceSpacingMs : body.force_spacing_s * 1000,
    forceTooSoon: body.force_too_soon ?? base.forceTooSoon,
    accountKind: body.account_kind ?? base.accountKind,
    retired: body.retired ?? base.retired,
    users: body.users === undefined ? base.users : body.users,
    templates: body.templates === undefined ? base.templates : body.templates,
    pages: body.pages === undefined ? base.pages : body.pages,
    unlimitedConsent: body.unlimited_consent ?? base.unlimitedConsent,
    messageQuotas: {
      perDay: messageQuotas.per_day ?? base.messageQuotas.perDay,
      perMinute: messageQuotas.per_minute ?? base.messageQuotas.perMinute,
    },
    callQuotas: {
      perDay: callQuotas.per_day ?? base.callQuotas.perDay,
      perMinute: callQuotas.per_minute ?? base.callQuotas.perMinute,
    },
    ticketLifetimeMs: body.ticket_lifetime_s === undefined ? base.ticketLifetimeMs : body.ticket_lifetime_s * 1000,
    menu: body.menu === undefined ? base.menu : body.menu,
    trailingComma: body.trailing_comma ?? base.trailingComma,
  };
}

/** An app as the control endpoint shows it: as `appSchema` takes it, but for the secret. */
export function fromApp(app: SandboxApp & AppSettings): object {
  return {
    app_id: app.appId,
    any_secret: app.secret === null,
    lifetime_s: app.lifetimeMs / 1000,
    overlap_s: app.overlapMs / 1000,
    token_length: app.tokenLength,
    quotas: {
      classic_per_day: app.quotas.classicPerDay,
      classic_per_minute: app.quotas.classicPerMinute,
      stable_per_day: app.quotas.stablePerDay,
      stable_per_minute: app.quotas.stablePerMinute,
      forced_per_day: app.quotas.forcedPerDay,
    },
    allow_list: app.allowList,
    condition: app.condition,
    wrong_secret: app.wrongSecret,
    force_spacing_s: app.forceSpacingMs / 1000,
    force_too_soon: app.forceTooSoon,
    account_kind: app.accountKind,
    retired: app.retired,
    users: app.users,
    templates: app.templates,
    pages: app.pages,
    unlimited_consent: app.unlimitedConsent,
    message_quotas: { per_day: app.messageQuotas.perDay, per_minute: app.messageQuotas.perMinute },
    call_quotas: { per_day: app.callQuotas.perDay, per_minute: app.callQuotas.perMinute },
    ticket_lifetime_s: app.ticketLifetimeMs / 1000,
    menu: app.menu,
    trailing_comma: app.trailingComma,
  };
}

/** The body of `POST /sandbox/apps/{app_id}/kill`. */
export const killSchema = z
  .strictObject({
    issuer,
    which: oneOf(['current', 'all']).default('current'),
    stuck: flag.default(false),
  })
  .refine(({ issuer, stuck }) => issuer === 'stable' || !stuck, {
    path: ['stuck'],
    error: 'only a stable token can be stuck: a classic call always makes a new one',
  }) satisfies z.ZodType<Kill>;

/** The body of `POST /sandbox/apps/{app_id}/mint`. */
export const mintSchema = z.strictObject({ issuer });
