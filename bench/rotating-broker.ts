import { setTimeout } from 'node:timers/promises';
import { tokenClient } from '../src/commands/client.ts';
import { Child, serve } from './child.ts';
import { benchApps, temporaryFolder, writeConfig } from './setup.ts';

/** How long the token before the current one is shown. Short, for rotations are a long way apart in life. */
const OVERLAP_MS = 2_000;

/** A broker with one app, whose token is rotated at will. It ends with the stack. */
export async function rotatingBroker(stack: AsyncDisposableStack) {
  const folder = stack.use(await temporaryFolder());
  const wechat = stack.use(Child.start('wechat.ts'));
  const apps = benchApps(1, 'classic');
  const config = await writeConfig(`${folder.path}/config.yaml`, {
    store: `${folder.path}/db`,
    upstream: await wechat.ask<string>('start', apps),
    apps,
    settings: { refresh: { cooldown: '0s' }, upstream: { overlap: `${OVERLAP_MS}ms` } },
  });
  const broker = stack.use(await serve(config, { watched: true }));
  const client = tokenClient(broker.grpc);
  const appId = apps[0]?.appId ?? '';
  const refresh = async () => {
    await client.forceRefresh({ appId });
    return await broker.child.ask<number>('tokenAnsweredAt');
  };
  // The token before the current one is gone again, and everyone has been told.
  const rest = async () => {
    while ((await client.get({ appId })).state?.previous) await setTimeout(50);
  };
  // A rotation's message has the token before it as well: a second token makes one to copy.
  await client.get({ appId });
  const { state, serverTime } = await client.forceRefresh({ appId });
  if (!state?.previous || !serverTime) throw new Error('a rotation showed no previous token');
  const rotation = { event: { case: 'state', value: state }, serverTime } as const;
  return { broker, appId, refresh, rest, rotation };
}
