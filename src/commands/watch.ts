import { durationMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import type { TokenState, WatchTokenResponse } from '../gen/lingpai/v1/token_pb.js';
import { type ClientOptions, type Refusal, refusalOf, refusalText, tokenClient } from './client.ts';
import { Failure, untilSignal } from './exit.ts';
import type { Io } from './io.ts';
import { LiveView } from './live-view.ts';
import { asLines, jsonLine, print } from './output.ts';
import { span, stateJson, statusName } from './show.ts';

/** Two heartbeats and a half of silence: the stream is dead, whatever TCP thinks. */
const SILENCE_MS = 25_000;
const LONGEST_PAUSE_MS = 15_000;
/** Errors that will be the same after a reconnect. */
const FINAL: ReadonlySet<string> = new Set([Code[Code.NotFound], Code[Code.InvalidArgument], Code[Code.Unimplemented]]);

/** Where events go: a live view, lines of text or lines of JSON. */
interface Display {
  event(response: WatchTokenResponse): void;
  /** The stream ended; the next one begins after a pause. */
  reconnecting(refusal: Refusal, pauseMs: number): void;
  close(): void;
}

/** `lingpai watch [APP...]`: follows apps until a signal ends it. */
export async function watch(appIds: string[], options: ClientOptions, io: Io): Promise<void> {
  const client = tokenClient(options, io);
  const display = displayFor(options, io);
  const ending = new AbortController();
  const stopped = untilSignal(async () => ending.abort(), io);
  const known: Record<string, bigint> = {};
  let failures = 0;
  let pauseMs = 0;

  /** One stream, for as long as it lives. */
  async function follow(): Promise<void> {
    const silence = new AbortController();
    const onSilence = () => silence.abort(new Error(`nothing was heard for ${SILENCE_MS / 1000} s`));
    let timer = setTimeout(onSilence, SILENCE_MS);
    try {
      const signal = AbortSignal.any([ending.signal, silence.signal]);
      for await (const response of client.watchToken({ appIds, knownGenerations: known }, { signal })) {
        clearTimeout(timer);
        timer = setTimeout(onSilence, SILENCE_MS);
        failures = 0;
        const { event } = response;
        if (event.case === 'state') known[event.value.appId] = event.value.generation;
        if (event.case === 'removed') delete known[event.value.appId];
        if (event.case === 'goaway') pauseMs = event.value.reconnectAfter ? durationMs(event.value.reconnectAfter) : 0;
        display.event(response);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  try {
    while (!ending.signal.aborted) {
      const refusal = await follow().then(() => refusalOf(new Error('the broker ended the stream')), refusalOf);
      if (ending.signal.aborted) break;
      if (FINAL.has(refusal.code)) throw new Failure(refusalText(refusal, options.addr));
      pauseMs ||= Math.min(LONGEST_PAUSE_MS, 500 * 2 ** failures++) * (0.5 + Math.random() / 2);
      display.reconnecting(refusal, pauseMs);
      await pause(pauseMs, ending.signal);
      pauseMs = 0;
    }
  } finally {
    display.close();
    io.removeAllListeners('SIGINT');
    io.removeAllListeners('SIGTERM');
  }
  await stopped;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
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
