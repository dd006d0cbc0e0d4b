import { join } from 'node:path';
import { type Command, type Foreign, root, venv } from '../support/foreign.ts';

/** One example service on stock stubs: what it needs, how it is built and how it is started. */
export interface Language extends Foreign {
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

const goFolder = join(root, 'examples/stubs/go');
const pythonFolder = join(root, 'examples/stubs/python');
const javaFolder = join(root, 'examples/stubs/java');
const nodeFolder = join(root, 'examples/stubs/node');

/** Every language that has an example on stubs. */
export const languages: readonly Language[] = [
  {
    name: 'go-stubs',
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
    name: 'python-stubs',
    folder: pythonFolder,
    tools: [{ command: ['python3', '--version'], atLeast: [3, 11] }],
    build: [
      ...venv,
      ['mkdir', '-p', 'gen'],
      [
        ...(['.venv/bin/python', '-m', 'grpc_tools.protoc', '-I', '../../../proto'] as const),
        ...['--python_out=gen', '--pyi_out=gen', '--grpc_python_out=gen'],
        ...['lingpai/v1/token.proto', 'lingpai/v1/error.proto'],
      ],
    ],
    start: [join(pythonFolder, '.venv/bin/python'), join(pythonFolder, 'main.py')],
    env: { PYTHONPATH: join(pythonFolder, 'gen') },
    host: '127.0.0.1',
    elsewhere: '0.0.0.0',
    terminatedCode: 0,
  },
  {
    name: 'java-stubs',
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
    name: 'node-stubs',
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
