import { join } from 'node:path';
import { type Command, type Foreign, root, venv } from '../support/foreign.ts';

/** A real SDK, and a driver that has it carry out orders: `serve.mjs` says how it is spoken to. */
export interface Sdk extends Foreign {
  readonly start: Command;
  readonly env: Readonly<Record<string, string>>;
}

const folderOf = (name: string) => join(import.meta.dirname, name);

/** Every SDK that the gateway is tried with. */
export const sdks: readonly Sdk[] = [
  node('co-wechat-api'),
  node('wechat-api'),
  node('node-easywechat'),
  python('wechatpy'),
  python('werobot'),
  {
    name: 'silenceper',
    folder: folderOf('silenceper'),
    tools: [{ command: ['go', 'version'], atLeast: [1, 26] }],
    build: [['go', 'build', '-o', 'target/driver', '.']],
    start: [join(folderOf('silenceper'), 'target/driver')],
    env: {},
  },
  java('wxjava-mp', 'lingpai.sdk.Mp'),
  java('wxjava-miniapp', 'lingpai.sdk.MiniApp'),
];

// Each SDK logs all that it can, but for the bytes of files.

function node(name: string): Sdk {
  return {
    name,
    folder: folderOf(name),
    tools: [{ command: ['npm', '--version'], atLeast: [10, 0] }],
    build: [['npm', 'ci', '--ignore-scripts']],
    start: [process.execPath, join(folderOf(name), 'driver.mjs')],
    env: { DEBUG: '*,-httpx:body' },
  };
}

function python(name: string): Sdk {
  return {
    name,
    folder: folderOf(name),
    tools: [{ command: ['python3', '--version'], atLeast: [3, 11] }],
    build: venv,
    start: [join(root, 'test/sdk', name, '.venv/bin/python'), join(folderOf(name), 'driver.py')],
    env: { PYTHONDONTWRITEBYTECODE: '1' },
  };
}

function java(name: string, main: string): Sdk {
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
      ...['-Dorg.slf4j.simpleLogger.log.org.apache.http.wire=info', '-cp', join(folder, 'target/driver.jar'), main],
    ],
    env: {},
  };
}
