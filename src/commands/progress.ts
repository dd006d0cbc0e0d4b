import type { Output } from './io.ts';
import { span } from './show.ts';

/** How far a long command is. */
export interface Progress {
  readonly done: number;
  readonly total: number;
  readonly failed: number;
  /** Since this run began. */
  readonly elapsedMs: number;
  /** Of `done`, those that this run did. */
  readonly doneNow: number;
}

const BAR_WIDTH = 24;

/** A progress bar, at most `width` columns wide; what has no room is left out, the bar first. */
export function renderBar(progress: Progress, width: number): string {
  const { done, total } = progress;
  const filled = total === 0 ? BAR_WIDTH : Math.floor((done / total) * BAR_WIDTH);
  const bar = `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)}  `;
  const text = renderProgress(progress);
  return (bar.length + text.length <= width ? bar + text : text).slice(0, width);
}

/** The same in words: `45120 of 100000 (45%), 2310/s, 0:24 left, 12 failed`. */
export function renderProgress({ done, total, failed, elapsedMs, doneNow }: Progress): string {
  const percent = total === 0 ? 100 : Math.floor((done / total) * 100);
  const perSecond = elapsedMs > 0 ? (doneNow / elapsedMs) * 1000 : 0;
  const left = total - done;
  return [
    `${done} of ${total} (${percent}%)`,
    `${perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond)}/s`,
    ...(left > 0 && perSecond > 0 ? [`${span((left / perSecond) * 1000)} left`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
  ].join(', ');
}

/** A bar that is drawn over on a terminal, four times a second; elsewhere a line every 5 s. */
export class ProgressView {
  readonly #out: Output;
  readonly #progress: () => Progress;
  readonly #timer: NodeJS.Timeout;

  constructor(out: Output, progress: () => Progress) {
    this.#out = out;
    this.#progress = progress;
    this.#timer = setInterval(() => this.#draw(), out.isTTY ? 250 : 5_000);
    if (out.isTTY) this.#draw();
  }

  /** Shows the last figures, and leaves them there. */
  close(): void {
    clearInterval(this.#timer);
    this.#draw();
    if (this.#out.isTTY) this.#out.write('\n');
  }

  #draw(): void {
    const progress = this.#progress();
    if (this.#out.isTTY) this.#out.write(`\r\x1b[2K${renderBar(progress, (this.#out.columns ?? 80) - 1)}`);
    else this.#out.write(`${renderProgress(progress)}\n`);
  }
}
