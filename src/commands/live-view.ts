import { timestampMs } from '@bufbuild/protobuf/wkt';
import { type Token, type TokenState, TokenStatus, type WatchTokenResponse } from '../gen/lingpai/v1/token_pb.js';
import { type Refusal, refusalText } from './client.ts';
import type { Output } from './io.ts';
import { printable } from './output.ts';
import { span, statusName } from './show.ts';
import { tableLines, visible } from './table.ts';

const DIM = '\x1b[2m';
const RESET = '\x1b[0m';
const COLOURS: Partial<Record<TokenStatus, string>> = {
  [TokenStatus.FRESH]: '\x1b[32m',
  [TokenStatus.DEGRADED]: '\x1b[33m',
  [TokenStatus.EXPIRED]: '\x1b[31m',
};
const HEADER = ['APP', 'STATUS', 'GENERATION', 'TOKEN', 'LEFT', 'PREVIOUS', 'GRACE'];

/** What a picture shows. */
export interface Picture {
  /** The line above the table. */
  readonly title: string;
  readonly states: readonly TokenState[];
  /** The broker's time in milliseconds since 1970. */
  readonly now: number;
  /** Columns of the terminal; no row of the picture is wider. */
  readonly width: number;
  readonly showToken: boolean;
}

/** The rows of a picture. A row that the terminal would wrap would be two, and could not be drawn over. */
export function render({ title, states, now, width, showToken }: Picture): string[] {
  const left = (token: Token) => span(token.expireTime ? timestampMs(token.expireTime) - now : 0);
  const cells = states.map(({ appId, status, generation, current, previous }) => [
    printable(appId),
    `${COLOURS[status] ?? ''}${statusName(status)}${RESET}`,
    String(generation),
    ...(current ? [printable(current.id), left(current)] : ['', '']),
    ...(previous ? [printable(previous.id), left(previous)] : ['', '']),
  ]);
  const [header = '', ...rows] = tableLines(HEADER, cells);
  const notes = states.flatMap(({ appId, statusReason, current }) => [
    ...(statusReason ? [`${appId}: ${statusReason}`] : []),
    ...(showToken && current ? [`${appId}: ${current.value}`] : []),
  ]);
  return [
    ...wrap(printable(title), width).map(dim),
    dim(cut(header, width)),
    ...rows.map((row) => cut(row, width)),
    ...notes.flatMap((note) => wrap(printable(note), width)),
  ];
}

/** A table on a terminal, drawn again each second and at each event. */
export class LiveView {
  readonly #out: Output;
  readonly #addr: string;
  readonly #showToken: boolean;
  readonly #states = new Map<string, TokenState>();
  readonly #timer: NodeJS.Timeout;
  #drawn = 0;
  #note = 'connecting';
  /** How far the broker's clock is ahead of ours. */
  #aheadMs = 0;

  constructor(out: Output, addr: string, showToken: boolean) {
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
    this.#note = `reconnecting: ${refusalText(refusal, this.#addr)}`;
    this.#draw();
  }

  /** Leaves the last picture on the screen. */
  close(): void {
    clearInterval(this.#timer);
  }

  #draw(): void {
    const rows = render({
      title: `${this.#addr}: ${this.#note}`,
      states: [...this.#states.values()],
      now: Date.now() + this.#aheadMs,
      width: this.#out.columns ?? 80,
      showToken: this.#showToken,
    });
    const home = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : '';
    this.#out.write(`${home}${rows.map((row) => `\x1b[2K${row}\n`).join('')}\x1b[0J`);
    this.#drawn = rows.length;
  }
}

function dim(text: string): string {
  return DIM + text + RESET;
}

function cut(text: string, width: number): string {
  return visible(text).length <= width ? text : `${visible(text).slice(0, width - 1)}…`;
}

function wrap(text: string, width: number): string[] {
  return text.match(new RegExp(`.{1,${width}}`, 'gu')) ?? [];
}
