import { readText } from '../config/files.ts';
import { Effort } from '../core/review/effort.ts';
import { review as findingsOf } from '../core/review/review.ts';
import { REVIEW_WORDS } from '../core/review/words.ts';
import { counted } from './counted.ts';
import { Failure } from './exit.ts';
import type { Io } from './io.ts';
import { asLines, jsonLine, print } from './output.ts';
import { readConfig } from './serve.ts';
import { unreadable } from './unreadable.ts';

/** `lingpai review`: WeChat's review rules, without a broker. Exit code 1: there is something to object to. */
export async function review(
  options: {
    title: string;
    keyword?: readonly string[];
    existing?: string;
    config?: string;
    json?: boolean;
  },
  io: Io,
): Promise<void> {
  const { title, keyword = [], existing, config, json = false } = options;
  if (title.trim() === '') throw new Failure('--title is empty: write the title as users are to read it', 2);
  const words = config === undefined ? REVIEW_WORDS : (await readConfig(config)).reviewWords;
  const existingTitles = existing === undefined ? [] : await readTitles(existing);
  const template = { title, keywords: keyword.map(toKeyword), existingTitles };
  const reviewed = await findingsOf(template, words, new Effort(() => Promise.resolve()));
  if ('violations' in reviewed) {
    const problems = reviewed.violations.map(({ field, description }) => `\n  ${field} ${description}`);
    throw new Failure(`the template cannot be checked:${problems.join('')}`, 2);
  }
  const found = reviewed.findings;
  if (json) print(jsonLine({ findings: found }), io);
  else {
    print(asLines(found.map(({ rule, message }) => `${rule}  ${message}`)), io);
    if (found.length === 0) print('nothing to object to\n', io);
  }
  if (found.length > 0) throw new Failure(counted(found.length, 'finding'));
}

function toKeyword(text: string): { name: string; example: string } {
  const at = text.indexOf('=');
  return at < 0 ? { name: text, example: '' } : { name: text.slice(0, at), example: text.slice(at + 1) };
}

async function readTitles(path: string): Promise<string[]> {
  const text = await readText(path).catch((error: unknown) => {
    throw unreadable('--existing', path, error);
  });
  return text.split(/\r?\n/).flatMap((line) => line.trim() || []);
}
