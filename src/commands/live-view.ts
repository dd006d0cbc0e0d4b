import type { WriteStream } from 'node:tty';
import { stripVTControlCharacters } from 'node:util';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { type Token, type TokenState, TokenStatus, type WatchTokenResponse } from '../gen/lingpai/v1/token_pb.js';
import { type Refusal, refusalText } from './client.ts';
import { span, statusName } from './show.ts';

const DIM = '\x1b[2m';
const RESET = '\x1b[0m';
const COLOURS: Partial<Record<TokenStatus, string>> = {
  [TokenStatus.FRESH]: '\x1b[32m',
  [TokenStatus.DEGRADED]: '\x1b[33m',
  [TokenStatus.EXPIRED]: '\x1b[31m',
};
const HEADER = ['APP', 'STATUS', 'GENERATION', 'TOKEN', 'LEFT', 'PREVIOUS', 'GRACE'];

/** A table on a terminal, drawn again each second and at each event. */
export class LiveView {
  readonly #out: WriteStream;
  readonly #addr: string;
  readonly #showToken: boolean;
  readonly #states = new Map<string, TokenState>();
  readonly #timer: NodeJS.Timeout;
  #drawn = 0;
  #note = 'connecting';
  /** How far the broker's clock is ahead of ours. */
  #aheadMs = 0;

  constructor(out: WriteStream, addr: string, showToken: boolean) {
    this.#out = out;
    this.#addr = addr;
    this.#showToken = showToken;
    this.#timer = setInterval(() => this.#draw(), 1_000);
    this.#draw();
  }

  /** Takes in what the stream sent. */
  event({ event, serverTime }: WatchTokenResponse): void {
    if (serverTime) this.#aheadMs = timestampMs(serverTime) - Date.now();
    this.#note = event.case === 'goaway' ? 'the broker is shutting down' : 'connected';
    if (event.case === 'state') this.#states.set(event.value.appId, event.value);
    if (event.case === 'removed') this.#states.delete(event.value.appId);
    this.#draw();
  }

  /** Says that the stream ended, and keeps showing what is known. */
  reconnecting(refusal: Refusal): void {
    this.#note = `reconnecting: ${refusalText(refusal)}`;
    this.#draw();
  }

  /** Leaves the last picture on the screen. */
  close(): void {
    clearInterval(this.#timer);
  }

  #draw(): void {
    const now = Date.now() + this.#aheadMs;
    const left = (token: Token | undefined) => (token?.expireTime ? span(timestampMs(token.expireTime) - now) : '');
    const rows = [...this.#states.values()].map((state) => [
      state.appId,
      `${COLOURS[state.status] ?? ''}${statusName(state.status)}${RESET}`,
      String(state.generation),
      state.current?.id ?? '',
      left(state.current),
      left(state.previous) === '0:00' ? '' : (state.previous?.id ?? ''),
      left(state.previous),
    ]);
    const widths = HEADER.map((title, i) => Math.max(title.length, ...rows.map((row) => visible(row[i] ?? '').length)));
    const line = (cells: string[]) =>
      cells.map((cell, i) => cell + ' '.repeat((widths[i] ?? 0) - visible(cell).length)).join('  ');
    const lines = [
      `${DIM}${this.#addr}: ${this.#note}${RESET}`,
      `${DIM}${line(HEADER)}${RESET}`,
      ...rows.map(line),
      ...[...this.#states.values()].flatMap(({ appId, statusReason, current }) => [
        ...(statusReason ? [`${appId}: ${statusReason}`] : []),
        ...(this.#showToken && current ? [`${appId}: ${current.value}`] : []),
      ]),
    ].map((text) => this.#fit(text));
    const home = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : '';
    this.#out.write(`${home}${lines.map((text) => `\x1b[2K${text}\n`).join('')}\x1b[0J`);
    this.#drawn = lines.length;
  }

  /** A line that wrapped would be two, and the picture could not be drawn over. */
  #fit(text: string): string {
    const width = this.#out.columns ?? 80;
    return visible(text).length <= width || this.#showToken ? text : `${visible(text).slice(0, width - 1)}…`;
  }
}

function visible(text: string): string {
  return stripVTControlCharacters(text);
}
