import type { CallKind } from './calls.ts';
import { halfOf, type Media } from './media.ts';

/**
 * What goes wrong with a call. `takesEffect`: WeChat handles the call first, so that a token may be minted and never seen;
 * otherwise the fault comes before it is handled.
 */
export type FaultEffect =
  /** The call is handled at once and answered this much later. */
  | { readonly kind: 'latency'; readonly ms: number }
  /** No answer ever comes. */
  | { readonly kind: 'hang'; readonly takesEffect: boolean }
  /** The connection is reset. With `takesEffect`, that is an answer lost after the mint. */
  | { readonly kind: 'reset'; readonly takesEffect: boolean }
  /** No connection comes about. Only for calls in the same process; over HTTP it is a reset. */
  | { readonly kind: 'refused' }
  /** A gateway's error page, with this HTTP status. */
  | { readonly kind: 'html'; readonly status: number; readonly takesEffect: boolean }
  /** The first half of the true answer. */
  | { readonly kind: 'truncated' }
  | { readonly kind: 'empty'; readonly takesEffect: boolean }
  /** An answer of this many bytes, well-formed but for its size. */
  | { readonly kind: 'huge'; readonly bytes: number; readonly takesEffect: boolean }
  /** This text as the answer. */
  | { readonly kind: 'body'; readonly text: string; readonly takesEffect: boolean }
  /** WeChat refuses with this errcode; `errmsg` in place of its usual words. */
  | { readonly kind: 'errcode'; readonly errcode: number; readonly errmsg?: string };

/** A fault to inject: which calls it meets, how often and for how long. */
export interface Fault {
  readonly effect: FaultEffect;
  /** Only calls of this app. */
  readonly appId?: string;
  /** Only calls of these kinds. */
  readonly calls?: readonly CallKind[];
  /** How many calls it meets; every one by default. */
  readonly count?: number;
  /** How long it lasts from its injection on; until it is cleared by default. */
  readonly durationMs?: number;
}

/** A fault that is in force. */
export interface ActiveFault extends Fault {
  /** Calls that it will still meet; undefined: no limit. */
  readonly left: number | undefined;
  /** The wall-clock time of its end; undefined: none. */
  readonly until: number | undefined;
}

/** What becomes of a call on its way back to the caller. */
export type Delivery =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly contentType: string;
      readonly text: string;
      /** A file in place of the text. */
      readonly media?: Media;
      readonly afterMs: number;
    }
  | { readonly kind: 'hang' | 'reset' | 'refused' };

/** The faults in force. A call meets at most one of them: the oldest that fits. */
export class Faults {
  readonly #now: () => number;
  #active: (ActiveFault & { left: number | undefined })[] = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Puts a fault in force. */
  inject(fault: Fault): void {
    this.#active.push({
      ...fault,
      left: fault.count,
      until: fault.durationMs === undefined ? undefined : this.#now() + fault.durationMs,
    });
  }

  /** Ends all faults. Calls that already hang go on hanging. */
  clear(): void {
    this.#active = [];
  }

  /** The faults in force, oldest first. */
  get active(): readonly ActiveFault[] {
    this.#active = this.#active.filter(
      ({ left, until }) => (left === undefined || left > 0) && (until === undefined || this.#now() < until),
    );
    return this.#active;
  }

  /** The effect that a call meets; counts it. */
  take(kind: CallKind, appId: string): FaultEffect | undefined {
    void this.active;
    const fault = this.#active.find(
      (each) =>
        (each.appId === undefined || each.appId === appId) && (each.calls === undefined || each.calls.includes(kind)),
    );
    if (fault?.left !== undefined) fault.left--;
    return fault?.effect;
  }
}

/** Whether WeChat handles a call that meets this effect. */
export function takesEffect(effect: FaultEffect): boolean {
  switch (effect.kind) {
    case 'latency':
    case 'truncated':
      return true;
    case 'refused':
    case 'errcode':
      return false;
    default:
      return effect.takesEffect;
  }
}

/** What the caller gets: WeChat's true answer (empty where it gave none) as the effect leaves it. */
export function deliver(effect: FaultEffect | undefined, answer: string, media?: Media): Delivery {
  switch (effect?.kind) {
    case 'latency':
      return media ? file(media, effect.ms) : json(answer, effect.ms);
    case 'hang':
    case 'reset':
    case 'refused':
      return { kind: effect.kind };
    case 'html':
      return { kind: 'answer', status: effect.status, contentType: 'text/html', text: gatewayPage, afterMs: 0 };
    case 'truncated':
      return media ? file(halfOf(media)) : json(answer.slice(0, answer.length / 2));
    case 'empty':
      return json('');
    case 'huge':
      return json(hugeGrant(effect.bytes));
    case 'body':
      return json(effect.text);
    default:
      return media ? file(media) : json(answer);
  }
}

function file(media: Media, afterMs = 0): Delivery {
  return { kind: 'answer', status: 200, contentType: media.contentType, text: '', media, afterMs };
}

function json(text: string, afterMs = 0): Delivery {
  return { kind: 'answer', status: 200, contentType: 'application/json; encoding=utf-8', text, afterMs };
}

const gatewayPage =
  '<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n' +
  '<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n';

function hugeGrant(bytes: number): string {
  const grant = (value: string) => JSON.stringify({ access_token: value, expires_in: 7200 });
  return grant('x'.repeat(Math.max(0, bytes - grant('').length)));
}
