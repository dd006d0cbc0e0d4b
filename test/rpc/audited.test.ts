import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AuditEvent } from '../../src/core/access/ports.ts';
import { LOCAL } from '../../src/core/access/principal.ts';
import { LingpaiError } from '../../src/core/kernel/errors.ts';
import type { Message } from '../../src/core/messages/message.ts';
import { extendWords } from '../../src/core/review/words.ts';
import { MessageService } from '../../src/gen/lingpai/v1/message_pb.js';
import { TokenService } from '../../src/gen/lingpai/v1/token_pb.js';
import { auditedForces, auditedMessages, auditedTokens } from '../../src/rpc/audited.ts';
import { toConnectError } from '../../src/rpc/errors.ts';
import { messageService } from '../../src/rpc/message-service.ts';
import { tokenService } from '../../src/rpc/token-service.ts';
import { startGrpc } from '../../src/server/grpc.ts';
import { startHttp } from '../../src/server/http.ts';
import type { Listener } from '../../src/server/mount.ts';
import { FakeClock } from '../support/clock.ts';
import { FakeLedger } from '../support/ledger.ts';
import { ForeignClient, failure, grpcOf, HTTP, Mounted, STALL_TIMEOUT_MS, until } from '../support/rpc.ts';
import { MINUTE, World } from '../support/world.ts';

const CALL = { caller: { ...LOCAL, name: 'key:orders' }, peer: '127.0.0.1' };

let events: AuditEvent[];
const audit = { record: (event: AuditEvent) => void events.push(event) };
const authenticate = () => CALL.caller;
const take = () => events.splice(0);
beforeEach(() => {
  events = [];
});

describe('tokens', () => {
  let world: World;
  let grpc: Listener;
  let http: Listener;
  let client: ForeignClient;
  const stateOf = (appId: string) => [...world.broker.states()].find((state) => state.appId === appId);
  const idOf = (appId: string) => stateOf(appId)?.current?.id ?? '';
  const read = (appId: string) => ({ event: 'token.read', call: CALL, appId, tokenId: idOf(appId) });

  beforeEach(async () => {
    world = await World.started({ apps: { wxc: 'classic', wxs: 'stable' } });
    await world.clock.advance(10_000);
    const { broker, clock } = world;
    const impl = tokenService({
      broker,
      clock,
      onForced: auditedForces(audit),
      stallTimeoutMs: STALL_TIMEOUT_MS,
      propagation() {},
    });
    const mounted = new Mounted(clock, { desc: TokenService, impl: auditedTokens(impl, audit) });
    grpc = await startGrpc({ ...grpcOf(mounted), authenticate });
    http = await startHttp({ ...HTTP, ...mounted, authenticate });
    client = new ForeignClient(grpc.address);
  });
  afterEach(async () => {
    client[Symbol.dispose]();
    await Promise.all([grpc.stop(), http.stop()]);
    await world.broker.stop();
  });

  it('Get: the token that was handed out, at once or after a while', async () => {
    await client.call('Get', { app_id: 'wxc' });
    expect(take()).toEqual([read('wxc')]);
    const generation = stateOf('wxc')?.generation ?? 0;
    const later = client.call('Get', { app_id: 'wxc', min_generation: generation + 1 });
    await client.call('Get', { app_id: 'wxs' });
    expect(take()).toEqual([read('wxs')]);
    const before = idOf('wxc');
    await client.call('ForceRefresh', { app_id: 'wxc' });
    await later;
    expect(idOf('wxc')).not.toBe(before);
    // While WeChat honours the one before, it is handed out too.
    expect(take()).toContainEqual({ ...read('wxc'), tokenId: before });
  });

  it('Get that fails hands out nothing', async () => {
    await failure(client.call('Get', { app_id: 'wxunknown' }));
    await failure(client.call('Get', { app_id: '' }));
    expect(take()).toEqual([]);
  });

  it('ForceRefresh: a report where it names something, a refresh where it does not; what came of it', async () => {
    await client.call('ForceRefresh', { app_id: 'wxc' });
    expect(take()).toEqual([
      { event: 'token.refreshed', call: CALL, appId: 'wxc', tokenId: idOf('wxc'), outcome: 'REFRESHED' },
    ]);
    await client.call('ForceRefresh', { app_id: 'wxc', rejected_token: 'never seen' });
    await failure(client.call('ForceRefresh', { app_id: 'wxunknown', rejected_generation: 1 }));
    await failure(client.call('ForceRefresh', { app_id: 'wxc' }));
    expect(take()).toMatchObject([
      { event: 'token.reported', tokenId: idOf('wxc'), outcome: 'ALREADY_NEWER' },
      { event: 'token.reported', tokenId: null, outcome: 'APP_NOT_FOUND' },
      { event: 'token.refreshed', tokenId: null, outcome: 'COOLDOWN' },
    ]);
  });

  it('WatchToken over gRPC: opened, each token that it hands out, closed', async () => {
    const watch = client.stream('WatchToken', { app_ids: ['wxc'] });
    await watch.next();
    expect(take()).toEqual([{ event: 'watch.opened', call: CALL, appIds: ['wxc'] }, read('wxc')]);
    const rotating = client.call('ForceRefresh', { app_id: 'wxc' });
    await watch.next();
    await rotating;
    const before = { ...read('wxc'), tokenId: stateOf('wxc')?.previous?.id };
    expect(take()).toEqual(expect.arrayContaining([read('wxc'), before]));
    watch.cancel();
    await until(() => events.length > 0);
    expect(take()).toEqual([{ event: 'watch.closed', call: CALL, appIds: ['wxc'] }]);
    await world.clock.advance(MINUTE);
    expect(take()).toEqual([]);
  });

  it('WatchToken over HTTP: the same', async () => {
    const transport = createConnectTransport({ httpVersion: '1.1', baseUrl: `http://${http.address}` });
    const caller = new AbortController();
    const stream = createClient(TokenService, transport).watchToken({}, { signal: caller.signal });
    const responses = stream[Symbol.asyncIterator]();
    await responses.next();
    await responses.next();
    expect(take()).toEqual([{ event: 'watch.opened', call: CALL, appIds: [] }, read('wxc'), read('wxs')]);
    caller.abort();
    await until(() => world.broker.watchers === 0);
    expect(take()).toEqual([{ event: 'watch.closed', call: CALL, appIds: [] }]);
  });

  it('WatchToken that is refused was not opened', async () => {
    await failure(client.stream('WatchToken', { app_ids: ['wxunknown'] }).next());
    expect(take()).toEqual([]);
  });

  it('a watch of very many apps keeps few of their names', async () => {
    const named = Array.from({ length: 40 }, (_, i) => (i % 2 ? 'wxc' : 'wxs'));
    const watch = client.stream('WatchToken', { app_ids: named });
    await watch.next();
    watch.cancel();
    await until(() => events.at(-1)?.event === 'watch.closed');
    expect(take().map((event) => ('appIds' in event ? event.appIds.length : 1))).toEqual([40, 1, 1, 16]);
  });
});

describe('messages', () => {
  let grpc: Listener;
  let client: ForeignClient;
  const GOOD = { app_id: 'wxa', to_user: 'o', template_id: 'sent', data: { thing1: { value: 'x' } }, subscribe: {} };
  const sent = (outcome: string) => ({ event: 'messages.sent', call: CALL, appId: 'wxa', outcome });

  beforeEach(async () => {
    const clock = new FakeClock();
    const send = async ({ templateId }: Message) => {
      if (templateId === 'fault') throw new TypeError('a fault');
      if (templateId === 'optedout') throw new LingpaiError('no', { reason: 'USER_OPTED_OUT' });
      return { sent: { messageId: '1', rid: 'r' }, replayed: templateId === 'replayed' };
    };
    const impl = messageService({
      sender: { send },
      ledger: new FakeLedger(),
      clock,
      requireApp() {},
      newId: () => 'id',
      reviewWords: extendWords({}),
      pause: async () => {},
      maxPermits: 1,
      streamLimit: 8,
      draining: new AbortController().signal,
      onAnswered: auditedMessages(audit),
      toError: (error) => toConnectError(error, () => {}),
      report() {},
    });
    grpc = await startGrpc({ ...grpcOf(new Mounted(clock, { desc: MessageService, impl })), authenticate });
    client = new ForeignClient(grpc.address, 'lingpai.v1.MessageService', ['lingpai/v1/message.proto']);
  });
  afterEach(async () => {
    client[Symbol.dispose]();
    await grpc.stop();
  });

  it('SendTemplate: what became of each, without whom it was for', async () => {
    for (const template_id of ['sent', 'replayed', 'optedout', 'fault'])
      await client.call('SendTemplate', { ...GOOD, template_id }).catch(() => {});
    await failure(client.call('SendTemplate', { ...GOOD, data: {} }));
    expect(take()).toEqual(['SENT', 'REPLAYED', 'USER_OPTED_OUT', 'INTERNAL'].map(sent));
  });

  it('SendTemplates: the same', async () => {
    const call = client.duplex('SendTemplates');
    const answers: unknown[] = [];
    call.on('data', (answer) => answers.push(answer));
    for (const template_id of ['sent', 'optedout'])
      call.write({ correlation_id: '1', message: { ...GOOD, template_id } });
    call.end();
    await new Promise((resolve) => call.once('status', resolve));
    expect(answers).toHaveLength(2);
    expect(take()).toEqual(['SENT', 'USER_OPTED_OUT'].map(sent));
  });
});
