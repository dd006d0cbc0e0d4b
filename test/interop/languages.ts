import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { end } from '../support/child.ts';

/** The root of this repository. */
export const root = join(import.meta.dirname, '..', '..');

const run = promisify(execFile);

/** A command and its arguments. */
export type Command = readonly [string, ...string[]];

/** One example service: what it needs, how it is built and how it is started. */
export interface Language {
  readonly name: string;
  readonly folder: string;
  /** Each tool with what says its version, and the least version that will do. */
  readonly tools: readonly { readonly command: Command; readonly atLeast: readonly [number, number] }[];
  readonly build: readonly Command[];
  readonly start: Command;
  readonly env: Readonly<Record<string, string>>;
  /** An address that leads to 127.0.0.1, for which the language's gRPC would ask an HTTP proxy that the environment names. */
  readonly host: string;
  /** An address that leads to 127.0.0.1, which the example does not take for loopback. */
  readonly elsewhere: string;
  /** Its gRPC never closes a connection on which nothing has come yet. */
  readonly leavesUnanswered?: true;
  /** The exit code after SIGTERM. */
  readonly terminatedCode: number;
}

const goFolder = join(root, 'examples/go');
const pythonFolder = join(root, 'examples/python');
const javaFolder = join(root, 'examples/java');
const nodeFolder = join(root, 'examples/node');
const python = join(pythonFolder, '.venv/bin/python');

/** Every language that has an example. */
export const languages: readonly Language[] = [
  {
    name: 'go',
    folder: goFolder,
    tools: [{ command: ['go', 'version'], atLeast: [1, 26] }],
    build: [
      ['go', 'build', 'tool'], // else buf, which starts both plugins at once, has them compiled twice
      ['go', 'generate', './...'],
      ['go', 'build', '-o', 'target/token-service', '.'],
    ],
    start: [join(goFolder, 'target/token-service')],
    env: {},
    host: '0.0.0.0', // it asks no proxy for 127.0.0.1
    elsewhere: '0.0.0.0',
    terminatedCode: 0,
  },
  {
    name: 'python',
    folder: pythonFolder,
    tools: [{ command: ['python3', '--version'], atLeast: [3, 11] }],
    build: [
      ['python3', '-m', 'venv', '.venv'],
      [python, '-m', 'pip', 'install', '--quiet', '--requirement', 'requirements.txt'],
      [
        ...[python, '-m', 'grpc_tools.protoc', '-I', '../../proto'],
        ...['--python_out=gen', '--pyi_out=gen', '--grpc_python_out=gen'],
        ...['lingpai/v1/token.proto', 'lingpai/v1/error.proto'],
      ] as unknown as Command,
    ],
    start: [python, join(pythonFolder, 'main.py')],
    env: { PYTHONPATH: join(pythonFolder, 'gen') },
    host: '127.0.0.1',
    elsewhere: '0.0.0.0',
    terminatedCode: 0,
  },
  {
    name: 'java',
    folder: javaFolder,
    tools: [
      { command: ['javac', '-version'], atLeast: [17, 0] },
      { command: ['mvn', '--version'], atLeast: [3, 6] },
    ],
    build: [['mvn', '--batch-mode', '--quiet', '--no-transfer-progress', 'package']],
    start: ['java', '-jar', join(javaFolder, 'target/token-service.jar')],
    env: {},
    host: '127.0.0.1',
    elsewhere: '[::ffff:127.0.0.1]', // Netty reaches nobody by 0.0.0.0
    terminatedCode: 143, // what a JVM ends with after SIGTERM, once its shutdown hooks have run
  },
  {
    name: 'node',
    folder: nodeFolder,
    tools: [
      { command: ['node', '--version'], atLeast: [20, 11] },
      { command: ['npm', '--version'], atLeast: [9, 0] },
    ],
    build: [['npm', 'install', '--no-package-lock', '--no-audit', '--no-fund', '--silent']],
    start: ['node', join(nodeFolder, 'main.js')],
    env: {},
    host: '127.0.0.1',
    elsewhere: '0.0.0.0',
    leavesUnanswered: true,
    terminatedCode: 0,
  },
];

/** What is missing to build a language's example, in words; undefined when nothing is. */
export async function missing(language: Language): Promise<string | undefined> {
  for (const { command, atLeast } of language.tools) {
    const [file, ...args] = command;
    const wanted = `${file} ${atLeast.join('.')} or newer`;
    const answer = await run(file, args).catch(() => undefined);
    if (!answer) return `${wanted} is not installed`;
    const [, major, minor = '0'] = /(\d+)\.(\d+)/.exec(`${answer.stdout}${answer.stderr}`) ?? [];
    const enough = Number(major) > atLeast[0] || (Number(major) === atLeast[0] && Number(minor) >= atLeast[1]);
    if (!enough) return `${wanted} is needed, ${major ?? '?'}.${minor} is installed`;
  }
  return undefined;
}

/** Builds a language's example into the ignored folders beside its source. Rejects with what the failed step printed. */
export async function build(language: Language): Promise<void> {
  if (language.name === 'python') await mkdir(join(language.folder, 'gen'), { recursive: true });
  // `go generate` calls buf, which is one of this repository's own tools.
  const bin = join(root, 'node_modules/.bin');
  const { PATH = '' } = process.env;
  const env = { ...process.env, PATH: `${bin}${delimiter}${PATH}` };
  for (const [file, ...args] of language.build) {
    if (file === 'python3' && existsSync(python)) continue;
    try {
      await run(file, args, { cwd: language.folder, env, maxBuffer: 64 << 20, signal: end });
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
      const printed = `${stdout}${stderr}`.trimEnd().split('\n').slice(-30).join('\n');
      throw new Error(`${language.name}: "${[file, ...args].join(' ')}" failed:\n${printed}`, { cause: error });
    }
  }
}
