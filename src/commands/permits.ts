import { type JsonObject, toJson } from '@bufbuild/protobuf';
import { type Client, ConnectError } from '@connectrpc/connect';
import { BadRequestSchema } from '../gen/google/rpc/error_details_pb.js';
import {
  type CountPermitsResponse,
  CountPermitsResponseSchema,
  MessageService,
  type Permit,
  PermitKind,
  PermitSchema,
} from '../gen/lingpai/v1/message_pb.js';
import { type CallOptions, calling } from './client.ts';
import { counted } from './counted.ts';
import { Failure } from './exit.ts';
import type { Io } from './io.ts';
import { isBlank, readLines, type Survey, survey } from './lines.ts';
import { parseLine } from './message-line.ts';
import { asLines, jsonLine, print, printable } from './output.ts';
import { unreadable } from './unreadable.ts';

/** The most permits that one call takes. */
const BATCH = 1000;
/** So many bytes of lines make a batch, so that its call keeps below the broker's 1 MiB. */
const BATCH_BYTES = 512 * 1024;
const SHOWN_PROBLEMS = 20;

/** `lingpai permits APP`: counts what may be sent; with `deposit`, adds the permits of a file first. */
export async function permits(
  appId: string,
  options: CallOptions & { user?: string; deposit?: string; timeout: number },
  io: Io,
): Promise<void> {
  const { deposit, user = '', json = false } = options;
  if (deposit !== undefined) {
    if (user !== '') throw new Failure('--user goes without --deposit: each line of the file names its user', 2);
    return await depositFile(appId, deposit, options, io);
  }
  const counted = await calling(MessageService, options, io, (client) =>
    client.countPermits({ appId, toUser: user }, { timeoutMs: options.timeout * 1000 }),
  );
  print(json ? jsonLine(toJson(CountPermitsResponseSchema, counted)) : countText(counted), io);
}

function countText({ counts, expiries }: CountPermitsResponse): string {
  if (counts.length === 0) return 'no permits\n';
  const kinds = counts.map(
    ({ kind, messages, permits }) =>
      `${(PermitKind[kind] ?? String(kind)).padEnd(10)}  ${counted(messages, 'message')} by ${counted(permits, 'permit')}`,
  );
  return asLines([
    ...kinds,
    ...expiries.map(({ date, messages }) => `expire on ${date}  ${counted(messages, 'message')}`),
  ]);
}

interface Numbered {
  readonly number: number;
  readonly permit: Permit;
}

async function depositFile(
  appId: string,
  path: string,
  options: CallOptions & { timeout: number },
  io: Io,
): Promise<void> {
  const found: Survey = await survey(path).catch((error: Error) => {
    throw unreadable('--deposit', path, error);
  });
  if (found.lines === 0) {
    throw new Failure(`--deposit ${path} has no permits: write one a line, as the proto3 JSON of Permit`, 2);
  }
  const total = { deposited: 0, duplicates: 0, expired: 0 };
  const problems: { line: number; message: string }[] = [];
  const call = async (client: Client<typeof MessageService>, batch: Numbered[]) => {
    for (let left = batch; left.length > 0; ) {
      const request = { appId, permits: left.map(({ permit }) => permit) };
      try {
        const counts = await client.depositPermits(request, { timeoutMs: options.timeout * 1000 });
        for (const name of ['deposited', 'duplicates', 'expired'] as const) total[name] += counts[name];
        return;
      } catch (error) {
        // One bad permit is not to keep the others out.
        const bad = badPermits(error);
        if (bad.size === 0) throw error;
        left.forEach(({ number }, i) => {
          const message = bad.get(i);
          if (message !== undefined) problems.push({ line: number, message });
        });
        left = left.filter((_, i) => !bad.has(i));
      }
    }
  };
  await calling(MessageService, options, io, async (client) => {
    let batch: Numbered[] = [];
    let bytes = 0;
    for await (const line of readLines(path)) {
      if (isBlank(line)) continue;
      const { number } = line;
      const parsed = parseLine(PermitSchema, line);
      if ('problem' in parsed) {
        problems.push({ line: number, message: parsed.problem });
        continue;
      }
      const permit = parsed.message;
      // A file that is deposited again, after an interruption say, adds nothing: every consent has a name.
      if (permit.kind === PermitKind.CONSENT && permit.value === '') permit.value = `file:${found.id}:${number}`;
      batch.push({ number, permit });
      bytes += 'text' in line ? line.text.length : 0;
      if (batch.length < BATCH && bytes < BATCH_BYTES) continue;
      await call(client, batch);
      batch = [];
      bytes = 0;
    }
    await call(client, batch);
  });
  problems.sort((a, b) => a.line - b.line);
  const summary: JsonObject = { ...total, refused: problems.length };
  const text = `${total.deposited} deposited, ${total.duplicates} known already, ${total.expired} expired\n`;
  print(options.json ? jsonLine({ ...summary, problems }) : text, io);
  if (problems.length === 0) return;
  const shown = problems.slice(0, SHOWN_PROBLEMS).map(({ line, message }) => `\n  line ${line} ${printable(message)}`);
  const more = problems.length > shown.length ? `\n  and ${problems.length - shown.length} more` : '';
  throw new Failure(`${counted(problems.length, 'permit')} not deposited:${shown.join('')}${more}`);
}

/** What is wrong with which permits of a call. */
function badPermits(error: unknown): Map<number, string> {
  const violations = ConnectError.from(error).findDetails(BadRequestSchema)[0]?.fieldViolations ?? [];
  const bad = new Map<number, string>();
  for (const { field, description } of violations) {
    const [, index, name] = /^permits\[(\d+)\]\.(.+)$/.exec(field) ?? [];
    if (index === undefined || bad.has(Number(index))) continue;
    bad.set(Number(index), `${name} ${description}`);
  }
  return bad;
}
