import type { Media } from './media.ts';

/** What WeChat tells a caller: that it refuses, or what was asked for. */
export type Told = Refusal | Answered;

/** WeChat refuses. `errmsg`: in place of the usual words. */
export interface Refusal {
  readonly errcode: number;
  readonly errmsg?: string;
}

/** What was asked for, as JSON, or in its place a file. */
export interface Answered {
  readonly errcode: 0;
  readonly text: string;
  readonly media?: Media;
}

/** An answer that is this JSON. */
export function told(body: object): Answered {
  return { errcode: 0, text: JSON.stringify(body) };
}
