import { create, type MessageInitShape, toJson } from '@bufbuild/protobuf';
import { type Duration, durationMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import {
  AdminService,
  type AppStatus,
  AppTokenStatus,
  type ClusterStatus,
  type GetStatusResponse,
  GetStatusResponseSchema,
  type HopStatus,
  IntentKind,
  type IntentStatus,
  PropagationHop,
  type ReplicaStatus,
  type ShutChannel,
} from '../gen/lingpai/v1/admin_pb.js';
import { type CallOptions, calling } from './client.ts';
import type { Io } from './io.ts';
import { asLines, jsonLine, print } from './output.ts';
import { span } from './show.ts';
import { tableLines } from './table.ts';

/** As many apps as one call takes. */
const BATCH = 500;

/** `lingpai status [APP...]`: how the broker and its apps are. */
export async function status(
  appIds: readonly string[],
  options: CallOptions & { timeout: number },
  io: Io,
): Promise<void> {
  const found = await calling(AdminService, options, io, async (client) => {
    const timeoutMs = options.timeout * 1000;
    const answers: GetStatusResponse[] = [];
    let rest = [...new Set(appIds)];
    let pageToken = '';
    do {
      const answer = await client.getStatus({ appIds: rest.slice(0, BATCH), pageToken }, { timeoutMs });
      answers.push(answer);
      rest = rest.slice(BATCH);
      pageToken = answer.nextPageToken;
    } while (pageToken !== '' || rest.length > 0);
    return joined(answers);
  });
  print(
    options.json ? jsonLine(toJson(GetStatusResponseSchema, found, { alwaysEmitImplicit: true })) : statusText(found),
    io,
  );
}

/** Several answers as one: the newest of what concerns all, and each one's apps. */
function joined(answers: readonly GetStatusResponse[]): GetStatusResponse {
  const last: MessageInitShape<typeof GetStatusResponseSchema> = answers.at(-1) ?? {};
  const apps = answers.flatMap((answer) => answer.apps);
  return create(GetStatusResponseSchema, { ...last, apps });
}

/** An answer for people. */
export function statusText({ cluster, apps, serverTime, propagation }: GetStatusResponse): string {
  const now = serverTime ? timestampMs(serverTime) : Date.now();
  const blocks = [
    cluster ? clusterLines(cluster) : ['one broker, which owns its store'],
    appLines(apps, now),
    hopLines(propagation),
  ];
  const notes = apps.flatMap((app) => notesOf(app, now).map((note) => `${app.appId}: ${note}`));
  return [...blocks, notes]
    .filter((lines) => lines.length > 0)
    .map(asLines)
    .join('\n');
}

function clusterLines(cluster: ClusterStatus): string[] {
  const { replica, storeAvailable, storeAge, storeTrouble, replicas, lostSets } = cluster;
  const store = storeAvailable
    ? `the store answered ${seconds(storeAge)} ago`
    : `the store has been away for ${seconds(storeAge)}: tokens in memory are served, classic ones are not replaced`;
  const writes = lostSets === 1n ? '1 write' : `${lostSets} writes`;
  const lost =
    lostSets > 0n
      ? [`${writes} ${lostSets === 1n ? 'was' : 'were'} made again on top of another replica's that came first`]
      : [];
  return [
    `${replica} answers; ${store}`,
    ...(storeTrouble === '' ? [] : [storeTrouble]),
    ...lost,
    ...tableLines(
      ['REPLICA', 'ADDRESS', 'STATE'],
      replicas.map((each) => [each.name, each.address, stateOf(each)]),
    ),
  ];
}

function stateOf({ self, alive, silentFor }: ReplicaStatus): string {
  if (self) return 'answers';
  if (!alive) return `dead: silent for ${seconds(silentFor)}`;
  return ms(silentFor) >= 5_000 ? `alive, but silent for ${seconds(silentFor)}` : 'alive';
}

function appLines(apps: readonly AppStatus[], now: number): string[] {
  if (apps.length === 0) return ['no apps; a caller sees those of which a rule lets it read the status'];
  const isShared = apps.some(({ share }) => share);
  const left = (time: Timestamp | undefined) => (time ? span(timestampMs(time) - now) : '');
  const rows = apps.map((app) => [
    app.appId,
    AppTokenStatus[app.status] ?? `status ${app.status}`,
    String(app.generation),
    app.tokenId,
    left(app.expireTime),
    left(app.nextRefreshTime),
    ...(isShared ? [app.share?.owner ?? ''] : []),
  ]);
  const header = ['APP', 'STATUS', 'GENERATION', 'TOKEN', 'LEFT', 'NEXT'];
  return tableLines(isShared ? [...header, 'REFRESHED BY'] : header, rows);
}

const HOPS: Readonly<Record<PropagationHop, string>> = {
  [PropagationHop.UNSPECIFIED]: '',
  [PropagationHop.STORE]: 'WeChat to the store',
  [PropagationHop.REPLICA]: 'another replica to this one',
  [PropagationHop.STREAM]: 'this replica to a watch',
};

function hopLines(propagation: readonly HopStatus[]): string[] {
  if (propagation.length === 0) return [];
  const time = (duration: Duration | undefined) => `${ms(duration)} ms`;
  return tableLines(
    ['NEW TOKENS, FROM', 'COUNT', 'MEDIAN', 'P99', 'MAX'],
    propagation.map(({ hop, count, median, p99, max }) => [
      HOPS[hop] ?? `hop ${hop}`,
      String(count),
      time(median),
      time(p99),
      time(max),
    ]),
  );
}

/** What of an app is unusual, in words. */
function notesOf({ appId, statusReason, share, shutChannels }: AppStatus, now: number): string[] {
  const notes = statusReason ? [statusReason] : [];
  notes.push(...shutChannels.map((shut) => shutText(appId, shut, now)));
  if (!share) return notes;
  const dueInMs = share.owedTime ? timestampMs(share.owedTime) - now : 0;
  const due = dueInMs > 0 ? `in ${Math.ceil(dueInMs / 1000)} s` : 'now';
  if (share.owedTime)
    notes.push(`provisional: nobody knows which of its last tokens is the newest; a confirming mint is due ${due}`);
  notes.push(...share.intents.map(intentText));
  if (share.unsaved) notes.push('not stored yet: the store has not taken what this replica serves');
  return notes;
}

/** Why and until when a channel is shut, in words. */
export function shutText(appId: string, { channel, until, reason, description }: ShutChannel, now: number): string {
  const why = `${description} (${reason})`;
  if (!until) return `messages by ${channel} are refused until one that is on its way finds them taken again: ${why}`;
  const at = new Date(timestampMs(until)).toISOString().replace(/\.\d+Z$/, 'Z');
  const advice =
    reason === 'DAILY_QUOTA_EXHAUSTED'
      ? `; "lingpai quota clear ${appId}" clears the quota and has the next one tried at once; if you have cleared it elsewhere (clear_quota), so do "lingpai refresh ${appId}" and SIGHUP`
      : '';
  return `messages by ${channel} are refused until ${at} (${span(timestampMs(until) - now)}), when one is tried: ${why}${advice}`;
}

function intentText({ replica, epoch, age, kind }: IntentStatus): string {
  if (kind === IntentKind.LEASE) return `${replica} has been minting for ${seconds(age)} (mint ${epoch})`;
  return `a mint of ${replica} has been open for ${seconds(age)} (mint ${epoch}): nobody knows what became of it`;
}

function seconds(duration: Duration | undefined): string {
  return `${Math.floor(ms(duration) / 1000)} s`;
}

function ms(duration: Duration | undefined): number {
  return duration ? durationMs(duration) : 0;
}
