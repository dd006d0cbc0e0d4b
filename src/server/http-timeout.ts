/** The longest time that `setTimeout` takes; it turns a longer one into 1 ms. Nearly 25 days. */
export const LONGEST_MS = 2 ** 31 - 1;
/** The units of `grpc-timeout` that can say more, in milliseconds. */
const UNITS_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000 };

/** Shortens the time-outs that a caller set and no timer takes: what it meant is that it can wait. */
export function clampTimeouts(headers: Headers): void {
  const connect = headers.get('connect-timeout-ms');
  if (connect !== null && /^\d{1,10}$/.test(connect) && Number(connect) > LONGEST_MS)
    headers.set('connect-timeout-ms', String(LONGEST_MS));
  const [, digits, unit = ''] = /^(\d{1,8})([HMS])$/.exec(headers.get('grpc-timeout') ?? '') ?? [];
  const most = Math.floor(LONGEST_MS / (UNITS_MS[unit] ?? 1));
  if (digits !== undefined && Number(digits) > most) headers.set('grpc-timeout', `${most}${unit}`);
}
