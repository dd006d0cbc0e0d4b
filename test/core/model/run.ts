import { settle } from '../../support/clock.ts';
import { MINUTE } from '../../support/world.ts';
import { Callers } from './callers.ts';
import { end, heal } from './ending.ts';
import type { Command, Scenario } from './scenario.ts';
import { Stage } from './stage.ts';

/** One scenario: does what its commands say, and checks the laws at every step of time. */
export class Run {
  readonly #scenario: Scenario;
  readonly #stage: Stage;
  readonly #callers: Callers;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    this.#stage = new Stage(scenario);
    this.#callers = new Callers(this.#stage);
    this.#stage.world.clock.onStep = () => this.#check();
  }

  /** Rejects with every law that was broken, and after which command. */
  async play(): Promise<void> {
    const { commands, ending } = this.#scenario;
    const { findings } = this.#stage;
    await this.#stage.start();
    this.#stage.watch([], new Map(), 'fast');
    for (const [i, command] of commands.entries()) {
      await this.#do(command);
      await settle();
      this.#check();
      findings.verify(`command ${i}, ${JSON.stringify(command)}`);
    }
    if (ending === 'heals') await heal(this.#stage);
    findings.verify('everything worked again');
    await end(this.#stage, this.#callers, ending === 'stop' ? 'stop' : 'drain');
    findings.verify(`the end, ${ending}`);
  }

  #check(): void {
    this.#stage.check();
    this.#callers.check();
  }

  async #do(command: Command): Promise<void> {
    const stage = this.#stage;
    const { world, upstream, clients } = stage;
    for (const appId of stage.appIds) upstream.of(appId).stimulus(1);
    switch (command.do) {
      case 'pass':
        return await world.clock.advance(command.ms);
      case 'get':
        return this.#callers.get(stage.appId(command.app), command.min, command.callers);
      case 'report':
        return await this.#callers.report(command);
      case 'operator':
        return this.#callers.operator(stage.appId(command.app), command.callers);
      case 'fault':
        return this.#fault(command);
      case 'mend':
        return world.mend();
      case 'kill':
      case 'mint outside':
        return this.#meddle(command);
      case 'lag':
        upstream.lagging = stage.appId(command.app);
        return;
      case 'store':
        stage.disk.mode = command.mode;
        return;
      case 'secret':
        return stage.secret(stage.appId(command.app), command.change);
      case 'issuer':
        return stage.otherIssuer(stage.appId(command.app));
      case 'toggle app':
        return stage.toggle(stage.appId(command.app));
      case 'crash':
        return await this.#crash(command);
      case 'jump':
      case 'sleep':
        return await stage.leap(command.do, command.ms);
      case 'sweep':
        return stage.sweep();
      case 'watch':
        return this.#watch(command);
      case 'read':
        for (const client of clients) if (client.pace === 'slow') client.read(world.broker.states());
        return;
      case 'leave':
        // The first client stays: it reads everything, so that no state goes unseen.
        if (clients.length > 1) clients.pop()?.leave();
    }
  }

  #fault({ effect, app, calls, count, durationMs }: Command & { do: 'fault' }): void {
    this.#stage.world.wechat.faults.inject({
      effect,
      ...(app === null ? {} : { appId: this.#stage.appId(app) }),
      ...(calls.length === 0 ? {} : { calls }),
      ...(count === 0 ? {} : { count }),
      ...(durationMs === 0 ? {} : { durationMs }),
    });
  }

  #meddle(command: Command & { do: 'kill' | 'mint outside' }): void {
    const { world, truth } = this.#stage;
    const appId = this.#stage.appId(command.app);
    const { issuer = 'classic' } = world.apps.find((app) => app.appId === appId) ?? {};
    truth.disturb(appId, issuer);
    if (command.do === 'mint outside') world.wechat.mintOutside(appId, issuer);
    else world.wechat.kill(appId, { issuer, which: command.which, stuck: command.stuck && issuer === 'stable' });
  }

  async #crash({ app, during, steps, store, downMs }: Command & { do: 'crash' }): Promise<void> {
    const callers = { times: 1, standbyDelayMs: 0 };
    if (during === 'operator') this.#callers.operator(this.#stage.appId(app), callers);
    if (during === 'report') await this.#callers.report({ app, what: 'current', by: 'token', callers });
    for (let i = 0; i < steps; i++) await Promise.resolve();
    await this.#stage.kill(store, steps % 6);
    this.#callers.cut();
    await this.#stage.world.clock.advance(downMs);
    await this.#stage.start();
  }

  #watch({ app, known, pace }: Command & { do: 'watch' }): void {
    const generations = new Map<string, number>();
    for (const { appId, generation } of this.#stage.world.broker.states()) {
      if (known !== 'nothing') generations.set(appId, generation + (known === 'ahead' ? MINUTE : 0));
    }
    this.#stage.watch(app === null ? [] : [this.#stage.appId(app)], generations, pace);
  }
}
