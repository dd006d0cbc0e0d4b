/** The clients' side of the benchmarks. */
import { Connection, type Target } from './connection.ts';
import { answer, sharedNow } from './report.ts';

/** Where calls go, as it comes from another process; the message is in base64. */
export interface LoadTarget extends Omit<Target, 'message'> {
  readonly name: string;
  readonly message: string;
  readonly connections: number;
}

/** Calls that were made. */
export interface Calls {
  readonly calls: number;
  readonly ms: number;
  readonly tookMs: readonly number[];
}

interface Callers {
  readonly connections: Connection[];
  /** Told of each call that ended. */
  onEnd: (connection: Connection, stream: number) => void;
}

interface Watchers {
  /** Messages of at least this size are states; smaller ones are heartbeats. */
  leastBytes: number;
  readonly heard: Set<number>;
  awaited: PromiseWithResolvers<number>;
  /** Those that have ended, where they may. */
  ended: Set<number> | undefined;
}

const callers = new Map<string, Callers>();
const watchers = new Map<string, Watchers>();

function toTarget(target: LoadTarget): Target {
  return { ...target, message: Buffer.from(target.message, 'base64') };
}

answer({
  /** Opens connections for unary calls. */
  async connect(target: LoadTarget): Promise<void> {
    const group: Callers = { connections: [], onEnd() {} };
    callers.set(target.name, group);
    for (let i = 0; i < target.connections; i++) {
      const answered = new Set<number>();
      const connection = await Connection.open(toTarget(target), {
        message: (stream) => answered.add(stream),
        ended: (stream) => {
          if (!answered.delete(stream)) throw new Error(`a call of ${target.path} ended without an answer`);
          group.onEnd(connection, stream);
        },
      });
      group.connections.push(connection);
    }
  },

  /**
   * Keeps this many calls in flight on each connection for a time. Resolves when the last is answered; with `timed` also
   * with how long each took, in milliseconds.
   */
  calls({
    name,
    inFlight,
    durationMs,
    timed = false,
  }: {
    name: string;
    inFlight: number;
    durationMs: number;
    timed?: boolean;
  }): Promise<Calls> {
    const group = callers.get(name);
    if (!group) throw new RangeError(`${name} is not connected`);
    const { promise, resolve } = Promise.withResolvers<Calls>();
    const startedAt = sharedNow();
    const endsAt = startedAt + durationMs;
    let open = 0;
    let done = 0;
    const owed = new Map<Connection, number>();
    const tookMs: number[] = [];
    const starts = new Map<string, number>();
    const nameOf = (connection: Connection, stream: number) => `${group.connections.indexOf(connection)} ${stream}`;
    const refill = () => {
      for (const [connection, count] of owed) {
        open += count;
        const first = connection.call(count);
        if (timed) for (let i = 0; i < count; i++) starts.set(nameOf(connection, first + i), sharedNow());
      }
      owed.clear();
    };
    group.onEnd = (connection, stream) => {
      open--;
      done++;
      if (timed) {
        const name = nameOf(connection, stream);
        tookMs.push(sharedNow() - (starts.get(name) ?? Number.NaN));
        starts.delete(name);
      }
      const over = sharedNow() >= endsAt;
      if (over && open === 0 && owed.size === 0) resolve({ calls: done, ms: sharedNow() - startedAt, tookMs });
      if (over) return owed.clear();
      // What was answered in one go is replaced in one go.
      if (owed.size === 0) setImmediate(refill);
      owed.set(connection, (owed.get(connection) ?? 0) + 1);
    };
    for (const connection of group.connections) owed.set(connection, inFlight);
    refill();
    return promise;
  },

  /** Opens streams that stay open; resolves when each has had a message. */
  async watch({ streams, ...target }: LoadTarget & { streams: number }): Promise<void> {
    const group: Watchers = { leastBytes: 1, heard: new Set(), awaited: Promise.withResolvers(), ended: undefined };
    watchers.set(target.name, group);
    for (let i = 0; i < target.connections; i++) {
      const connection = await Connection.open(toTarget(target), {
        message(stream, length) {
          if (length < group.leastBytes) return;
          group.heard.add(i * streams + stream);
          if (group.heard.size === target.connections * streams) group.awaited.resolve(sharedNow());
        },
        ended(stream) {
          if (!group.ended) throw new Error(`a stream of ${target.path} ended`);
          group.ended.add(i * streams + stream);
          if (group.ended.size === target.connections * streams) group.awaited.resolve(sharedNow());
        },
      });
      connection.call(streams);
    }
    await group.awaited.promise;
  },

  /** Begins to wait for a message of at least so many bytes on every stream. */
  expect({ name, leastBytes }: { name: string; leastBytes: number }): void {
    const group = watchers.get(name);
    if (!group) throw new RangeError(`${name} is not watched`);
    group.heard.clear();
    group.leastBytes = leastBytes;
    group.awaited = Promise.withResolvers();
  },

  /** Begins to wait for the end of every stream. */
  expectEnd(name: string): void {
    const group = watchers.get(name);
    if (!group) throw new RangeError(`${name} is not watched`);
    group.ended = new Set();
    group.awaited = Promise.withResolvers();
  },

  /** When the last stream had what is expected. */
  heard: (name: string) => watchers.get(name)?.awaited.promise,
});
process.on('SIGTERM', () => process.exit());
