import { z } from 'zod';
import { callKinds } from './calls.ts';
import { type ActiveFault, type Fault, type FaultEffect, takesEffect } from './faults.ts';
import { appId, flag, integer, oneOf, seconds } from './fields.ts';

const scope = {
  app_id: appId.optional(),
  calls: z
    .array(oneOf(callKinds), { error: `write a list of ${callKinds.map((kind) => `"${kind}"`).join(', ')}` })
    .min(1)
    .optional(),
  count: integer(1, 1_000_000_000).optional(),
  duration_s: seconds(0.001, 86_400 * 30).optional(),
};
const takes_effect = flag.default(false);

const kind = <const K extends Exclude<FaultEffect['kind'], 'refused'>, const S extends z.ZodRawShape>(
  name: K,
  fields: S,
) => z.strictObject({ kind: z.literal(name), ...scope, ...fields });

const kinds = [
  kind('latency', { ms: integer(1, 86_400_000) }),
  kind('hang', { takes_effect }),
  kind('reset', { takes_effect }),
  kind('html', { status: integer(200, 599).default(502), takes_effect }),
  kind('truncated', {}),
  kind('empty', { takes_effect }),
  kind('huge', { bytes: integer(1, 64 * 1024 * 1024).default(1024 * 1024), takes_effect }),
  kind('body', {
    body: z.unknown().refine((body) => body !== undefined, { error: 'write the answer: a text as it is, or any JSON' }),
    takes_effect,
  }),
  kind('errcode', {
    errcode: integer(-1_000_000, 1_000_000),
    errmsg: z.string({ error: 'write a text' }).max(1000).optional(),
  }),
] as const;

/** The kinds of fault that can be injected over HTTP. */
export const faultKinds = kinds.map((each) => each.shape.kind.value);

/** The body of `POST /sandbox/faults`. */
export const faultSchema = z.discriminatedUnion('kind', kinds, {
  error: `write one of ${faultKinds.map((name) => `"${name}"`).join(', ')}`,
});

/** The fault that a valid body of `POST /sandbox/faults` asks for. */
export function toFault(body: z.infer<typeof faultSchema>): Fault {
  return {
    effect: toEffect(body),
    ...(body.app_id !== undefined && { appId: body.app_id }),
    ...(body.calls && { calls: body.calls }),
    ...(body.count !== undefined && { count: body.count }),
    ...(body.duration_s !== undefined && { durationMs: body.duration_s * 1000 }),
  };
}

function toEffect(body: z.infer<typeof faultSchema>): FaultEffect {
  switch (body.kind) {
    case 'latency':
      return { kind: body.kind, ms: body.ms };
    case 'truncated':
      return { kind: body.kind };
    case 'html':
      return { kind: body.kind, status: body.status, takesEffect: body.takes_effect };
    case 'huge':
      return { kind: body.kind, bytes: body.bytes, takesEffect: body.takes_effect };
    case 'body': {
      const text = typeof body.body === 'string' ? body.body : JSON.stringify(body.body);
      return { kind: body.kind, text, takesEffect: body.takes_effect };
    }
    case 'errcode':
      return { kind: body.kind, errcode: body.errcode, ...(body.errmsg !== undefined && { errmsg: body.errmsg }) };
    default:
      return { kind: body.kind, takesEffect: body.takes_effect };
  }
}

/** A fault in force as the control endpoint shows it. */
export function fromFault(fault: ActiveFault, now: number): object {
  return {
    kind: fault.effect.kind,
    takes_effect: takesEffect(fault.effect),
    app_id: fault.appId ?? null,
    calls: fault.calls ?? callKinds,
    calls_left: fault.left ?? null,
    ends_in_s: fault.until === undefined ? null : (fault.until - now) / 1000,
  };
}
