import { execFileSync } from 'node:child_process';
import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Failure } from '../../src/commands/exit.ts';
import { readLines, survey } from '../../src/commands/lines.ts';
import { parseLine } from '../../src/commands/message-line.ts';
import { isFinal, type Result, ResultsFile, readResults } from '../../src/commands/results.ts';
import { failureOf } from '../../src/commands/send-file.ts';
import { soleRun } from '../../src/commands/sole-run.ts';
import { PermitSchema, SendFailureSchema, SendTemplateRequestSchema } from '../../src/gen/lingpai/v1/message_pb.js';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lingpai-results-'));
  path = join(folder, 'file');
});
afterEach(() => rm(folder, { recursive: true }));

describe('the lines of a file', () => {
  async function lines(content: string | Buffer) {
    await writeFile(path, content);
    const found = [];
    for await (const line of readLines(path)) found.push([line.number, 'text' in line ? line.text : line.problem]);
    return found;
  }

  it.each<[string, [number, string][]]>([
    ['', []],
    ['a', [[1, 'a']]],
    ['a\n', [[1, 'a']]],
    [
      'a\n\nb',
      [
        [1, 'a'],
        [2, ''],
        [3, 'b'],
      ],
    ],
    ['\uFEFFa\n', [[1, 'a']]],
  ])('of %j', async (content, expected) => {
    expect(await lines(content)).toEqual(expected);
  });

  it('may lie across what is read at once, within a character too', async () => {
    const long = '令'.repeat(100_000);
    expect(await lines(`${long}\nx${long}\n`)).toEqual([
      [1, long],
      [2, `x${long}`],
    ]);
  });

  it('that are longer than any message are not kept', async () => {
    const found = await lines(`a\n${'x'.repeat(1024 * 1024 + 1)}\nb`);
    expect(found).toEqual([
      [1, 'a'],
      [2, 'is longer than 1 MiB'],
      [3, 'b'],
    ]);
  });

  it('that are not UTF-8 are not text', async () => {
    expect(await lines(Buffer.from([0x61, 0x0a, 0xd6, 0xd0, 0x0a, 0x62]))).toEqual([
      [1, 'a'],
      [2, 'is not UTF-8'],
      [3, 'b'],
    ]);
    await expect(survey(path)).rejects.toThrow(/^is not UTF-8 \(line 2\); save it as UTF-8/);
  });

  it.each([
    ['a pipe', /^is a pipe, a device or a socket; name a regular file$/],
    ['/dev/zero', /^is a pipe, a device or a socket; name a regular file$/],
    ['.', /^is a folder; name a file$/],
  ])('are those of a regular file: not of %s', async (name, words) => {
    const file = resolve(folder, name);
    if (name === 'a pipe') execFileSync('mkfifo', [file]);
    await expect(survey(file)).rejects.toThrow(words);
  });

  it('end where the file did when it was opened', async () => {
    await writeFile(path, 'a\nb\n');
    const found = [];
    for await (const { number } of readLines(path)) {
      found.push(number);
      await appendFile(path, 'more\n');
    }
    expect(found).toEqual([1, 2]);
  });

  it('a survey counts those with something on them, and changes with the content', async () => {
    await writeFile(path, 'a\n \r\nb\n\n');
    const before = await survey(path);
    expect(before).toEqual({ id: expect.stringMatching(/^[0-9a-f]{16}$/), lines: 2, last: 4 });
    await writeFile(path, 'a\n \r\nc\n\n');
    expect((await survey(path)).id).not.toBe(before.id);
  });
});

describe('a line', () => {
  const problem = (text: string) => {
    const parsed = parseLine(SendTemplateRequestSchema, { number: 1, text });
    return 'problem' in parsed ? parsed.problem : parsed.message;
  };

  it('is a message in proto3 JSON, in either style of names', () => {
    expect(problem('{"appId":"wxa","to_user":"o","subscribe":{}}')).toMatchObject({ appId: 'wxa', toUser: 'o' });
  });

  it.each([
    ['{', 'is not JSON'],
    ['[]', 'is not the proto3 JSON of a SendTemplateRequest'],
    [
      '{"toUser":{"openid-hush":1}}',
      'is not the proto3 JSON of a SendTemplateRequest: the value of to_user is of a wrong kind',
    ],
    ['{"touser":"openid-hush"}', 'is not the proto3 JSON of a SendTemplateRequest: it has no field touser'],
    ['{"openid-hush":1}', 'is not the proto3 JSON of a SendTemplateRequest'],
    [
      '{"data":{"k":"openid-hush"}}',
      'is not the proto3 JSON of a SendTemplateRequest: the value of data is of a wrong kind',
    ],
    ['{"data":{"k":{"valu":"hush"}}}', 'is not the proto3 JSON of a SendTemplateRequest: data has no field valu'],
    ['{"subscribe":"hush"}', 'is not the proto3 JSON of a SendTemplateRequest: the value of subscribe is of a'],
    ['{"subscribe":{},"miniProgram":{}}', 'is not the proto3 JSON of a SendTemplateRequest: it has two channels'],
  ])('%s is refused in words that do not repeat it', (text, words) => {
    expect(problem(text)).toMatch(new RegExp(`^${words}`));
    expect(JSON.stringify(problem(text))).not.toContain('hush');
  });

  it.each([
    ['{"toUser":3}', 'the value of to_user is of a wrong kind'],
    [
      '{"kind":"hush"}',
      'kind must be PERMIT_KIND_UNSPECIFIED, PERMIT_KIND_FORM_ID, PERMIT_KIND_PREPAY_ID, PERMIT_KIND_',
    ],
    ['{"collectTime":"hush"}', 'collect_time must be such as "2026-01-31T08:00:00Z"'],
    ['{"collectTime":5}', 'collect_time must be such as'],
    ['{"touser":"hush"}', 'it has no field touser'],
  ])('%s of permits names the field', (text, words) => {
    const parsed = parseLine(PermitSchema, { number: 1, text });
    expect(parsed).toEqual({ problem: expect.stringContaining(`is not the proto3 JSON of a Permit: ${words}`) });
    expect(JSON.stringify(parsed)).not.toContain('hush');
  });

  it.each(['is longer than 1 MiB', 'is not UTF-8'] as const)('that %s is told as such', (problem) => {
    expect(parseLine(SendTemplateRequestSchema, { number: 1, problem })).toMatchObject({ problem });
  });
});

describe('results', () => {
  const NOW = Date.now();
  const HOUR = 3_600_000;
  const file = { id: 'f', lines: 9, last: 9 };
  const result = (line: number, more: Partial<Result> = {}): Result => ({
    line,
    correlation_id: String(line),
    file: 'f',
    outcome: 'sent',
    ...more,
  });

  it('are taken up where a killed run left them, torn last line and all', async () => {
    {
      using results = new ResultsFile(path);
      results.add(result(1, { message_id: '1' }));
      results.add(result(3, { outcome: 'refused', reason: 'DATA_INVALID', message: 'why' }));
      results.add(result(4, { outcome: 'retry', reason: 'UPSTREAM_BUSY' }));
      results.add(result(5, { outcome: 'unknown', reason: 'DELIVERY_UNKNOWN' }));
      results.add(result(6, { outcome: 'unknown', reason: 'DELIVERY_UNKNOWN', retry_after_s: 5 }));
    }
    await writeFile(path, `${await readFile(path, 'utf8')}{"line":7,"fi`);
    {
      using results = new ResultsFile(path);
      results.add(result(8));
    }
    const earlier = await readResults(path, file, NOW);
    expect([...earlier.done].flatMap((done, line) => (done ? [line] : []))).toEqual([1, 3, 5, 8]);
    expect(earlier).toMatchObject({ sent: 2, refused: 1, unknown: 1 });
    expect([...earlier.failures]).toEqual([
      ['DATA_INVALID', { count: 1, lines: [3], message: 'why' }],
      ['DELIVERY_UNKNOWN', { count: 1, lines: [5], message: '' }],
    ]);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('there are none before the first run', async () => {
    expect(await readResults(path, file, NOW)).toMatchObject({ sent: 0, done: new Uint8Array(10) });
  });

  it('of another content are not gone on from', async () => {
    for (const row of [result(1, { file: 'g' }), { run: new Date(NOW).toISOString(), file: 'g' }]) {
      await writeFile(path, JSON.stringify(row));
      await expect(readResults(path, file, NOW)).rejects.toThrow(/has changed since/);
      await expect(readResults(path, file, NOW)).rejects.toBeInstanceOf(Failure);
    }
  });

  it('that stand twice count once', async () => {
    {
      using results = new ResultsFile(path);
      for (let i = 0; i < 2; i++) results.add(result(1));
    }
    expect(await readResults(path, file, NOW)).toMatchObject({ sent: 1 });
  });

  describe('may only be gone on from while the broker knows what was sent', () => {
    const refused = { outcome: 'retry', reason: 'PERMIT_MISSING' } as const;
    const silent = (reason: string) => ({ outcome: 'retry', reason }) as const;
    const inDoubt = { outcome: 'unknown', reason: 'DELIVERY_UNKNOWN', retry_after_s: 5 } as const;
    const write = (...rows: (number | Result)[]) => {
      using results = new ResultsFile(path);
      for (const row of rows) {
        if (typeof row === 'number') results.start('f', NOW - row * HOUR);
        else results.add(row);
      }
    };
    const two = { ...file, lines: 2, last: 3 };

    it.each<[string, (number | Result)[]]>([
      ['a line without a result, of a run that was killed', [24, result(1)]],
      ['one of a run that was killed, whose file was written to since', [24, result(1), 1]],
      ['one of which it was not known', [24, result(1), result(3, inDoubt), 1]],
      ...['LEDGER_UNAVAILABLE', 'DRAINING', 'APP_NOT_FOUND', 'INTERNAL', ''].map(
        (reason): [string, (number | Result)[]] => [
          `one that a later run learned nothing of (${reason})`,
          [42, result(1), 20, result(3, silent(reason))],
        ],
      ),
      ['one without a result beside one that was sent at last', [24, result(1, refused), 1, result(1)]],
      [
        'one that was not sent, and then may have been by a run that was killed',
        [50, result(1), result(3, refused), 24],
      ],
    ])('not: %s', async (_, rows) => {
      write(...rows);
      await expect(readResults(path, two, NOW)).rejects.toThrow(/remembers for 24 hours/);
      await expect(readResults(path, two, NOW)).rejects.toBeInstanceOf(Failure);
    });

    it.each<[string, (number | Result)[]]>([
      ['within its time', [22, result(1)]],
      ['nothing is left', [50, result(1), result(3)]],
      ['what is left was not sent, and a blank line has no result', [50, result(1), result(3, refused)]],
      ['what is left was not sent until a run within its time', [50, result(1), result(3, refused), 22]],
    ])('yes: %s', async (_, rows) => {
      write(...rows);
      expect((await readResults(path, two, NOW)).done[1]).toBe(1);
    });
  });

  it.each<[object, Partial<Result>, boolean]>([
    [{ code: 3, reason: 'INVALID_REQUEST' }, { outcome: 'refused', code: 'INVALID_ARGUMENT' }, true],
    [{ code: 3, reason: 'IDEMPOTENCY_KEY_REUSED' }, { outcome: 'refused' }, true],
    [
      { code: 9, reason: 'CONSENT_MISSING', metadata: { errcode: '43101' } },
      { outcome: 'refused', errcode: '43101' },
      true,
    ],
    [
      { code: 9, reason: 'INTERFACE_NOT_GRANTED', metadata: { errcode: '48001' }, retryAfter: { seconds: 300n } },
      { outcome: 'retry', retry_after_s: 300 },
      false,
    ],
    [{ code: 9, reason: 'PERMIT_MISSING' }, { outcome: 'retry' }, false],
    [{ code: 5, reason: 'APP_NOT_FOUND' }, { outcome: 'retry' }, false],
    [{ code: 14, reason: 'DRAINING', retryAfter: { seconds: 1n } }, { outcome: 'retry' }, false],
    [{ code: 13, reason: 'INTERNAL' }, { outcome: 'retry' }, false],
    [{ code: 2, reason: 'DELIVERY_UNKNOWN' }, { outcome: 'unknown', code: 'UNKNOWN' }, true],
    [
      { code: 2, reason: 'DELIVERY_UNKNOWN', retryAfter: { seconds: 5n } },
      { outcome: 'unknown', retry_after_s: 5 },
      false,
    ],
  ])('a failure of case %#', (init, expected, final) => {
    const known = failureOf(create(SendFailureSchema, init));
    expect(known).toMatchObject(expected);
    expect(isFinal({ ...known, line: 1, correlation_id: '1', file: 'f' })).toBe(final);
  });
});

it('a results file that is a pipe is refused, and waits for nobody', async () => {
  execFileSync('mkfifo', [path]);
  expect(() => new ResultsFile(path)).toThrow(`the results file ${path} cannot be written: it is no regular file`);
  const reading = readResults(path, { id: 'x', lines: 1, last: 1 }, 0);
  await expect(reading).rejects.toThrow(`the results file ${path} is no regular file: move it away`);
  execFileSync('mkfifo', [`${path}.lock`]);
  expect(() => soleRun(path)).toThrow(`${path}.lock cannot be locked`);
});
