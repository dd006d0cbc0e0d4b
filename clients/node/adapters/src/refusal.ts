/** What an adapter needs of a `Source` of @lingpai/client. */
export interface TokenSource {
  readonly app: string;
  /** Throws where there is no token. `expiresAt`: in milliseconds of `performance.now()`. */
  readonly token: HeldToken;
  report(token: never): Promise<{ readonly outcome: string; readonly token: HeldToken | undefined }>;
}

/** A token as @lingpai/client has it. */
export interface HeldToken {
  readonly value: string;
  readonly generation: bigint;
  readonly expiresAt: number;
}

/** WeChat's errcodes that say that the token was refused. */
const REFUSALS: ReadonlySet<unknown> = new Set([40001, 40014, 42001]);

/** The longest answer, in bytes, in which an errcode is looked for: one that has an errcode is short. */
const LONGEST = 4096;

/** Whether an answer of WeChat's, parsed or not, says that the token was refused. */
export function isRefused(answer: unknown): boolean {
  if (typeof answer === 'string' || answer instanceof Uint8Array) {
    if (answer.length > LONGEST) return false;
    try {
      return isRefused(Object(JSON.parse(String(answer))));
    } catch {
      return false;
    }
  }
  const { errcode } = (answer ?? {}) as { errcode?: unknown };
  return REFUSALS.has(errcode);
}

/** The value to repeat a call with that WeChat refused with `used`; undefined: none came, and the refusal stands. Reports the token. */
export async function afterRefusal(source: TokenSource, used: string): Promise<string | undefined> {
  try {
    const held = source.token;
    if (held.value !== used) return held.value;
    const { outcome, token } = await source.report(held as never);
    return outcome !== 'STILL_VALID' && token && token.generation > held.generation ? token.value : undefined;
  } catch {
    return undefined;
  }
}

/** The token in a URL's query, or undefined. */
export function tokenIn(url: string): string | undefined {
  return new URL(url).searchParams.get('access_token') ?? undefined;
}

/** The URL with another token in it. */
export function withToken(url: string, value: string): string {
  return url.replace(/([?&]access_token=)[^&#]*/, (_, name) => name + encodeURIComponent(value));
}

/** Whether a body can be sent a second time: a stream has been read. */
export function isRepeatable(...bodies: readonly unknown[]): boolean {
  return bodies.every((body) => typeof (body as { pipe?: unknown } | undefined | null)?.pipe !== 'function');
}

/** When a token's life is over by the wall clock, in milliseconds since 1970, as SDKs count it. */
export function wallTime({ expiresAt }: HeldToken): number {
  return Date.now() + (expiresAt - performance.now());
}
