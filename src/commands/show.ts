import { type JsonObject, toJson } from '@bufbuild/protobuf';
import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import { type Token, type TokenState, TokenStateSchema, TokenStatus } from '../gen/lingpai/v1/token_pb.js';
import { asLines } from './output.ts';

/** What stands in place of a token's value unless `--show-token` asks for it. */
export const MASK = '(hidden)';

/** The state as proto3 JSON, with token values masked unless `showToken`. */
export function stateJson(state: TokenState, showToken: boolean): JsonObject {
  const json = toJson(TokenStateSchema, state) as JsonObject;
  if (showToken) return json;
  for (const name of ['current', 'previous']) {
    const token = json[name];
    if (token) json[name] = { ...(token as JsonObject), value: MASK };
  }
  return json;
}

/** The name of a status: `FRESH`. */
export function statusName(status: TokenStatus): string {
  return TokenStatus[status] ?? `status ${status}`;
}

/** The state as lines of text, by the broker's clock at `serverTime`. */
export function stateText(state: TokenState, serverTime: Timestamp | undefined, showToken: boolean): string {
  const now = serverTime ? timestampMs(serverTime) : Date.now();
  const lines = [
    ['app', state.appId],
    ['status', statusName(state.status) + (state.statusReason ? `: ${state.statusReason}` : '')],
    ['generation', String(state.generation)],
    ...tokenLines('current', state.current, now, showToken),
    ...tokenLines('previous', state.previous, now, showToken),
    ...(state.nextRefreshTime ? [['next refresh', `in ${span(timestampMs(state.nextRefreshTime) - now)}`]] : []),
  ];
  return asLines(lines.map(([name = '', value]) => `${name.padEnd(13)}${value}`));
}

function tokenLines(name: string, token: Token | undefined, now: number, showToken: boolean): string[][] {
  if (!token) return [];
  const left = token.expireTime ? timestampMs(token.expireTime) - now : 0;
  const honoured = name === 'previous' ? 'honoured for' : 'expires in';
  const value = showToken ? token.value : masked(token.value);
  return [
    [name, `${token.id}, ${honoured} ${span(left)}`],
    ['', value],
  ];
}

/** What is told of a value that is not shown. */
export function masked(value: string): string {
  return `${value.length} characters, ${MASK}; --show-token prints them`;
}

/** A duration as people read it: `1:59:07`, `0:42`. Less than nothing is `0:00`. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (n: number) => String(n).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}
