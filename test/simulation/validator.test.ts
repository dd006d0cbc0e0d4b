import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SETTINGS } from '../support/world.ts';
import { boundsOf } from './bounds.ts';
import type { Happening } from './history.ts';
import { RULES, Validator } from './validator.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const OVERLAP = 5 * MINUTE;

/** A history of two hosts, told by hand: both serve, and one subscriber is at each. */
class Told {
  readonly #validator = new Validator({
    hosts: 2,
    issuers: new Map([
      ['classic', 'classic'],
      ['stable', 'stable'],
    ]),
    bounds: boundsOf(SETTINGS, { leaseMs: 15 * SECOND, pollMs: 2 * SECOND }),
    epochTime: Date.UTC(2026, 0, 15, 4, 0, 0),
    scheduleMs: HOUR,
  });
  /** The newest token of each app: its overlap begins with the next. */
  readonly #newest = new Map<string, string>();
  #now = 0;

  constructor() {
    for (const host of [0, 1]) {
      this.happens({ type: 'condition', host, what: 'down', bad: false });
      this.happens({ type: 'stream', subscriber: host, host });
    }
    this.passes(HOUR);
  }

  passes(ms: number): this {
    this.#now += ms;
    return this;
  }

  happens(happening: Happening): this {
    this.#validator.take({ ...happening, at: this.#now });
    return this;
  }

  /** WeChat makes a token, and begins the end of the one before. */
  mints(app: string, token: string, by: 'read' | 'outside' | { call: number } = 'read'): this {
    const before = this.#newest.get(app);
    this.#newest.set(app, token);
    const deaths = before === undefined ? [] : [{ token: before, at: this.#now + OVERLAP }];
    const how = typeof by === 'string' ? { by, call: null } : { by: 'call' as const, call: by.call };
    return this.happens({ type: 'mint', app, token, ...how, endsAt: this.#now + 2 * HOUR, deaths });
  }

  /** A process makes a mint call and takes its answer. */
  calls(call: number, host: number, app: string, token: string, ms = 100): this {
    this.happens({ type: 'call', call, host, app, forced: app === 'stable' });
    this.passes(ms / 2).mints(app, token, { call });
    return this.passes(ms / 2).happens({ type: 'outcome', call, outcome: 'answered' });
  }

  stores(app: string, generation: number, current: string, more: { intents?: number; debtDueAt?: number } = {}): this {
    const { intents = 0, debtDueAt = null } = more;
    return this.happens({ type: 'record', app, by: 0, generation, current, intents, debtDueAt });
  }

  publishes(host: number, app: string, generation: number, current: string, previous: string | null = null): this {
    return this.happens({ type: 'published', host, app, generation, current, previous });
  }

  sees(subscriber: number, app: string, generation: number, current: string | null): this {
    return this.happens({ type: 'seen', subscriber, host: subscriber, app, generation, current, previous: null });
  }

  /** Everybody has it. */
  spreads(app: string, generation: number, current: string): this {
    this.stores(app, generation, current);
    for (const host of [0, 1]) this.publishes(host, app, generation, current).sees(host, app, generation, current);
    return this;
  }

  get broken(): readonly string[] {
    this.#validator.advance(this.#now);
    return [...new Set(this.#validator.violations.map(({ rule }) => rule))];
  }

  get badMs() {
    this.#validator.advance(this.#now);
    return this.#validator.badMs;
  }
}

/** A classic token that all have, and then one from outside. */
const outside = () => new Told().mints('classic', 'a').spreads('classic', 1, 'a').mints('classic', 'b', 'outside');

describe('dead-token', () => {
  it('is a token that WeChat refuses, and that nobody but we displaced, for longer than propagation', () => {
    const told = () => new Told().mints('classic', 'a').spreads('classic', 1, 'a').calls(1, 0, 'classic', 'b');
    expect(told().passes(OVERLAP).broken).toEqual([]);
    expect(told().passes(OVERLAP + 20 * SECOND).broken).toEqual(['dead-token']);
  });

  it('is told of a mint from outside only when the canary was due', () => {
    expect(outside().passes(OVERLAP + MINUTE).broken).toEqual([]);
    expect(outside().passes(OVERLAP + 4 * MINUTE).broken).toEqual(['dead-token']);
  });

  it('counts from the end of what makes it unavoidable', () => {
    const cut = { type: 'condition', host: 1, what: 'store' } as const;
    const told = () =>
      new Told()
        .mints('classic', 'a')
        .spreads('classic', 1, 'a')
        .happens({ ...cut, bad: true })
        .calls(1, 0, 'classic', 'b')
        .stores('classic', 2, 'b')
        .publishes(0, 'classic', 2, 'b')
        .sees(0, 'classic', 2, 'b')
        .passes(HOUR)
        .happens({ ...cut, bad: false });
    expect(told().passes(5 * SECOND).broken).toEqual([]);
    expect(told().passes(3 * MINUTE).broken).toContain('dead-token');
  });

  it('is one of a dead replica whose mint came after the confirming one, once the canary was due', () => {
    const told = () =>
      new Told()
        .mints('classic', 'a')
        .happens({ type: 'call', call: 1, host: 0, app: 'classic', forced: false })
        .passes(5 * SECOND)
        .happens({ type: 'outcome', call: 1, outcome: 'lost' })
        .calls(2, 1, 'classic', 'b')
        .passes(3 * MINUTE)
        .calls(3, 1, 'classic', 'c')
        .spreads('classic', 3, 'c')
        .passes(MINUTE)
        .mints('classic', 'd', { call: 1 })
        .passes(OVERLAP + 20 * SECOND);
    expect(told().broken).toEqual([]);
    expect(told().passes(3 * MINUTE).broken).toEqual(['dead-token']);
  });

  it('is summed up over subscribers', () => {
    const told = outside().passes(OVERLAP + MINUTE);
    expect(told.badMs).toEqual({ classic: 2 * MINUTE, stable: 0 });
    expect(told.sees(0, 'classic', 2, 'b').passes(MINUTE).badMs).toEqual({ classic: 3 * MINUTE, stable: 0 });
  });
});

describe('previous-dead', () => {
  const told = () =>
    new Told()
      .mints('stable', 'a')
      .calls(1, 0, 'stable', 'b')
      .spreads('stable', 2, 'b')
      .publishes(1, 'stable', 2, 'b', 'a');

  it('is a previous token that WeChat refuses', () => {
    expect(told().passes(OVERLAP).broken).toEqual([]);
    expect(told().passes(OVERLAP + 20 * SECOND).broken).toEqual(['previous-dead']);
  });

  it('is not one that a mint from outside displaced', () => {
    const hidden = outside()
      .calls(1, 0, 'classic', 'c')
      .spreads('classic', 2, 'c')
      .publishes(0, 'classic', 2, 'c', 'a')
      .passes(OVERLAP + MINUTE);
    expect(hidden.broken).toEqual([]);
  });
});

describe('expired-served', () => {
  it('is a token whose own life is over', () => {
    const told = () => new Told().mints('classic', 'a').spreads('classic', 1, 'a');
    expect(told().passes(2 * HOUR).broken).toEqual([]);
    expect(told().passes(2 * HOUR + 4 * SECOND).broken).toEqual(['expired-served']);
  });
});

describe('token-withheld', () => {
  const withheld = (told: Told) => told.happens({ type: 'published', host: 0, ...NOTHING }).passes(4 * SECOND);
  const NOTHING = { app: 'classic', generation: 1, current: null, previous: null };
  const told = () => new Told().mints('classic', 'a').spreads('classic', 1, 'a').passes(MINUTE);

  it('is a token that WeChat accepts and a replica that had it no longer shows', () => {
    expect(withheld(told()).broken).toEqual(['token-withheld']);
    expect(withheld(told().passes(2 * HOUR)).broken).not.toContain('token-withheld');
  });

  it('is not where the replica began anew, or shows one again', () => {
    const restarted = told().happens({ type: 'condition', host: 0, what: 'down', bad: true }).passes(SECOND);
    expect(withheld(restarted.happens({ type: 'condition', host: 0, what: 'down', bad: false })).broken).toEqual([]);
    const shown = told()
      .happens({ type: 'published', host: 0, ...NOTHING })
      .passes(SECOND);
    expect(shown.publishes(0, 'classic', 1, 'a').passes(MINUTE).broken).toEqual([]);
  });
});

describe('never-converged', () => {
  const calm = { type: 'calm' } as const;
  const both = () => {
    return new Told().mints('classic', 'a').spreads('classic', 1, 'a').mints('stable', 'b').spreads('stable', 1, 'b');
  };

  it('is not when all have the same living token', () => {
    expect(
      both()
        .happens(calm)
        .passes(2 * MINUTE).broken,
    ).toEqual([]);
  });

  it.each<[string, (told: Told) => Told]>([
    ['a replica has another generation', (told) => told.publishes(1, 'stable', 2, 'c')],
    ['a subscriber has no token', (told) => told.sees(1, 'stable', 2, null)],
    ['a confirming mint is owed', (told) => told.stores('classic', 1, 'a', { debtDueAt: 9 * HOUR })],
    ['a mint has no outcome', (told) => told.stores('classic', 1, 'a', { intents: 1 })],
  ])('is when %s', (_, disturb) => {
    expect(
      disturb(both())
        .happens(calm)
        .passes(2 * MINUTE).broken,
    ).toEqual(['never-converged']);
  });
});

describe('generation-fell', () => {
  it('is a lower generation than the last, for a subscriber or a process', () => {
    expect(new Told().sees(0, 'stable', 2, null).sees(0, 'stable', 1, null).broken).toEqual(['generation-fell']);
    const published = new Told().publishes(0, 'stable', 2, 'b').publishes(0, 'stable', 1, 'a');
    expect(published.broken).toEqual(['generation-fell']);
  });

  it('is not what the next process on a host begins with', () => {
    const down = { type: 'condition', host: 0, what: 'down' } as const;
    const told = new Told().publishes(0, 'stable', 2, 'b').happens({ ...down, bad: true });
    expect(told.happens({ ...down, bad: false }).publishes(0, 'stable', 1, 'a').broken).toEqual([]);
  });
});

describe('generation-two-values', () => {
  it('is one generation with two tokens', () => {
    const told = new Told().publishes(0, 'stable', 1, 'a').publishes(1, 'stable', 1, 'b');
    expect(told.broken).toEqual(['generation-two-values']);
  });
});

describe('stale-replica', () => {
  const told = () =>
    new Told()
      .publishes(0, 'stable', 1, 'a')
      .publishes(1, 'stable', 1, 'a')
      .stores('stable', 2, 'b')
      .publishes(0, 'stable', 2, 'b');

  it('is one that is behind the store for longer than a poll and its way', () => {
    expect(told().passes(3 * SECOND).broken).toEqual([]);
    expect(told().passes(8 * SECOND).broken).toEqual(['stale-replica']);
  });

  it('is not one that cannot reach it', () => {
    const cut = new Told().happens({ type: 'condition', host: 1, what: 'store', bad: true });
    cut.publishes(0, 'stable', 2, 'b').publishes(1, 'stable', 1, 'a').stores('stable', 2, 'b');
    expect(cut.passes(HOUR).broken).toEqual([]);
  });
});

describe('two-mints-at-once', () => {
  const call = { type: 'call', app: 'classic', forced: false } as const;

  it('are mints of replicas that see each other', () => {
    const told = new Told()
      .happens({ ...call, call: 1, host: 0 })
      .passes(SECOND)
      .happens({ ...call, call: 2, host: 1 });
    expect(told.broken).toEqual(['two-mints-at-once']);
  });

  it('are not those of which one was begun by a replica that was paused', () => {
    const told = new Told()
      .happens({ ...call, call: 1, host: 0 })
      .happens({ type: 'condition', host: 0, what: 'paused', bad: true })
      .passes(MINUTE)
      .happens({ ...call, call: 2, host: 1 });
    expect(told.broken).toEqual([]);
  });
});

describe('too-many-mints', () => {
  it('are four around one fault of one mint', () => {
    const told = new Told()
      .happens({ type: 'trial', app: 'classic' })
      .happens({ type: 'allowance', app: 'classic', mints: 9 });
    for (const n of [1, 2, 3]) told.passes(MINUTE).calls(n, 0, 'classic', `t${n}`);
    expect(told.broken).toEqual([]);
    expect(told.calls(4, 0, 'classic', 't4').broken).toEqual(['too-many-mints']);
  });

  it('are two around one fault of one forced call', () => {
    const told = new Told().happens({ type: 'trial', app: 'stable' }).calls(1, 0, 'stable', 'a').passes(MINUTE);
    expect(told.broken).toEqual([]);
    expect(told.calls(2, 0, 'stable', 'b').broken).toEqual(['too-many-mints']);
  });

  it('are more between two calms than the schedule and the faults explain', () => {
    const told = (mints: number) => {
      const history = new Told().happens({ type: 'calm' }).happens({ type: 'allowance', app: 'classic', mints: 2 });
      for (let n = 1; n <= mints; n++) history.calls(n, 0, 'classic', `t${n}`);
      return history
        .spreads('classic', 1, `t${mints}`)
        .mints('stable', 'b')
        .spreads('stable', 1, 'b')
        .happens({ type: 'calm' });
    };
    expect(told(3).broken).not.toContain('too-many-mints');
    expect(told(4).broken).toContain('too-many-mints');
  });

  it('are more in a day than its budget', () => {
    const told = new Told().happens({ type: 'allowance', app: 'stable', mints: 99 });
    for (let n = 1; n <= SETTINGS.forceDailyBudget; n++) told.calls(n, 0, 'stable', `t${n}`);
    expect(told.broken).toEqual([]);
    expect(told.calls(99, 1, 'stable', 't99').broken).toEqual(['too-many-mints']);
  });
});

describe('debt-unpaid', () => {
  it('is a debt that is long due', () => {
    const told = () => new Told().stores('classic', 1, 'a', { debtDueAt: HOUR + MINUTE });
    expect(told().passes(MINUTE + 5 * SECOND).broken).not.toContain('debt-unpaid');
    expect(told().passes(MINUTE + 30 * SECOND).broken).toContain('debt-unpaid');
  });

  it('is none of a stable token that is dead: the forced call that replaces it pays it', () => {
    const told = (app: string) => {
      const history = new Told().mints(app, 'a').stores(app, 1, 'a', { debtDueAt: HOUR + MINUTE });
      const deaths = [{ token: 'a', at: HOUR }];
      return history.happens({ type: 'revoked', app, stuck: true, deaths }).passes(MINUTE + 30 * SECOND).broken;
    };
    expect(told('stable')).not.toContain('debt-unpaid');
    expect(told('classic')).toContain('debt-unpaid');
  });

  it('are two mints that crossed, with none after them, though nobody wrote it down', () => {
    const told = () =>
      new Told()
        .happens({ type: 'call', call: 1, host: 0, app: 'classic', forced: false })
        .happens({ type: 'condition', host: 0, what: 'paused', bad: true })
        .passes(MINUTE)
        .calls(2, 1, 'classic', 'b')
        .mints('classic', 'a', { call: 1 })
        .happens({ type: 'condition', host: 0, what: 'paused', bad: false })
        .happens({ type: 'outcome', call: 1, outcome: 'answered' })
        .passes(3 * MINUTE);
    expect(
      told()
        .calls(3, 1, 'classic', 'c')
        .passes(2 * MINUTE).broken,
    ).toEqual([]);
    expect(told().passes(2 * MINUTE).broken).toEqual(['debt-unpaid']);
  });
});

describe('debt-paid-by-overlapped-mint', () => {
  /** A debt, a mint whose process is stopped, and the mint that is said to pay the debt. */
  const told = (order: 'crossed' | 'apart') => {
    const history = new Told()
      .stores('classic', 1, 'a', { debtDueAt: 9 * HOUR })
      .happens({ type: 'condition', host: 0, what: 'paused', bad: true })
      .happens({ type: 'call', call: 1, host: 0, app: 'classic', forced: false })
      .passes(MINUTE);
    const late = () => {
      return history.mints('classic', 'b', { call: 1 }).happens({ type: 'outcome', call: 1, outcome: 'answered' });
    };
    if (order === 'apart') late().passes(SECOND);
    history.calls(2, 1, 'classic', 'c');
    if (order === 'crossed') late();
    return history.stores('classic', 2, 'c').broken;
  };

  it('is none where the token of the other is refused by WeChat when its answer comes: it is the older one', () => {
    const history = new Told()
      .stores('classic', 1, 'z', { debtDueAt: 9 * HOUR })
      .happens({ type: 'condition', host: 0, what: 'paused', bad: true })
      .calls(1, 1, 'classic', 'y')
      .happens({ type: 'call', call: 2, host: 0, app: 'classic', forced: false })
      .mints('classic', 'a', { call: 2 })
      .calls(3, 1, 'classic', 'b')
      .passes(OVERLAP)
      .happens({ type: 'call', call: 4, host: 1, app: 'classic', forced: false })
      .passes(50)
      .happens({ type: 'outcome', call: 2, outcome: 'answered' })
      .mints('classic', 'c', { call: 4 })
      .happens({ type: 'outcome', call: 4, outcome: 'answered' })
      .stores('classic', 2, 'c');
    expect(history.broken).not.toContain('debt-paid-by-overlapped-mint');
  });

  it('is one that is taken for paid by a mint that another one crossed', () => {
    expect(told('crossed')).toContain('debt-paid-by-overlapped-mint');
    expect(told('apart')).not.toContain('debt-paid-by-overlapped-mint');
  });
});

describe('crack', () => {
  it('is a failure that nobody foresaw', () => {
    expect(new Told().happens({ type: 'crack', host: 0, what: 'boom' }).broken).toEqual(['crack']);
  });
});

it('every rule has its own test here', async () => {
  const text = await readFile(import.meta.filename, 'utf8');
  expect(Object.keys(RULES).filter((rule) => !text.includes(`describe('${rule}'`))).toEqual([]);
});

it('each rule proves a promise that names it, and each excuse limits one', async () => {
  const architecture = await readFile(join(import.meta.dirname, '../../docs/architecture.md'), 'utf8');
  const rows = new Map([...architecture.matchAll(/^\| (P\d+) \|.*$/gm)].map(([row, promise]) => [promise, row]));
  for (const promise of Object.values(RULES)) expect(rows.get(promise)).toContain('../test/simulation/validator.ts');
  const folder = join(import.meta.dirname, 'rules');
  const files = await readdir(folder);
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')));
  const limits = texts.flatMap((text) => [...text.matchAll(/Limits (P\d+)|^ \* - (P\d+)/gm)]);
  expect(limits.length).toBeGreaterThan(20);
  for (const [, one, other] of limits) expect(rows.has(one ?? other)).toBe(true);
});
