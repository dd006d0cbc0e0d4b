import { decoded } from './parameters.ts';

/** The calls in which the AppSecret is sent: no other path ever gets it. */
export const SECRET_CALLS: ReadonlySet<string> = new Set([
  '/sns/jscode2session',
  '/sns/oauth2/access_token',
  '/cgi-bin/clear_quota/v2',
]);

/** What a call shows of its caller. Empty: nothing. */
export interface Shown {
  readonly appId: string;
  readonly secret: string;
}

/** What a query or a form shows. Names are read as they are put in place: in any case. */
export function shownIn(parameters: string): Shown {
  return shown(
    parameters.split('&').map((part): [string, unknown] => {
      const equals = part.indexOf('=');
      return equals < 0 ? [decoded(part), ''] : [decoded(part.slice(0, equals)), decoded(part.slice(equals + 1))];
    }),
  );
}

/** What a body shows: a JSON object or a form. */
export function shownInBody(body: Buffer): Shown {
  const text = body.toString();
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return shown(Object.entries(value));
  } catch {
    // It is a form, then.
  }
  return shownIn(text);
}

function shown(fields: readonly (readonly [string, unknown])[]): Shown {
  const text = (...names: string[]) => {
    const value = fields.find(([name]) => names.includes(name.toLowerCase()))?.[1];
    return typeof value === 'string' ? value : '';
  };
  return { appId: text('appid'), secret: text('secret', 'appsecret') };
}
