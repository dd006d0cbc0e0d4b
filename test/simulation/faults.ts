import type { Random } from '../../src/core/kernel/clock.ts';
import type { Happening } from './history.ts';
import type { Host } from './host.ts';
import type { Life } from './life.ts';
import type { Blow, Fault, Target } from './scenario.ts';
import type { Scheduler } from './scheduler.ts';
import type { StoreServer } from './shared-store.ts';
import type { Step } from './steps.ts';
import type { Storm } from './storm.ts';
import type { Subscriber } from './subscriber.ts';
import type { WeChatWorld } from './wechat-link.ts';

/** Everything that can go wrong. */
export interface Stage {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly hosts: readonly Host[];
  readonly subscribers: readonly Subscriber[];
  readonly appIds: readonly string[];
  readonly server: StoreServer;
  readonly wechat: WeChatWorld;
  readonly storm: Storm;
  readonly note: (happening: Happening) => void;
}

interface Ambush {
  readonly appId: string;
  readonly step: Step;
  readonly blow: Blow;
  readonly ms: number;
}

/** The least time from one attempt to the next is 1 s, and grows. */
const ATTEMPT_MS = 10_000;
const COOLDOWN_MS = 30_000;
/** A mint that goes wrong, one that makes up for it, and one that confirms. */
const MENDED = 3;
/** The store's machine is quick to come back where only its process ended. */
const ROLLING_PAUSE_MS = 3_000;

/** Puts faults in force and ends them. */
export class Faults {
  readonly #stage: Stage;
  readonly #ambushes = new Set<Ambush>();
  /** What ends the faults in force. */
  readonly #undo = new Set<() => void>();

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  /** Puts a fault in force, and has it end by itself where it lasts. */
  begin(fault: Fault): void {
    const { hosts, server, wechat, storm } = this.#stage;
    this.#explain(fault);
    switch (fault.kind) {
      case 'pause':
        this.#pause(this.#host(fault.host), fault.ms);
        break;
      case 'crash':
        this.#crash(this.#host(fault.host), fault.ms);
        break;
      case 'rolling restart':
        this.#roll([...hosts]);
        break;
      case 'cut from store':
        this.#onStoreWires(fault.target, fault.ms, (host) => {
          host.storeWire.cut = true;
        });
        break;
      case 'slow store':
        this.#onStoreWires(fault.target, fault.ms, ({ storeWire }) => storeWire.slow([1, fault.latencyMs]));
        break;
      case 'lossy store':
        this.#onStoreWires(fault.target, fault.ms, ({ storeWire }) => {
          storeWire.lostRequests = fault.requests;
          storeWire.lostAnswers = fault.answers;
          storeWire.disorderly = true;
        });
        break;
      case 'deaf':
        this.#deafen(this.#host(fault.host), fault.ms);
        break;
      case 'store restart':
        this.#restartStore(fault.backMs, fault.ms);
        break;
      case 'store clock':
        server.setClock(fault.byMs);
        this.#stage.note({ type: 'store clock', byMs: fault.byMs });
        break;
      case 'wall clock':
        this.#host(fault.host).setWallClock(fault.byMs);
        break;
      case 'cut from WeChat':
        this.#onWeChatWires(fault.target, fault.ms, (host) => {
          host.wechatWire.cut = true;
        });
        break;
      case 'slow WeChat':
        this.#onWeChatWires(fault.target, fault.ms, ({ wechatWire }) => wechatWire.slow([50, fault.latencyMs]));
        break;
      case 'lossy WeChat':
        this.#onWeChatWires(fault.target, fault.ms, ({ wechatWire }) => {
          wechatWire.lostAnswers = fault.share;
        });
        break;
      case 'WeChat busy':
        wechat.server.busy = fault.share;
        this.#onWeChatWires(
          'all',
          fault.ms,
          () => undefined,
          () => {
            wechat.server.busy = 0;
          },
        );
        break;
      case 'mint held':
        wechat.mishaps.set(this.#appId(fault.app), { kind: 'held', ms: fault.ms });
        break;
      case 'mint answer lost':
        wechat.mishaps.set(this.#appId(fault.app), { kind: 'answer lost' });
        break;
      case 'ambush': {
        const { step, blow, ms } = fault;
        this.#ambushes.add({ appId: this.#appId(fault.app), step, blow, ms });
        break;
      }
      case 'outside mint':
        wechat.server.mintOutside(this.#appId(fault.app));
        break;
      case 'revoked':
        wechat.server.revoke(this.#appId(fault.app), fault.which, fault.stuck);
        break;
      case 'operator':
        storm.operator(this.#appId(fault.app), this.#host(fault.host));
        break;
      case 'storm':
        storm.rage(this.#appId(fault.app), fault.everyMs, fault.ms);
        break;
    }
  }

  /** A process has come to a step of a mint. */
  step(step: Step, appId: string, life: Life): void {
    for (const ambush of this.#ambushes) {
      if (ambush.step !== step || ambush.appId !== appId) continue;
      this.#ambushes.delete(ambush);
      const host = this.#stage.hosts.find(({ process }) => process?.life === life);
      if (host) this.#strike(host, ambush.blow, ambush.ms);
    }
  }

  /** Ends all faults; what was held up arrives. */
  heal(): void {
    const { wechat } = this.#stage;
    this.#ambushes.clear();
    wechat.mishaps.clear();
    for (const pass of [...wechat.held]) pass();
    for (const undo of [...this.#undo]) undo();
  }

  #strike(host: Host, blow: Blow, ms: number): void {
    switch (blow) {
      case 'pause':
        this.#pause(host, ms);
        break;
      case 'crash':
        this.#crash(host, ms);
        break;
      case 'cut from store':
        this.#onStoreWires(host.index, ms, ({ storeWire }) => {
          storeWire.cut = true;
        });
        break;
      case 'cut from WeChat':
        this.#onWeChatWires(host.index, ms, ({ wechatWire }) => {
          wechatWire.cut = true;
        });
        break;
      case 'store stops':
        this.#restartStore(0, ms);
        break;
    }
  }

  #pause(host: Host, ms: number): void {
    const { life } = host.process ?? {};
    if (life?.state !== 'running') return;
    const recover = host.suffer('paused');
    life.pause();
    for (const subscriber of this.#stage.subscribers) subscriber.silenced(host);
    const end = () => {
      forget();
      recover();
      life.resume();
    };
    const forget = life.onDeath(() => recover());
    this.#during(ms, end);
  }

  #crash(host: Host, ms: number): void {
    if (!host.process) return;
    host.kill();
    this.#during(ms, () => host.start());
  }

  #roll([host, ...rest]: readonly Host[]): void {
    if (!host) return;
    host.drain(() => {
      this.#stage.scheduler.after(ROLLING_PAUSE_MS, () => {
        host.start();
        this.#stage.scheduler.after(ROLLING_PAUSE_MS, () => this.#roll(rest));
      });
    });
  }

  #onStoreWires(target: Target, ms: number, spoil: (host: Host) => void): void {
    for (const host of this.#targets(target)) {
      const recover = host.suffer('store');
      spoil(host);
      const broken = this.#stage.random() < 0.5;
      this.#during(ms, () => {
        const wasCut = host.storeWire.cut;
        host.storeWire.mend();
        recover();
        if (wasCut) host.process?.link.recover(broken);
      });
    }
  }

  #onWeChatWires(target: Target, ms: number, spoil: (host: Host) => void, mend = () => {}): void {
    for (const host of this.#targets(target)) {
      const recover = host.suffer('upstream');
      spoil(host);
      this.#during(ms, () => {
        mend();
        host.wechatWire.mend();
        recover();
      });
    }
  }

  #deafen(host: Host, ms: number): void {
    const { link } = host.process ?? {};
    if (!link) return;
    link.deaf = true;
    this.#during(ms, () => {
      link.deaf = false;
    });
  }

  #restartStore(backMs: number, ms: number): void {
    const { server, hosts } = this.#stage;
    if (!server.up) return;
    const recoveries = hosts.map((host) => host.suffer('store'));
    server.stop();
    this.#during(ms, () => {
      server.start(backMs);
      for (const recover of recoveries) recover();
      for (const host of hosts) host.process?.link.recover(true);
    });
  }

  /** Calls `end` once, after a time or when all is healed. */
  #during(ms: number, end: () => void): void {
    const undo = () => {
      timer.cancel();
      if (this.#undo.delete(undo)) end();
    };
    const timer = this.#stage.scheduler.after(ms, undo);
    this.#undo.add(undo);
  }

  /** Says how many mints a fault explains. */
  #explain(fault: Fault): void {
    for (const app of this.#stage.appIds) {
      const mints = explained(fault);
      if (mints > 0) this.#stage.note({ type: 'allowance', app, mints });
    }
  }

  #targets(target: Target): readonly Host[] {
    return target === 'all' ? this.#stage.hosts : [this.#host(target)];
  }

  #host(index: number): Host {
    const host = this.#stage.hosts[index];
    if (!host) throw new RangeError(`no host ${index}`);
    return host;
  }

  #appId(index: number): string {
    const appId = this.#stage.appIds[index];
    if (appId === undefined) throw new RangeError(`no app ${index}`);
    return appId;
  }
}

/** How many mints of an app a fault explains, with those that mend it. */
function explained(fault: Fault): number {
  switch (fault.kind) {
    case 'wall clock':
    case 'deaf':
      return 0;
    case 'slow WeChat':
    case 'lossy WeChat':
    case 'cut from WeChat':
    case 'WeChat busy':
    case 'slow store':
    case 'lossy store':
      return 2 * MENDED + Math.ceil(fault.ms / ATTEMPT_MS);
    case 'storm':
      return 1 + Math.ceil(fault.ms / COOLDOWN_MS);
    default:
      return MENDED;
  }
}
