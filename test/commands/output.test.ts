import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { get } from '../../src/commands/get.ts';
import type { Io } from '../../src/commands/io.ts';
import { render } from '../../src/commands/live-view.ts';
import { asLines, jsonLine, printable } from '../../src/commands/output.ts';
import { permits } from '../../src/commands/permits.ts';
import { refresh } from '../../src/commands/refresh.ts';
import { send } from '../../src/commands/send.ts';
import { status } from '../../src/commands/status.ts';
import { watch } from '../../src/commands/watch.ts';
import { AdminService } from '../../src/gen/lingpai/v1/admin_pb.js';
import { MessageService, PermitKind } from '../../src/gen/lingpai/v1/message_pb.js';
import { TokenService, TokenStateSchema, TokenStatus } from '../../src/gen/lingpai/v1/token_pb.js';
import { fakeBroker, said } from '../support/command.ts';

/** Clears the screen, sets a title, ends lines in five ways, turns the direction, hides. */
const EVIL = 'a\x1b[2J\x1b]0;t\x07\r\n\x0b\x7f\x85\x9b31m\u2028\u2029\u202e\u2066\u200f\u061c\u2060\ufeff\ufff9\0z';
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about.
const ACTED_ON = /[\0-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/;

describe('what a terminal acts on', () => {
  it('is shown instead, and nothing else is', () => {
    expect(printable(EVIL)).toMatch(/^a\\u001b\[2J\\u001b\]0;t\\u0007\\u000d\\u000a.*\\u0000z$/);
    expect(printable(EVIL)).not.toMatch(ACTED_ON);
    expect(printable('half \ud800 of a pair')).toBe('half \\ud800 of a pair');
    const harmless = 'wx1 令牌 é 👩‍👧 "quoted" \\u001b C:\\new';
    expect(printable(harmless)).toBe(harmless);
    expect(asLines(['one\ntwo', 'three'])).toBe('one\\u000atwo\nthree\n');
  });

  it('stays what it is in JSON', () => {
    const line = jsonLine({ [EVIL]: EVIL });
    expect(line.trimEnd()).not.toMatch(ACTED_ON);
    expect(JSON.parse(line)).toEqual({ [EVIL]: EVIL });
  });

  it('leaves no way around', () => {
    const folder = join(import.meta.dirname, '../../src/commands');
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
    const writers = files.filter((file) =>
      /std(out|err)\.write|console\.|process\.std(out|err)/.test(readFileSync(join(folder, file), 'utf8')),
    );
    // The last words of a process that a second signal ends are its own.
    expect(writers.sort()).toEqual(['exit.ts', 'output.ts']);
  });
});

describe('what a broker says does nothing to the terminal', () => {
  const state = create(TokenStateSchema, {
    appId: EVIL,
    generation: 1n,
    status: TokenStatus.DEGRADED,
    statusReason: EVIL,
    current: { value: EVIL, id: EVIL },
    previous: { value: EVIL, id: EVIL },
  });
  const refusal = () => {
    throw new ConnectError(EVIL, Code.NotFound);
  };
  let isRefusing = false;
  let broker: Awaited<ReturnType<typeof fakeBroker>>;
  let addr: string;
  beforeAll(async () => {
    broker = await fakeBroker((router) => {
      router.service(TokenService, {
        get: () => (isRefusing ? refusal() : { state }),
        forceRefresh: () => ({ state, outcome: 1 }),
        async *watchToken() {
          yield { event: { case: 'state', value: state } };
          yield { event: { case: 'removed', value: { appId: EVIL } } };
          refusal();
        },
      });
      router.service(AdminService, {
        getStatus: () => ({
          cluster: { replica: EVIL, storeTrouble: EVIL, replicas: [{ name: EVIL, address: EVIL }] },
          apps: [{ appId: EVIL, tokenId: EVIL, statusReason: EVIL, share: { owner: EVIL } }],
        }),
      });
      router.service(MessageService, {
        sendTemplate: () => ({ messageId: EVIL, rid: EVIL }),
        countPermits: () => ({
          counts: [{ kind: PermitKind.CONSENT, messages: 1n, permits: 1n }],
          expiries: [{ date: EVIL, messages: 1n }],
        }),
      });
    });
    addr = broker.addr;
  });
  afterAll(() => broker[Symbol.asyncDispose]());

  const message = { app: 'a', to: 'u', template: 't', channel: 'subscribe' as const };

  it.each<[string, (json: boolean, io: Io) => Promise<void>, lines: number]>([
    ['get', (json, io) => get('a', { addr, json, showToken: true, minGeneration: 0, timeout: 5 }, io), 7],
    ['refresh', (json, io) => refresh('a', { addr, json, showToken: true, timeout: 5 }, io), 8],
    ['status', (json, io) => status([], { addr, json, timeout: 5 }, io), 9],
    ['watch', (json, io) => watch(['a'], { addr, json, showToken: true }, io), 3],
    ['send', (json, io) => send({ addr, json, timeout: 5, ...message }, io), 1],
    ['permits', (json, io) => permits('a', { addr, json, timeout: 5 }, io), 2],
  ])('%s', async (_, command, lines) => {
    for (const json of [false, true]) {
      const { output: text } = await said((io) => command(json, io));
      expect(text).toContain('z');
      expect(text).not.toMatch(ACTED_ON);
      // A line feed would let a broker speak in the name of the command.
      expect(text.trimEnd().split('\n')).toHaveLength(json ? Math.min(lines, _ === 'watch' ? 3 : 1) : lines);
    }
  });

  it('an error, on standard error and in JSON', async () => {
    isRefusing = true;
    for (const json of [false, true]) {
      const { output: text } = await said((io) => get('a', { addr, json, minGeneration: 0, timeout: 5 }, io));
      expect(text).toMatch(/lingpai: a\\u001b.*z \(NotFound\)\n$/);
      expect(text).not.toMatch(ACTED_ON);
      expect(text.trimEnd().split('\n')).toHaveLength(json ? 2 : 1);
    }
  });

  it('the live view, but for its own colours', () => {
    const rows = render({ title: EVIL, states: [state], now: 0, width: 1000, showToken: true });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: its own colours.
    const plain = rows.map((row) => row.replace(/^\x1b\[2m|\x1b\[0m|\x1b\[33m/g, ''));
    expect(plain.join('')).not.toMatch(ACTED_ON);
    expect(plain.join('')).toContain('\\u001b');
  });
});
