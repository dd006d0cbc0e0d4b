import { durationMs } from '@bufbuild/protobuf/wkt';
import {
  type SendFailure,
  SendTemplateRequestSchema,
  type SendTemplatesResponse,
} from '../gen/lingpai/v1/message_pb.js';
import { codeName } from '../transport/code-name.ts';
import { type CallOptions, messageClient, refusalOf, refusalText } from './client.ts';
import { collectGarbage } from './collect.ts';
import { counted } from './counted.ts';
import { Failure, untilSignal } from './exit.ts';
import type { Io } from './io.ts';
import { isBlank, readLines, type Survey, survey } from './lines.ts';
import { parseLine } from './message-line.ts';
import { asLines, complain, jsonLine, print } from './output.ts';
import { type Progress, ProgressView } from './progress.ts';
import { addFailure, type Earlier, type Failed, type Result, ResultsFile, readResults } from './results.ts';
import { soleRun } from './sole-run.ts';
import { unreadable } from './unreadable.ts';

/** Messages that may be without an answer at once: as many are in doubt when the process is killed. */
const WINDOW = 256;
/** How many messages leave garbage that is worth a collection; one takes some 10 ms. */
const COLLECT_EVERY = 5_000;

/** `lingpai send --file`: every message of a file that has not been sent yet. */
export async function sendFile(options: CallOptions & { file: string }, io: Io): Promise<void> {
  const { file, addr } = options;
  const client = messageClient(options, io);
  const found = await survey(file).catch((error: NodeJS.ErrnoException) => {
    throw unreadable('--file', file, error);
  });
  if (found.lines === 0) {
    throw new Failure(`--file ${file} has no messages: write one a line, as the proto3 JSON of SendTemplateRequest`, 2);
  }
  const path = `${file}.results`;
  using _ = soleRun(path);
  const earlier = await readResults(path, found, Date.now());
  using results = new ResultsFile(path);
  results.start(found.id, Date.now());
  const run = new Run(file, found, earlier, results);
  const view = new ProgressView(io.stderr, () => run.progress());
  const ended = Promise.withResolvers<void>();
  void untilSignal(async () => {
    run.stop();
    complain(`\nfinishing ${counted(run.underWay, 'message')} under way; a second Ctrl-C ends at once\n`, io);
    await ended.promise;
  }, io);
  let problem: string | undefined;
  try {
    for await (const answer of client.sendTemplates(run.requests())) run.answered(answer);
  } catch (error) {
    problem = refusalText(refusalOf(error), addr);
  } finally {
    view.close();
    ended.resolve();
  }
  const summary = run.summary(path);
  print(options.json ? jsonLine(summary) : summaryText(summary, run.failures), io);
  if (problem !== undefined)
    throw new Failure(`${problem}\nWithout a result: ${counted(summary.open, 'message')}. ${RESUME}`);
  if (run.isStopped && summary.open > 0)
    throw new Failure(`interrupted; left: ${counted(summary.open, 'message')}. ${RESUME}`);
  const failed = summary.refused + summary.retry + summary.unknown;
  if (failed > 0) throw new Failure(`${failed} of ${summary.lines} messages were not sent, or may not have been`);
}

const RESUME = 'Run the same command again: it goes on where this run ended, and sends nothing twice.';

/** What became of a file. */
interface Summary {
  readonly file: string;
  readonly results: string;
  /** Lines that are not blank: the sum of the next five. */
  readonly lines: number;
  readonly sent: number;
  readonly refused: number;
  readonly retry: number;
  readonly unknown: number;
  /** Without a result. */
  readonly open: number;
  readonly failures: readonly { readonly reason: string; readonly count: number; readonly lines: readonly number[] }[];
}

/** One run over a file. It holds the numbers of the lines that are under way, and no message. */
class Run {
  readonly #file: string;
  readonly #survey: Survey;
  readonly #earlier: Earlier;
  readonly #results: ResultsFile;
  readonly #startedAt = performance.now();
  readonly #underWay = new Set<number>();
  readonly #counts = { sent: 0, refused: 0, retry: 0, unknown: 0 };
  /** By reason, those of earlier runs included. */
  readonly failures: Map<string, Failed>;
  #doneNow = 0;
  #isStopped = false;
  #wake = () => {};

  constructor(file: string, found: Survey, earlier: Earlier, results: ResultsFile) {
    this.#file = file;
    this.#survey = found;
    this.#earlier = earlier;
    this.#results = results;
    this.failures = new Map([...earlier.failures].map(([reason, failed]) => [reason, { ...failed }]));
    for (const outcome of ['sent', 'refused', 'unknown'] as const) this.#counts[outcome] = earlier[outcome];
  }

  /** The messages that are to be sent, as fast as they are answered. */
  async *requests() {
    const { id, last } = this.#survey;
    for await (const line of readLines(this.#file)) {
      const { number } = line;
      if (this.#isStopped || number > last) return;
      if (isBlank(line) || this.#earlier.done[number]) continue;
      const parsed = parseLine(SendTemplateRequestSchema, line);
      if ('problem' in parsed) {
        this.#settle(this.#refusal(number, `the line ${parsed.problem}`));
        continue;
      }
      while (this.#underWay.size >= WINDOW) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        if (this.#isStopped) return;
      }
      const { message } = parsed;
      // The same at each run over the same content: what was sent is not sent again.
      if (message.idempotencyKey === '') message.idempotencyKey = `file:${id}:${number}`;
      this.#underWay.add(number);
      yield { correlationId: String(number), message };
    }
  }

  /** Takes an answer of the broker. */
  answered({ correlationId, outcome }: SendTemplatesResponse): void {
    const line = Number(correlationId);
    if (!this.#underWay.delete(line)) return;
    const about = this.#about(line);
    if (outcome.case === 'sent') {
      const { messageId, replayed, rid } = outcome.value;
      this.#settle({ ...about, outcome: 'sent', message_id: messageId, replayed, ...(rid && { rid }) });
    } else if (outcome.case === 'failure') this.#settle({ ...about, ...failureOf(outcome.value) });
    this.#wake();
  }

  /** Begins no more messages. */
  stop(): void {
    this.#isStopped = true;
    this.#wake();
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  get underWay(): number {
    return this.#underWay.size;
  }

  progress(): Progress {
    const { sent, refused, retry, unknown } = this.#counts;
    const failed = refused + retry + unknown;
    const elapsedMs = performance.now() - this.#startedAt;
    return { done: sent + failed, total: this.#survey.lines, failed, elapsedMs, doneNow: this.#doneNow };
  }

  summary(results: string): Summary {
    const { lines } = this.#survey;
    const failures = [...this.failures].map(([reason, { count, lines }]) => ({ reason, count, lines }));
    const open = lines - this.progress().done;
    return { file: this.#file, results, lines, ...this.#counts, open, failures };
  }

  #settle(result: Result): void {
    this.#results.add(result);
    this.#counts[result.outcome]++;
    if (++this.#doneNow % COLLECT_EVERY === 0) collectGarbage();
    if (result.outcome !== 'sent') addFailure(this.failures, result);
  }

  #refusal(line: number, message: string): Result {
    return { ...this.#about(line), outcome: 'refused', code: 'INVALID_ARGUMENT', reason: 'INVALID_REQUEST', message };
  }

  #about(line: number): Pick<Result, 'line' | 'correlation_id' | 'file'> {
    return { line, correlation_id: String(line), file: this.#survey.id };
  }
}

/** What a failure means for a resume: whether WeChat or the broker refused the message for what it is. */
export function failureOf(failure: SendFailure): Omit<Result, 'line' | 'correlation_id' | 'file'> {
  const { reason, message, metadata, retryAfter } = failure;
  const code = codeName(failure.code);
  const { errcode, rid } = metadata;
  const isJudged = code === 'INVALID_ARGUMENT' || (errcode !== undefined && !retryAfter);
  const details = {
    code,
    reason,
    message,
    ...(errcode !== undefined && { errcode }),
    ...(rid !== undefined && { rid }),
    ...(retryAfter && { retry_after_s: Math.ceil(durationMs(retryAfter) / 1000) }),
  };
  if (reason === 'DELIVERY_UNKNOWN') return { outcome: 'unknown', ...details };
  return { outcome: isJudged ? 'refused' : 'retry', ...details };
}

function summaryText({ file, results, ...counts }: Summary, failures: ReadonlyMap<string, Failed>): string {
  const { lines, sent, refused, retry, unknown, open } = counts;
  const parts = [
    `${sent} sent`,
    ...(refused > 0 ? [`${refused} refused`] : []),
    ...(unknown > 0 ? [`${unknown} of unknown fate`] : []),
    ...(retry > 0 ? [`${retry} to be tried again`] : []),
    ...(open > 0 ? [`${open} without a result`] : []),
  ];
  const byCount = [...failures].sort(([, a], [, b]) => b.count - a.count);
  const rows = byCount.map(([reason, { count, lines: first, message }]) => {
    const more = count > first.length ? ', ...' : '';
    const example = count > 1 ? `; e.g. line ${first[0]}` : '';
    return `${String(count).padStart(8)}  ${reason} (line ${first.join(', ')}${more})${example}: ${message}`;
  });
  return asLines([
    `${file}: ${counted(lines, 'message')}: ${parts.join(', ')}`,
    ...(rows.length > 0 ? ['failures by reason:', ...rows] : []),
    ...(retry > 0 ? [`The same command tries ${retry} of them again.`] : []),
    `results: ${results}`,
  ]);
}
