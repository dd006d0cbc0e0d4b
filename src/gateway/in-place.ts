import { holds } from './heads.ts';
import { masked } from './mask.ts';
import { changeParameters } from './parameters.ts';

/** What a call carries to WeChat in its query and body. */
export interface Carried {
  readonly query: string;
  /** Undefined: none, or one that is passed on as it comes. */
  readonly body: Buffer | undefined;
}

/** What goes where. */
export interface Placed {
  /** The app's token or its AppSecret. */
  readonly real: string;
  /** What the caller showed, which goes nowhere. */
  readonly credential: string;
}

const TOKEN_NAMES: ReadonlySet<string> = new Set(['access_token']);
const SECRET_NAMES: ReadonlySet<string> = new Set(['secret', 'appsecret']);

/**
 * The query with the token in place: where the first `access_token` stood, else at its end. WeChat reads that name in lower case and
 * in the query alone. Others of that name, in any case, are left out, and so is whatever else holds the credential.
 */
export function queryWithToken(query: string, { real, credential }: Placed): string {
  const token = `access_token=${encodeURIComponent(real)}`;
  let isPlaced = false;
  const changed = changeParameters(query, (name, value) => {
    if (TOKEN_NAMES.has(name.toLowerCase())) {
      if (isPlaced) return null;
      isPlaced = true;
      return token;
    }
    return holds(value, credential) || holds(name, credential) ? null : undefined;
  });
  if (isPlaced) return changed;
  return changed === '' ? token : `${changed}&${token}`;
}

/** A form without `access_token`, which stands in the query, and without whatever else holds the credential. */
export function formWithoutToken(body: Buffer, { credential }: Placed): Buffer {
  const form = body.toString('latin1');
  const changed = changeParameters(form, (name, value) =>
    TOKEN_NAMES.has(name.toLowerCase()) || holds(value, credential) || holds(name, credential) ? null : undefined,
  );
  return changed === form ? body : Buffer.from(changed, 'latin1');
}

/**
 * A call that carries a secret, with the AppSecret where the caller's key stood: in `secret` or `appsecret` of the query, of a form
 * and of a JSON object. A name that stands again is left out. Nothing else is looked at, but for the key, which goes nowhere.
 */
export function withSecret({ query, body }: Carried, placed: Placed): Carried {
  return {
    query: parametersWithSecret(query, placed),
    body: body && masked(bodyWithSecret(body, placed), placed.credential),
  };
}

function parametersWithSecret(text: string, { real, credential }: Placed): string {
  const seen = new Set<string>();
  return changeParameters(text, (name, value) => {
    const key = name.toLowerCase();
    if (!SECRET_NAMES.has(key)) return holds(value, credential) || holds(name, credential) ? null : undefined;
    if (seen.has(key)) return null;
    seen.add(key);
    return `${key}=${encodeURIComponent(real)}`;
  });
}

function bodyWithSecret(body: Buffer, placed: Placed): Buffer {
  const fields = objectIn(body);
  if (!fields) return Buffer.from(parametersWithSecret(body.toString('latin1'), placed), 'latin1');
  for (const name of Object.keys(fields)) if (SECRET_NAMES.has(name.toLowerCase())) fields[name] = placed.real;
  return Buffer.from(JSON.stringify(fields));
}

function objectIn(body: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body.toString());
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
