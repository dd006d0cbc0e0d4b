import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child, type Line } from '../support/child.ts';
import { sharedNow } from '../support/shared-now.ts';
import { until } from '../support/until.ts';
import type { Attack, Settings } from './attack.ts';

const ROOT = join(import.meta.dirname, '../..');
/** The app that the polite client asks for, and one of the other issuer. */
export const APP = 'wxa';
export const OTHER = 'wxb';
export const SECRET = 'correct-horse-battery';
const NODE = [process.execPath, '--disable-warning=ExperimentalWarning'] as const;
const MIB = 1024 * 1024;
const DEFAULT_FILES = 1024;
const SETTLE_MS = 15_000;
/** How many answers by the rarest way the polite client has before anything begins. */
const WARM = 4;
/** What a broker may have open after an attack beyond what it had before: its connections to WeChat. */
const MORE_FILES = 4;
/** What stays in the heap without being held: shapes, code that became hot, pooled buffers. */
const MORE_MIB = 8;
/** A broker that the measurement holds up for so long, of the second that it waits for its peers, gives some of them up. */
const STALLED_BY_US_MS = 500;

/** How long the polite client's Gets took, in milliseconds, by each of its ways; and what went wrong. */
export interface Politeness {
  readonly worstMs: number;
  readonly answers: number;
  readonly failures: readonly string[];
}

/** What became of an attack. */
export interface Outcome {
  readonly attack: string;
  /** Beside the polite client alone, just before. */
  readonly quiet: Politeness;
  readonly during: Politeness;
  /** What the broker took at its most during the attack, beyond before, in MiB: resident, and in its heap at the height. */
  readonly residentMib: number;
  readonly heldMib: number;
  /** What was still there afterwards. */
  readonly leftMib: number;
  readonly leftFiles: number;
  /** How long it took until it had let go, in milliseconds. */
  readonly settledMs: number;
  readonly faults: readonly string[];
}

/** How long the polite client is listened to before the attack, in milliseconds. */
export interface SiegeOptions {
  readonly quietMs: number;
}

/** A simulated WeChat for all brokers. */
export async function startSandbox(): Promise<Child & { readonly address: string }> {
  const command = [...NODE, join(ROOT, 'src/lingpai.js'), 'sandbox', '--listen', '127.0.0.1:0'] as const;
  const child = new Child({ name: 'lingpai sandbox', command: [...command], cwd: tmpdir() });
  const { url } = await child.next('"ready"', (line) => line.msg === 'ready');
  return Object.assign(child, { address: new URL(String(url)).host });
}

/** The section `apps`: the two that are always there, and so many beside them. */
export function manyApps(count: number): object[] {
  const extra = Array.from({ length: count }, (_, i) => ({ app_id: `wxmany${i}`, secret: SECRET }));
  return [{ app_id: APP, secret: SECRET, issuer: 'classic' }, { app_id: OTHER, secret: SECRET }, ...extra];
}

/** Plays an attack against a broker of its own beside a polite client, and says what became of all three. */
export async function besiege(played: Attack, sandbox: string, { quietMs }: SiegeOptions): Promise<Outcome> {
  await using stack = new AsyncDisposableStack();
  const attack = { ...played, settings: { ...played.settings, ...(await played.beside?.(stack)) } };
  const folder = await mkdtemp(join(tmpdir(), 'lingpai-hostile-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  await attack.fill?.(join(folder, 'lingpai.db'), folder);
  const broker = stack.use(await serve(folder, attack, sandbox));
  const polite = stack.use(startPolite(broker, attack));
  await polite.warm();
  const fetched = () =>
    new Set(broker.log.filter(({ msg }) => msg === 'token rotated').map((line) => line['app_id'])).size;
  await until(SETTLE_MS, () => (fetched() >= broker.apps ? undefined : 'each app has a token'));

  const faults: string[] = [];
  const check = (isSo: boolean, words: string) => {
    if (!isSo && !faults.includes(words)) faults.push(words);
  };
  const before = await broker.gauge();
  const quietFrom = sharedNow();
  await polite.heardUntil(quietFrom + quietMs);
  const quiet = polite.between(quietFrom, sharedNow());
  const residentBefore = broker.resetPeak();
  const from = sharedNow();
  let heldMib = Number.NaN;
  {
    await using held = new AsyncDisposableStack();
    const { grpc, http, log } = broker;
    try {
      await attack.play({ grpc, http, sandbox, held, log, check });
      heldMib = (await broker.gauge()).heldMib - before.heldMib;
    } catch (error) {
      faults.push(error instanceof Error ? error.message : String(error));
    }
  }
  const residentMib = broker.peakMib() - residentBefore;
  const settling = sharedNow();
  let after = before;
  const lacking = async () => {
    after = await broker.gauge();
    const files = after.files - before.files;
    if (files > MORE_FILES) return `${files} descriptors are closed`;
    const mib = after.heldMib - before.heldMib;
    return mib > MORE_MIB ? `${mib.toFixed(1)} MiB are let go` : undefined;
  };
  try {
    await until(attack.settleMs ?? SETTLE_MS, lacking);
    await polite.heardUntil(sharedNow());
  } catch (error) {
    faults.push(error instanceof Error ? error.message : String(error));
  }
  const settledMs = sharedNow() - settling;
  const during = polite.between(from, sharedNow());
  for (const failure of during.failures) faults.push(`the polite client: ${failure}`);
  if (broker.exitCode !== undefined) faults.push(`the broker ended with code ${broker.exitCode}`);
  const errors = broker.log.filter(({ level }) => level === 'error' || level === 'fatal');
  for (const words of new Set(errors.map(({ msg, error }) => `${msg}: ${String(error)}`)))
    faults.push(`an error line in the log: ${words.slice(0, 200)}`);
  return {
    attack: attack.name,
    quiet,
    during,
    residentMib,
    heldMib,
    leftMib: after.heldMib - before.heldMib,
    leftFiles: after.files - before.files,
    settledMs,
    faults,
  };
}

/** When collecting garbage for a measurement held the broker up. */
interface Pause {
  readonly from: number;
  readonly ms: number;
}

interface Served extends AsyncDisposable {
  /** How many are configured. */
  readonly apps: number;
  readonly grpc: string;
  readonly http: string;
  readonly log: readonly Line[];
  readonly pauses: readonly Pause[];
  readonly exitCode: number | undefined;
  /** What it holds after collecting its garbage. Rejects when it has ended or does not answer. */
  gauge(): Promise<{ readonly heldMib: number; readonly files: number }>;
  /** Has the system count the peak anew; what is resident now, in MiB. */
  resetPeak(): number;
  /** 0: it has ended. */
  peakMib(): number;
}

async function serve(folder: string, { files, settings }: Attack, sandbox: string): Promise<Served> {
  const path = join(folder, 'lingpai.yaml');
  const config: Settings & { readonly apps: readonly object[] } = {
    grpc: { listen: '127.0.0.1:0' },
    http: { listen: '127.0.0.1:0' },
    store: { url: 'sqlite:lingpai.db' },
    upstream: { base_url: `http://${sandbox}` },
    // Probes would open and close connections to WeChat meanwhile.
    refresh: { cooldown: '0s', probe_interval: '0s' },
    watch: { heartbeat: '1s', stall_timeout: '1s' },
    apps: manyApps(0),
    ...settings,
  };
  await writeFile(path, JSON.stringify(config), { mode: 0o600 });
  const serving = ['--expose-gc', '--import', join(import.meta.dirname, 'gauge.ts'), join(ROOT, 'src/lingpai.js')];
  // `exec`: the process that is measured is the broker, and not the shell.
  const limited = ['sh', '-c', 'ulimit -n "$1"; shift; exec "$@"', 'sh', String(files ?? DEFAULT_FILES)] as const;
  const command = [...limited, ...NODE, ...serving, 'serve', '--config', path] as const;
  const child = new Child({ name: 'lingpai serve', command: [...command], cwd: folder });
  const ready = await child.next('"ready"', (line) => line.msg === 'ready');
  const status = (field: string) => {
    try {
      const text = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) / 1024;
    } catch {
      return 0;
    }
  };
  const pauses: Pause[] = [];
  return {
    apps: config.apps.length,
    grpc: String(ready['grpc']),
    http: String(ready['http']),
    log: child.lines,
    pauses,
    get exitCode() {
      return child.exitCode;
    },
    async gauge() {
      child.signal('SIGUSR2');
      const line = await child.next('"gauge"', ({ msg }) => msg === 'gauge');
      pauses.push({ from: Number(line['from']), ms: Number(line['ms']) });
      return { heldMib: Number(line['held']) / MIB, files: readdirSync(`/proc/${child.pid}/fd`).length };
    },
    resetPeak() {
      writeFileSync(`/proc/${child.pid}/clear_refs`, '5');
      return status('VmRSS');
    },
    peakMib: () => status('VmHWM'),
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

interface Asked {
  readonly way: string;
  readonly at: number;
  readonly ms: number;
  readonly failure?: string;
}

function isAsked(line: Line): line is Line & Asked {
  return line.msg === 'get';
}

function startPolite({ grpc, http, pauses }: Served, { isFull = false, settings, key = '' }: Attack) {
  const scheme = settings?.['tls'] ? 'https' : 'http';
  const command = [...NODE, join(import.meta.dirname, 'polite.ts'), scheme, grpc, http, APP] as const;
  const child = new Child({ name: 'the polite client', command: [...command], cwd: ROOT, env: { LINGPAI_KEY: key } });
  const asked = () => child.lines.filter(isAsked);
  return {
    async warm(): Promise<void> {
      const isWarm = (way: string) => asked().filter((each) => each.way === way).length >= WARM;
      await until(SETTLE_MS, () =>
        ['kept', 'new', 'http'].every(isWarm) ? undefined : 'the polite client is answered',
      );
    },
    /** Resolves when all that it asked until then has been answered: what was asked before came before, or is late. */
    async heardUntil(time: number): Promise<void> {
      const isHeard = () => sharedNow() > time && asked().some(({ at, way }) => way === 'kept' && at > time);
      await until(SETTLE_MS, () => (isHeard() ? undefined : 'the polite client is answered'));
    },
    between(from: number, to: number): Politeness {
      // An answer that came after `from` was held up by what was then, whenever it was asked for.
      const all = asked().filter(({ at, ms, way }) => at + ms >= from && at <= to && (way === 'kept' || !isFull));
      // What the measurement itself took is not the attack's.
      const ours = ({ at, ms }: Asked) => {
        const meanwhile = pauses.filter((pause) => pause.from < at + ms && pause.from + pause.ms > at);
        return meanwhile.reduce((sum, pause) => sum + pause.ms, 0);
      };
      const blamed = all.filter((each) => each.failure !== undefined && ours(each) < STALLED_BY_US_MS);
      return {
        worstMs: Math.max(0, ...all.map((each) => each.ms - ours(each))),
        answers: all.length,
        failures: [...new Set(blamed.map(({ way, failure }) => `${way}: ${failure}`))],
      };
    },
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}
