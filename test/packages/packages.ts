import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Names } from '../../clients/rename.ts';
import { type Command, type Foreign, root } from '../support/foreign.ts';

/** A client library as it is published. */
export interface Package extends Foreign {
  /** Which of the broker's ports the library speaks to. */
  readonly speaks: 'grpc' | 'http';
  /** The language of its README's first block, and the file that the block is written to. */
  readonly program: readonly [language: string, file: string];
  /** More files of the fresh folder, by name. `packed` is the folder that holds what was packed. */
  files?(packed: string): Readonly<Record<string, string>>;
  /** Run in the folder of the library: puts what would be published into `packed`. */
  pack?(packed: string): readonly Command[];
  /** Ways to install it and run the program, each in a fresh folder: the last command of each runs the program. */
  readonly ways: Readonly<Record<string, (packed: string) => readonly Command[]>>;
}

const folder = (language: string) => join(root, 'clients', language);
const names: Names = JSON.parse(readFileSync(join(root, 'clients/names.json'), 'utf8'));
const { version }: { version: string } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const maven = ['mvn', '--batch-mode', '--quiet', '--no-transfer-progress'] as const;

/** Every library. */
export const packages: readonly Package[] = [
  {
    name: 'go',
    folder: folder('go'),
    tools: [{ command: ['go', 'version'], atLeast: [1, 24] }],
    build: [],
    speaks: 'grpc',
    program: ['go', 'main.go'],
    files: () => ({
      'go.mod': `module fresh.test/try\n\ngo 1.24\n\nrequire ${names.go} v0.0.0\n\nreplace ${names.go} => ${folder('go')}\n`,
    }),
    ways: {
      'a module by a replace line': () => [
        ['go', 'mod', 'tidy'],
        ['go', 'list', names.go],
        ['go', 'run', '.'],
      ],
    },
  },
  {
    name: 'java',
    folder: folder('java'),
    tools: [
      { command: ['javac', '-version'], atLeast: [17, 0] },
      { command: ['mvn', '--version'], atLeast: [3, 6] },
    ],
    build: [],
    speaks: 'http',
    program: ['java', 'Example.java'],
    files: () => ({ 'pom.xml': pom }),
    pack: () => [[...maven, '-DskipTests', 'install']],
    ways: {
      'a project of Maven': () => [
        [...maven, 'dependency:copy-dependencies'],
        ['java', '-cp', 'target/dependency/*', 'Example.java'],
      ],
    },
  },
  {
    name: 'node',
    folder: folder('node'),
    tools: [
      { command: ['node', '--version'], atLeast: [20, 19] },
      { command: ['npm', '--version'], atLeast: [9, 0] },
    ],
    build: [['npm', 'install', '--no-package-lock', '--no-audit', '--no-fund', '--silent']],
    speaks: 'grpc',
    program: ['js', 'example.mjs'],
    files: () => ({ 'package.json': '{ "private": true }', 'common.cjs': `require('${names.npm}').connect.name` }),
    pack: (packed) => [['npm', 'pack', '--silent', '--pack-destination', packed]],
    ways: {
      'npm install': (packed) => [
        ['sh', '-c', `npm install --no-audit --no-fund --silent ${packed}/*.tgz`],
        ['node', 'common.cjs'],
        ['node', 'example.mjs'],
      ],
      'npm install on the oldest Node': (packed) => [
        ['sh', '-c', `npm install --no-audit --no-fund --silent ${packed}/*.tgz node@20.19.0`],
        ['node_modules/.bin/node', 'common.cjs'],
        ['node_modules/.bin/node', 'example.mjs'],
      ],
    },
  },
  {
    name: 'python',
    folder: folder('python'),
    tools: [{ command: ['python3', '--version'], atLeast: [3, 9] }],
    build: [],
    speaks: 'http',
    program: ['python', 'example.py'],
    pack: (packed) => [
      ['python3', '-m', 'venv', `${packed}/venv`],
      [`${packed}/venv/bin/pip`, 'install', '--quiet', 'build'],
      [`${packed}/venv/bin/python`, '-m', 'build', '--outdir', packed, '.'],
    ],
    ways: { wheel: (packed) => inVenv(`${packed}/*.whl`), sdist: (packed) => inVenv(`${packed}/*.tar.gz`) },
  },
  {
    name: 'rust',
    folder: folder('rust'),
    tools: [{ command: ['cargo', '--version'], atLeast: [1, 88] }],
    build: [],
    speaks: 'grpc',
    program: ['rust', 'src/main.rs'],
    files: (packed) => ({ 'Cargo.toml': cargo(`${packed}/lingpai-${version}`) }),
    pack: (packed) => [
      ['cargo', 'package', '--quiet', '--allow-dirty', '--package', 'lingpai'],
      ['tar', '--extract', '--gzip', '--file', `target/package/lingpai-${version}.crate`, '--directory', packed],
    ],
    ways: {
      // What the library's own build has compiled is not compiled again.
      'a crate': () => [['cargo', 'run', '--quiet', '--target-dir', join(folder('rust'), 'target/fresh')]],
    },
  },
];

function inVenv(what: string): readonly Command[] {
  return [
    ['python3', '-m', 'venv', '.venv'],
    ['sh', '-c', `.venv/bin/pip install --quiet ${what}`],
    ['sh', '-c', 'test -f .venv/lib/python3*/site-packages/lingpai/py.typed'],
    ['.venv/bin/python', 'example.py'],
  ];
}

function cargo(path: string): string {
  return `[package]
name = "fresh"
version = "0.0.0"
edition = "2024"

[dependencies]
lingpai = { path = "${path}" }
tokio = { version = "1", features = ["macros", "rt-multi-thread"] }

[workspace]
`;
}

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>fresh</groupId>
  <artifactId>fresh</artifactId>
  <version>0</version>
  <dependencyManagement>
    <dependencies>
      <dependency>
        <groupId>${names.maven}</groupId>
        <artifactId>lingpai-bom</artifactId>
        <version>${version}</version>
        <type>pom</type>
        <scope>import</scope>
      </dependency>
    </dependencies>
  </dependencyManagement>
  <dependencies>
    <dependency>
      <groupId>${names.maven}</groupId>
      <artifactId>lingpai-client</artifactId>
    </dependency>
  </dependencies>
</project>
`;
