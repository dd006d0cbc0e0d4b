import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { durationMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { WatchTokenResponseSchema as OwnWatchTokenResponseSchema } from '../../clients/node/src/gen/lingpai/client/v1/client_pb.js';
import { endpointOf } from '../../clients/node/src/options.ts';
import { Watch, type WatchHandler } from '../../clients/node/src/watch.ts';
import { type TokenState, type WatchTokenResponse, WatchTokenResponseSchema } from '../gen/lingpai/v1/token_pb.js';
import { type ClientOptions, type Refusal, refusalOf, refusalText } from './client.ts';
import { Failure, untilSignal } from './exit.ts';
import type { Io } from './io.ts';
import { LiveView } from './live-view.ts';
import { asLines, jsonLine, print } from './output.ts';
import { span, stateJson, statusName } from './show.ts';
import { targetOf } from './target.ts';

/** Errors that will be the same after a reconnect. */
const FINAL: ReadonlySet<string> = new Set([Code[Code.NotFound], Code[Code.InvalidArgument], Code[Code.Unimplemented]]);

/** Where events go: a live view, lines of text or lines of JSON. */
interface Display {
  event(response: WatchTokenResponse): void;
  /** The stream ended; the next one begins after a pause. */
  reconnecting(refusal: Refusal, pauseMs: number): void;
  close(): void;
}

/** `lingpai watch [APP...]`: follows apps until a signal ends it, as the client library does. */
export async function watch(appIds: string[], options: ClientOptions, io: Io): Promise<void> {
  const { baseUrl, access } = targetOf(options, io);
  const display = displayFor(options, io);
  const ending = new AbortController();
  const stopped = untilSignal(async () => ending.abort(), io);
  const known: Record<string, bigint> = {};
  const handler: WatchHandler = {
    request: () => ({ appIds, knownGenerations: known }),
    message(message) {
      // The library has its own copy of the messages, which are the same on the wire.
      const response = fromBinary(WatchTokenResponseSchema, toBinary(OwnWatchTokenResponseSchema, message));
      const { event } = response;
      if (event.case === 'state' && event.value.current) known[event.value.appId] = event.value.generation;
      else if (event.case === 'state' || event.case === 'removed') delete known[event.value.appId];
      display.event(response);
    },
    failing(error) {
      const refusal = refusalOf(error);
      if (FINAL.has(refusal.code)) throw new Failure(refusalText(refusal, options.addr));
      return undefined;
    },
    failed: (error, pauseMs) => display.reconnecting(refusalOf(error), pauseMs),
    goaway: (pauseMs) => display.reconnecting(refusalOf(new Error('the broker ended the stream')), pauseMs),
  };
  const alive = setInterval(() => {}, 2 ** 30); // the library's timers and sockets let a process end
  try {
    await new Watch(endpointOf(baseUrl, access), handler, ending.signal).run();
  } finally {
    clearInterval(alive);
    display.close();
    io.removeAllListeners('SIGINT');
    io.removeAllListeners('SIGTERM');
  }
  await stopped;
}

function displayFor({ json, showToken = false, addr }: ClientOptions, io: Io): Display {
  if (json) return jsonLines(showToken, io);
  if (io.stdout.isTTY) return new LiveView(io.stdout, addr, showToken);
  return textLines(showToken, addr, io);
}

function jsonLines(showToken: boolean, io: Io): Display {
  const printLine = (line: object) => print(jsonLine(line), io);
  return {
    event({ event, serverTime }) {
      const time = isoTime(serverTime);
      switch (event.case) {
        case 'state':
          printLine({ event: 'state', state: stateJson(event.value, showToken), serverTime: time });
          break;
        case 'removed':
          printLine({ event: 'removed', appId: event.value.appId, serverTime: time });
          break;
        case 'goaway':
          printLine({
            event: 'goaway',
            reconnectAfterMs: durationMs(event.value.reconnectAfter ?? noTime),
            serverTime: time,
          });
          break;
        case 'heartbeat':
          printLine({ event: 'heartbeat', serverTime: time });
      }
    },
    reconnecting: (error, pauseMs) => printLine({ event: 'reconnecting', error, pauseMs: Math.round(pauseMs) }),
    close: () => undefined,
  };
}

const noTime = { seconds: 0n, nanos: 0 } as Parameters<typeof durationMs>[0];

function textLines(showToken: boolean, addr: string, io: Io): Display {
  const printLine = (time: string, line: string) => print(asLines([`${time} ${line}`]), io);
  return {
    event({ event, serverTime }) {
      const time = isoTime(serverTime);
      switch (event.case) {
        case 'state':
          printLine(time, stateLine(event.value, serverTime, showToken));
          break;
        case 'removed':
          printLine(time, `${event.value.appId} was taken out of the configuration`);
          break;
        case 'goaway':
          printLine(time, 'the broker is shutting down');
      }
    },
    reconnecting: (error, pauseMs) =>
      printLine(
        new Date().toISOString(),
        `${refusalText(error, addr)}; reconnecting in ${(pauseMs / 1000).toFixed(1)} s`,
      ),
    close: () => undefined,
  };
}

function stateLine(state: TokenState, serverTime: Timestamp | undefined, showToken: boolean): string {
  const { appId, generation, current, previous, statusReason } = state;
  const now = serverTime ? timestampMs(serverTime) : Date.now();
  const left = (token: typeof current) => span(token?.expireTime ? timestampMs(token.expireTime) - now : 0);
  return [
    `${appId} ${statusName(state.status)} generation ${generation}`,
    ...(current ? [`token ${current.id} (${left(current)} left)`] : []),
    ...(current && showToken ? [current.value] : []),
    ...(previous ? [`previous ${previous.id} (${left(previous)} of grace)`] : []),
    ...(statusReason ? [statusReason] : []),
  ].join(', ');
}

function isoTime(time: Timestamp | undefined): string {
  return new Date(time ? timestampMs(time) : Date.now()).toISOString();
}
