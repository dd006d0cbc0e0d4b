import { join } from 'node:path';
import { type Command, type Foreign, root, venv } from '../support/foreign.ts';

/** A real SDK, and a driver that has it carry out orders: `serve.mjs` says how it is spoken to. */
export interface Sdk extends Foreign {
  readonly start: Command;
  readonly env: Readonly<Record<string, string>>;
  /** The source of the driver, below this folder: between the marks are the lines that move the SDK to the gateway. */
  readonly driver: string;
  /** The path of a call that is not below /cgi-bin/; what has SDKs' URLs in several places is tried with one that is hard to move. */
  readonly elsewhere: string;
}

const folderOf = (name: string) => join(import.meta.dirname, name);

/** Every SDK that the gateway is tried with. */
export const sdks: readonly Sdk[] = [
  node('co-wechat-api', '/card/getcolors'),
  node('wechat-api', '/card/getcolors'),
  node('node-easywechat', '/card/getcolors'),
  python('wechatpy', '/card/getcolors'),
  python('werobot', '/customservice/kfaccount/uploadheadimg'),
  {
    name: 'silenceper',
    folder: folderOf('silenceper'),
    tools: [{ command: ['go', 'version'], atLeast: [1, 26] }],
    build: [['go', 'build', '-o', 'target/driver', '.']],
    start: [join(folderOf('silenceper'), 'target/driver')],
    env: {},
    driver: 'silenceper/driver.go',
    elsewhere: '/datacube/getusersummary',
  },
  java('wxjava-mp', 'Mp', '/datacube/getusersummary'),
  java('wxjava-miniapp', 'MiniApp', '/datacube/getweanalysisappiddailysummarytrend'),
];

// Each SDK logs all that it can, but for the bytes of files.

function node(name: string, elsewhere: string): Sdk {
  return {
    name,
    folder: folderOf(name),
    tools: [{ command: ['npm', '--version'], atLeast: [10, 0] }],
    build: [['npm', 'ci', '--ignore-scripts']],
    start: [process.execPath, join(folderOf(name), 'driver.mjs')],
    env: { DEBUG: '*,-httpx:body' },
    driver: `${name}/driver.mjs`,
    elsewhere,
  };
}

function python(name: string, elsewhere: string): Sdk {
  return {
    name,
    folder: folderOf(name),
    tools: [{ command: ['python3', '--version'], atLeast: [3, 11] }],
    build: venv,
    start: [join(root, 'test/sdk', name, '.venv/bin/python'), join(folderOf(name), 'driver.py')],
    env: { PYTHONDONTWRITEBYTECODE: '1' },
    driver: `${name}/driver.py`,
    elsewhere,
  };
}

function java(name: string, main: string, elsewhere: string): Sdk {
  const folder = folderOf('wxjava');
  return {
    name,
    folder,
    tools: [
      { command: ['javac', '-version'], atLeast: [17, 0] },
      { command: ['mvn', '--version'], atLeast: [3, 6] },
    ],
    build: [['mvn', '--batch-mode', '--quiet', '--no-transfer-progress', 'package']],
    start: [
      ...(['java', '-Xmx256m', '-Dorg.slf4j.simpleLogger.defaultLogLevel=debug'] as const),
      ...[
        '-Dorg.slf4j.simpleLogger.log.org.apache.http.wire=info',
        '-cp',
        join(folder, 'target/driver.jar'),
        `lingpai.sdk.${main}`,
      ],
    ],
    env: {},
    driver: `wxjava/src/main/java/lingpai/sdk/${main}.java`,
    elsewhere,
  };
}
