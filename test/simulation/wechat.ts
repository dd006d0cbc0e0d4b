import type { Random } from '../../src/core/kernel/clock.ts';
import type { App, IssuerKind, WeChat } from '../../src/core/tokens/ports.ts';
import { defaultSettings } from '../../src/sandbox/app.ts';
import { SimulatedWeChat } from '../../src/sandbox/wechat.ts';
import { tokenError } from '../../src/wechat/errcodes.ts';
import { SandboxWeChat } from '../support/sandbox-port.ts';
import type { Death, Happening } from './history.ts';
import type { Scheduler } from './scheduler.ts';

/** WeChat's servers: the sandbox's simulation, with an account of which token dies when, and through what. */
export class WeChatServer {
  readonly #wechat: SimulatedWeChat;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #epochTime: number;
  readonly #note: (happening: Happening) => void;
  readonly #diesAt = new Map<string, number>();
  readonly #apps: ReadonlyMap<string, App>;
  /** The sandbox as the core's port, without a network. */
  readonly port: WeChat;
  /** The mint call that is being handled. */
  #call: number | null = null;
  /** The share of calls that WeChat refuses since it is busy. */
  busy = 0;

  /** `epochTime` is the wall time of the beginning, in milliseconds since 1970. */
  constructor(options: {
    scheduler: Scheduler;
    random: Random;
    epochTime: number;
    apps: readonly App[];
    app: { lifetimeMs: number; classicPerDay: number; forcedPerDay: number };
    note: (happening: Happening) => void;
  }) {
    const { scheduler, random, epochTime, apps } = options;
    const { lifetimeMs, ...perDay } = options.app;
    const quotas = { ...defaultSettings.quotas, ...perDay };
    this.#scheduler = scheduler;
    this.#random = random;
    this.#epochTime = epochTime;
    this.#note = options.note;
    this.#apps = new Map(apps.map((app) => [app.appId, app]));
    const clock = { now: () => Math.floor(epochTime + scheduler.now) };
    this.#wechat = new SimulatedWeChat({
      clock,
      random,
      apps: apps.map(({ appId, secret }) => ({ appId, secret, lifetimeMs, quotas, tokenLength: 40 })),
      log: ({ appId, minted, kind }) => {
        if (minted) this.#minted(appId, this.#call === null || kind === 'stable' ? 'read' : 'call');
      },
    });
    const never = { ...clock, monotonic: () => scheduler.now, schedule: () => ({ cancel: () => undefined }) };
    this.port = new SandboxWeChat({
      wechat: this.#wechat,
      clock: never,
      toError: (errcode, errmsg) => tokenError(errcode, errmsg),
    });
  }

  /** Handles one call, which arrives now; `call` names it where it mints. Rejects with UpstreamError, as the port does. */
  handle<T>(call: number | null, run: (port: WeChat) => Promise<T>): Promise<T> {
    this.#scheduler.touch();
    if (this.busy > 0 && this.#random() < this.busy) return Promise.reject(tokenError(-1, 'system error'));
    this.#call = call;
    try {
      return run(this.port);
    } finally {
      this.#call = null;
    }
  }

  /** Somebody else with the same AppID mints. */
  mintOutside(appId: string): void {
    this.#wechat.mintOutside(appId, this.#issuer(appId));
    this.#minted(appId, 'outside');
  }

  /** WeChat revokes the current token, or that and the one before. */
  revoke(appId: string, which: 'current' | 'all', stuck: boolean): void {
    const issuer = this.#issuer(appId);
    const isStuck = stuck && issuer === 'stable';
    this.#wechat.kill(appId, { issuer, which, stuck: isStuck });
    this.#note({ type: 'revoked', app: appId, stuck: isStuck, deaths: this.#deaths(appId) });
  }

  #issuer(appId: string): IssuerKind {
    return this.#apps.get(appId)?.issuer ?? 'classic';
  }

  #minted(appId: string, by: 'call' | 'read' | 'outside'): void {
    const token = this.#wechat.tokens(appId).find(({ issuer }) => issuer === this.#issuer(appId));
    if (!token) return;
    const call = by === 'call' ? this.#call : null;
    const deaths = this.#deaths(appId);
    this.#note({ type: 'mint', app: appId, token: token.id, by, call, endsAt: token.endsAt - this.#epochTime, deaths });
  }

  /** The deaths that have changed since they were last asked for. */
  #deaths(appId: string): readonly Death[] {
    const deaths: Death[] = [];
    for (const { id, diesAt, endsAt } of this.#wechat.tokens(appId)) {
      const at = diesAt - this.#epochTime;
      if ((this.#diesAt.get(id) ?? endsAt - this.#epochTime) !== at) deaths.push({ token: id, at });
      this.#diesAt.set(id, at);
    }
    return deaths;
  }
}
