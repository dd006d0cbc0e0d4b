import { execFile, execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Bug, edited } from './bug.ts';
import type { Report } from './verdict.ts';

const ROOT = join(import.meta.dirname, '../..');
/** What the tests of the museum need of the repository, beside the files at its root. */
const FOLDERS = /^(?:docs|src|test|proto|third_party|clients\/node\/src)\/|^[^/]+$/;
/** A program that runs longer is taken to run for ever. */
const LIMIT_MS = 60_000;
/** Tests that catch a bug take a second or two; one that hangs must not take half a minute. */
const TEST_TIMEOUT_MS = 10_000;
/** A bug may leave a variable unused. */
const TSCONFIG = {
  extends: './tsconfig.json',
  compilerOptions: {
    noUnusedLocals: false,
    noUnusedParameters: false,
    incremental: true,
    tsBuildInfoFile: 'museum.tsbuildinfo',
  },
  include: ['src'],
};

/** A copy of the working tree, with its uncommitted changes, in which bugs are put back. */
export class Workshop implements Disposable {
  readonly #root = mkdtempSync(join(tmpdir(), 'lingpai-museum-'));

  constructor() {
    const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    // A file that was deleted but not yet committed is still listed.
    for (const file of new Set(
      listed.split('\0').filter((name) => FOLDERS.test(name) && existsSync(join(ROOT, name))),
    )) {
      cpSync(join(ROOT, file), join(this.#root, file));
    }
    symlinkSync(join(ROOT, 'node_modules'), join(this.#root, 'node_modules'));
    writeFileSync(join(this.#root, 'tsconfig.museum.json'), JSON.stringify(TSCONFIG));
  }

  /** Makes the edits and returns what undoes them. Throws, with nothing changed, when one of them no longer fits. */
  putBack(bug: Bug): () => void {
    const originals = new Map<string, string>();
    const texts = new Map<string, string>();
    for (const edit of bug.edits) {
      const path = join(this.#root, edit.file);
      const text = texts.get(path) ?? readFileSync(path, 'utf8');
      if (!texts.has(path)) originals.set(path, text);
      texts.set(path, edited(text, edit));
    }
    for (const [path, text] of texts) writeFileSync(path, text);
    return () => {
      for (const [path, text] of originals) writeFileSync(path, text);
    };
  }

  /** The compiler's first complaint about `src`; undefined: it has none. */
  async complaint(): Promise<string | undefined> {
    const output = await this.#run('typescript/bin/tsc', '--pretty', 'false', '-p', 'tsconfig.museum.json');
    return output.split('\n').find((line) => line.includes('error TS'));
  }

  /** Runs the tests of these names. Rejects when vitest cannot be started or does not come to an end. */
  async test(wanted: readonly Bug['caughtBy'][], run: { bail: boolean }): Promise<Report> {
    const files = new Set(wanted.map(({ file }) => file));
    const names = new Set(wanted.map(({ test }) => RegExp.escape(test)));
    const limits = run.bail ? ['--bail', '1', '--maxWorkers', '1', '--testTimeout', String(TEST_TIMEOUT_MS)] : [];
    const outputFile = join(this.#root, 'museum-report.json');
    rmSync(outputFile, { force: true });
    const output = await this.#run(
      'vitest/vitest.mjs',
      'run',
      ...['--reporter', 'json', '--outputFile', outputFile, '--no-cache', '--no-fsModuleCache', '--pool', 'threads'],
      ...['-t', [...names].join('|'), ...limits, ...files],
    );
    if (!existsSync(outputFile)) throw new Error(`vitest made no report: ${output.trim().split('\n').at(-1)}`);
    return JSON.parse(readFileSync(outputFile, 'utf8'));
  }

  [Symbol.dispose](): void {
    rmSync(this.#root, { recursive: true, force: true });
  }

  /** Runs a program of `node_modules` to its end, good or bad, and returns what it printed. */
  #run(program: string, ...args: string[]): Promise<string> {
    const command = [join(this.#root, 'node_modules', program), ...args];
    // In CI vitest's configuration asks for a report of its own.
    const env = { ...process.env, CI: '' };
    const options = { cwd: this.#root, env, timeout: LIMIT_MS, killSignal: 'SIGKILL', maxBuffer: 2 ** 28 } as const;
    return new Promise((resolve, reject) => {
      execFile(process.execPath, command, options, (error, stdout, stderr) => {
        if (error?.killed) reject(new Error(`it ran for more than ${LIMIT_MS / 1_000} s`));
        else resolve(stdout + stderr);
      });
    });
  }
}
