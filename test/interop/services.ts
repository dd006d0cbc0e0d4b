import { join } from 'node:path';
import { type Command, type Foreign, root, venv } from '../support/foreign.ts';

/** A small service on its language's client library. */
export interface ServiceExample extends Foreign {
  readonly start: Command;
  /** Which of the broker's ports its library speaks to. */
  readonly speaks: 'grpc' | 'http';
  /** The exit code after SIGTERM. */
  readonly terminatedCode: number;
}

const folder = (language: string) => join(root, 'examples', language);

/** Every language that has a library. */
export const services: readonly ServiceExample[] = [
  {
    name: 'go',
    folder: folder('go'),
    tools: [{ command: ['go', 'version'], atLeast: [1, 24] }],
    build: [['go', 'build', '-o', 'target/token-service', '.']],
    start: [join(folder('go'), 'target/token-service')],
    speaks: 'grpc',
    terminatedCode: 0,
  },
  {
    name: 'python',
    folder: folder('python'),
    tools: [{ command: ['python3', '--version'], atLeast: [3, 9] }],
    build: venv,
    start: [join(folder('python'), '.venv/bin/python'), join(folder('python'), 'main.py')],
    speaks: 'http',
    terminatedCode: 0,
  },
  {
    name: 'java',
    folder: folder('java'),
    tools: [
      { command: ['javac', '-version'], atLeast: [17, 0] },
      { command: ['mvn', '--version'], atLeast: [3, 6] },
    ],
    build: [
      [
        ...(['mvn', '--batch-mode', '--quiet', '--no-transfer-progress', '--file', '../../clients/java'] as const),
        ...['--projects', 'client', '--also-make', '-DskipTests', 'install'],
      ],
      ['mvn', '--batch-mode', '--quiet', '--no-transfer-progress', 'package'],
    ],
    start: ['java', '-jar', join(folder('java'), 'target/token-service.jar')],
    speaks: 'http',
    terminatedCode: 143, // what a JVM ends with after SIGTERM, once its shutdown hooks have run
  },
  {
    name: 'node',
    folder: folder('node'),
    tools: [
      { command: ['node', '--version'], atLeast: [20, 19] },
      { command: ['npm', '--version'], atLeast: [9, 0] },
    ],
    build: [
      ['sh', '../../clients/node/conformance/build.sh'],
      ['npm', 'install', '--no-package-lock', '--no-audit', '--no-fund', '--silent'],
    ],
    start: ['node', join(folder('node'), 'main.js')],
    speaks: 'grpc',
    terminatedCode: 0,
  },
  {
    name: 'rust',
    folder: folder('rust'),
    tools: [{ command: ['cargo', '--version'], atLeast: [1, 88] }],
    build: [['cargo', 'build', '--quiet']],
    start: [join(folder('rust'), 'target/debug/token-service')],
    speaks: 'grpc',
    terminatedCode: 0,
  },
];
