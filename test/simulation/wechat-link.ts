import type { Random } from '../../src/core/kernel/clock.ts';
import { type CallEffect, UpstreamError, type UpstreamReason } from '../../src/core/kernel/errors.ts';
import type { App, Grant, TokenCall, Verdict, WeChat } from '../../src/core/tokens/ports.ts';
import type { Happening, Outcome } from './history.ts';
import type { Life } from './life.ts';
import type { Scheduler } from './scheduler.ts';
import type { OnStep } from './steps.ts';
import type { WeChatServer } from './wechat.ts';
import type { Wire } from './wire.ts';

/** What is to befall the next mint of an app on its way. */
export type Mishap =
  /** The request is held up for so long; its sender may have died when it arrives. */
  { readonly kind: 'held'; readonly ms: number } | { readonly kind: 'answer lost' };

/** What all processes' ways to WeChat have in common. */
export interface WeChatWorld {
  readonly server: WeChatServer;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly note: (happening: Happening) => void;
  readonly onStep: OnStep;
  /** By app id; taken by the first mint. */
  readonly mishaps: Map<string, Mishap>;
  /** Requests that are held up; deliver them with their functions. */
  readonly held: Set<() => void>;
  nextCall: number;
}

/** Of the requests that are given up before they left, the share that leave all the same. */
const LEAVES_ANYWAY_SHARE = 0.5;

/** One process's way to WeChat. */
export class WeChatLink implements WeChat {
  readonly #life: Life;
  readonly #host: number;
  readonly #wire: Wire;
  readonly #world: WeChatWorld;

  constructor(options: { life: Life; host: number; wire: Wire; world: WeChatWorld }) {
    this.#life = options.life;
    this.#host = options.host;
    this.#wire = options.wire;
    this.#world = options.world;
  }

  fetchToken(app: App, kind: TokenCall, signal: AbortSignal): Promise<Grant> {
    const { note, onStep, mishaps } = this.#world;
    const never = new AbortController().signal;
    if (kind === 'stable') {
      return this.#ask((port) => port.fetchToken(app, kind, never), signal, { call: null });
    }
    if (signal.aborted) return Promise.reject(timeout('unsent'));
    const { appId } = app;
    const call = this.#world.nextCall++;
    note({ type: 'call', call, host: this.#host, app: appId, forced: kind === 'stable_force' });
    const mishap = mishaps.get(appId);
    mishaps.delete(appId);
    const answer = this.#ask((port) => port.fetchToken(app, kind, never), signal, {
      call,
      mishap,
      onMade: () => onStep('mint made', appId, this.#life),
      onAnswer: () => onStep('mint answered', appId, this.#life),
    });
    onStep('mint leaving', appId, this.#life);
    return answer;
  }

  probe(token: string, signal: AbortSignal): Promise<Verdict> {
    const never = new AbortController().signal;
    return this.#ask((port) => port.probe(token, never), signal, { call: null });
  }

  #ask<T>(
    run: (port: WeChat) => Promise<T>,
    signal: AbortSignal,
    {
      call,
      mishap,
      onMade,
      onAnswer,
    }: {
      call: number | null;
      mishap?: Mishap | undefined;
      onMade?: () => void;
      onAnswer?: () => void;
    },
  ): Promise<T> {
    if (signal.aborted) return Promise.reject(timeout('unsent'));
    const { server, scheduler, random, note, held } = this.#world;
    const life = this.#life;
    const wire = this.#wire;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    let open = true;
    /** What the process knows from now on. */
    const settle = (outcome: Outcome) => {
      open = false;
      signal.removeEventListener('abort', onAbort);
      forget();
      if (call !== null) note({ type: 'outcome', call, outcome });
    };
    const fail = (error: UpstreamError) => {
      if (!open) return;
      settle(error.effect === 'unknown' ? 'lost' : 'refused');
      reject(error);
    };
    const onAbort = () => {
      if (!open) return;
      if (random() >= LEAVES_ANYWAY_SHARE) letter.withdraw();
      fail(timeout('unknown'));
    };
    const forget = life.onDeath(() => {
      if (open) settle('lost');
    });
    signal.addEventListener('abort', onAbort, { once: true });
    const back = (take: () => void) => {
      if (mishap?.kind === 'answer lost' || wire.losesAnswer()) {
        if (random() < 0.5) scheduler.after(wire.latency(), () => life.deliver(() => fail(reset())));
        return; // else it hangs until the caller gives up
      }
      scheduler.after(wire.latency(), () => {
        onAnswer?.();
        life.deliver(take);
      });
    };
    const arrive = () => {
      const answer = server.handle(call, run);
      onMade?.();
      answer.then(
        (value) =>
          back(() => {
            if (!open) return;
            settle('answered');
            resolve(value);
          }),
        (error) => back(() => fail(error)),
      );
    };
    const letter = life.send(() => {
      if (mishap?.kind === 'held') {
        const pass = () => {
          if (held.delete(pass)) arrive();
        };
        held.add(pass);
        scheduler.after(mishap.ms, pass);
      } else if (wire.cut && random() < 0.5) scheduler.after(1, () => life.deliver(() => fail(unreachable())));
      else if (!wire.losesRequest()) scheduler.after(wire.latency(), arrive);
    });
    return promise;
  }
}

function timeout(effect: CallEffect): UpstreamError {
  return failure('WeChat did not answer in time', 'UPSTREAM_TIMEOUT', effect);
}

function reset(): UpstreamError {
  return failure('WeChat reset the connection', 'UPSTREAM_UNREACHABLE', 'unknown');
}

function unreachable(): UpstreamError {
  return failure('WeChat refuses connections', 'UPSTREAM_UNREACHABLE', 'unsent');
}

function failure(message: string, reason: UpstreamReason, effect: CallEffect): UpstreamError {
  return new UpstreamError(message, { reason, recovery: { kind: 'backoff' }, effect });
}
