import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../src/config/load.ts';
import { Child } from './support/child.ts';
import { blocks } from './support/documents.ts';
import { Place, SECRET } from './support/lingpai.ts';

const ROOT = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const README = read('README.md');
const CHINESE = read('README.zh-CN.md');
const MESSAGES = read('docs/messages.md');
const TICKETS = read('docs/tickets.md');
const GATEWAY = read('docs/gateway.md');
const CLIENTS = read('docs/clients.md');
const DOCUMENTS = [
  'README.md',
  'README.zh-CN.md',
  'CONTRIBUTING.md',
  ...['clients', 'operations', 'cluster', 'messages', 'tickets', 'migrating', 'security', 'gateway'].map(
    (name) => `docs/${name}.md`,
  ),
  'docs/migrating.zh-CN.md',
  'docs/gateway.zh-CN.md',
];

describe('what the documents show works against the demo', () => {
  let place: Place;
  const ports: Record<string, string> = {};
  const onRealPorts = (text: string) =>
    Object.entries(ports).reduce((changed, [shown, real]) => changed.replaceAll(shown, real), text);
  beforeAll(async () => {
    place = await Place.make();
    const demo = place.lingpai(
      'demo',
      '--grpc',
      '127.0.0.1:0',
      '--http',
      '127.0.0.1:0',
      '--gateway',
      '127.0.0.1:0',
      '--sandbox',
      '127.0.0.1:0',
    );
    const ready = await demo.next('"ready"', (line) => line.msg === 'ready');
    ports['127.0.0.1:7600'] = String(ready['grpc']);
    ports['127.0.0.1:7680'] = String(ready['http']);
    ports['127.0.0.1:7670'] = String(ready['gateway']);
    ports['127.0.0.1:7690'] = new URL(String(ready['sandbox'])).host;
  });
  afterAll(() => place[Symbol.asyncDispose]());

  it.each([...blocks(README, 'sh'), ...blocks(MESSAGES, 'sh'), ...blocks(TICKETS, 'sh'), ...blocks(GATEWAY, 'sh')])(
    '%s',
    async (block) => {
      const env = { ...process.env, LINGPAI_ADDR: ports['127.0.0.1:7600'] };
      const script = ['-euo', 'pipefail', '-c', onRealPorts(block)];
      const { stdout } = await promisify(execFile)('bash', script, { cwd: ROOT, env });
      expect(stdout).not.toBe('');
      expect(stdout).not.toMatch(/"error"|"errcode": *[^0 ]/);
    },
  );

  it('the files of messages and permits are sent and deposited, and what was refused is mended', async () => {
    const [messages = '', permits = ''] = blocks(MESSAGES, 'json');
    const mend = blocks(MESSAGES, 'console').find((block) => block.startsWith('awk')) ?? '';
    const file = (name: string) => join(place.folder, name);
    const addr = ['--addr', ports['127.0.0.1:7600'] ?? ''];
    const bad = '{"appId": "wxdemostable"}\n';
    await writeFile(file('messages.ndjson'), `${messages}\n${bad}${messages}`);
    const { output } = await place.run('send', '--file', 'messages.ndjson', ...addr);
    expect(output).toContain('5 messages: 4 sent, 1 refused');
    await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', mend], { cwd: place.folder });
    expect(await readFile(file('mended.ndjson'), 'utf8')).toBe(bad);
    await writeFile(file('permits.ndjson'), permits);
    const deposited = await place.run('permits', 'wxdemostable', '--deposit', 'permits.ndjson', ...addr);
    expect(deposited).toEqual({ code: 0, output: '2 deposited, 0 known already, 0 expired\n' });
  });

  describe('the loop for a service', () => {
    const [, asking = ''] = blocks(README, 'js');
    const [watching = ''] = blocks(CLIENTS, 'js');

    /** Runs a loop with something after it that reports by JSON lines; times are a hundredth of what they are in life. */
    async function service(loop: string, addr: string, after: string): Promise<Child> {
      const quick = loop
        .replaceAll('25_000', '250')
        .replaceAll('500 + Math.random() * 9_500', '5 + Math.random() * 95');
      expect(quick !== loop).toBe(loop === watching);
      const source = quick.replaceAll('127.0.0.1:7600', addr);
      for (const name of ['node_modules', 'proto'])
        if (!existsSync(join(place.folder, name))) await symlink(join(ROOT, name), join(place.folder, name));
      const file = join(place.folder, `service-${addr.split(':')[1]}.mjs`);
      const say = 'const say = (fields) => console.log(JSON.stringify(fields));';
      await writeFile(file, `${source}\n${say}\n${after}`);
      return new Child({ name: 'the service', command: [process.execPath, file], cwd: place.folder, env: {} });
    }

    const said = (child: Child, what: string) => child.next(what, ({ msg }) => msg === what);

    const GOT = `
        const current = async () => (await ask(client.get, { appId: 'wxa' })).generation;`;
    const HELD = `
        watch('wxa');
        while (!held.current) await sleep(10);
        const current = async () => held.generation;
        keep({ generation: held.generation - 1, current: { value: 'older' } });
        say({ msg: 'older', held: held.current.value !== 'older' });`;

    it.each([
      ['that asks', asking, GOT],
      ['that watches', watching, HELD],
    ])(
      '%s reports a token that WeChat refuses, once, and repeats the call once with the one that came',
      async (_, loop, begin) => {
        // A broker of its own, which waits for nothing and finds nothing out by itself.
        await using own = await Place.make();
        await own.configure({ refresh: { cooldown: '0s', probe_interval: '0s' } });
        const { grpc } = await own.serve();
        const wechat = own.wechat.url;
        await using child = await service(
          loop,
          grpc,
          `${begin}
        const first = await current();
        const errcodes = [];
        const business = async (token) => {
          const answer = await (await fetch('${wechat}/cgi-bin/get_api_domain_ip?access_token=' + token)).json();
          errcodes.push(answer.errcode ?? 0);
          return answer;
        };
        await fetch('${wechat}/sandbox/apps/wxa/kill', {
          method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"issuer": "classic"}',
        });
        const answer = await call('wxa', business);
        say({ msg: 'called', errcodes, ok: Array.isArray(answer.ip_list), newer: (await current()) > first });
        errcodes.length = 0;
        await call('wxa', async (token) => (await business(token), { errcode: 40001 }));
        say({ msg: 'accused', errcodes });
        process.exit();`,
        );
        if (loop === watching) expect(await said(child, 'older')).toMatchObject({ held: true });
        expect(await said(child, 'called')).toMatchObject({ errcodes: [40001, 0], ok: true, newer: true });
        // WeChat accepts the token: the error is the call's own, which is not repeated.
        expect(await said(child, 'accused')).toMatchObject({ errcodes: [0] });
        expect(await child.ended()).toBe(0);
      },
    );

    it('dials anew when nothing comes on a stream', async () => {
      const [host = '', port = ''] = (ports['127.0.0.1:7600'] ?? '').split(':');
      const open: Socket[] = [];
      let dialled = 0;
      let isDead = false;
      // A middle box: the connection that it has forgotten stays open, and nothing passes.
      const box = createServer((socket) => {
        dialled++;
        const broker = connect(Number(port), host);
        open.push(socket, broker);
        for (const each of [socket, broker]) each.on('error', () => {});
        socket.on('close', () => broker.destroy());
        const forgotten = isDead;
        socket.on('data', (data) => (forgotten ? undefined : broker.write(data)));
        broker.on('data', (data) => (forgotten ? undefined : socket.write(data)));
      });
      await new Promise<void>((done) => box.listen(0, '127.0.0.1', done));
      const address = box.address();
      const boxPort = typeof address === 'object' && address ? address.port : 0;
      try {
        await using child = await service(
          watching,
          `127.0.0.1:${boxPort}`,
          `
          watch('wxdemostable');
          while (!held.current) await sleep(10);
          say({ msg: 'held' });`,
        );
        isDead = true;
        await expect.poll(() => dialled, { timeout: 20_000 }).toBeGreaterThan(2);
        isDead = false;
        await said(child, 'held');
        const before = dialled;
        await expect.poll(() => dialled, { timeout: 20_000 }).toBeGreaterThan(before + 1);
      } finally {
        for (const socket of open) socket.destroy();
        box.close();
      }
    });
  });

  it('the metrics that the documents name exist', async () => {
    const metrics = await (await fetch(`http://${ports['127.0.0.1:7680']}/metrics`)).text();
    const named = [README, CHINESE, read('docs/operations.md'), read('deploy/alerts.yaml')].join('\n');
    for (const [name] of named.matchAll(/lingpai_\w+/g)) expect(metrics).toContain(name);
  });
});

describe('services on other machines are served as the README has it, by TLS and a key', () => {
  const [config = '', secured = ''] = blocks(README, 'yaml');
  const commands = blocks(README, 'console').find((block) => block.startsWith('openssl')) ?? '';
  const [openssl = '', create = '', get = ''] = commands.trimEnd().split('\n');
  let place: Place;
  let port: string;

  /** One of its lines, for an app, names and ports that are here. */
  const here = (text: string) =>
    text.replaceAll('wx0123456789abcdef', 'wxa').replaceAll('lingpai.internal', 'localhost').replaceAll('7600', port);
  const shell = (line: string) =>
    promisify(execFile)('bash', ['-euo', 'pipefail', '-c', here(line)], {
      cwd: place.folder,
      env: { ...process.env, WX_SECRET: SECRET },
    });
  const command = `${process.execPath} --disable-warning=ExperimentalWarning ${join(ROOT, 'src/lingpai.js')}`;
  const lingpai = (line: string) => line.replace('npm run -s lingpai --', command);

  beforeAll(async () => {
    place = await Place.make();
    port = '0';
    await shell(openssl);
    const upstream = `upstream: { base_url: "${place.wechat.url}" }\nhttp: { listen: "127.0.0.1:0" }\n`;
    const text = here(`${config}${secured}`).replace('0.0.0.0', '127.0.0.1');
    await writeFile(join(place.folder, 'lingpai.yaml'), `${text}${upstream}`);
    await shell(lingpai(create));
    const broker = place.lingpaiWith({ WX_SECRET: SECRET }, 'serve');
    const ready = await broker.next('"ready"', (line) => line.msg === 'ready');
    expect(ready).toMatchObject({ access: 'rules' });
    port = String(ready['grpc']).split(':')[1] ?? '';
  });
  afterAll(() => place[Symbol.asyncDispose]());

  it('by the command line', async () => {
    const { stdout } = await shell(lingpai(get));
    expect(stdout).toContain('FRESH');
    await expect(shell(lingpai(get).replace('LINGPAI_KEY_FILE=orders.key', ''))).rejects.toThrow(/CREDENTIALS_MISSING/);
    await expect(shell(lingpai(get).replace('--ca cert.pem', ''))).rejects.toThrow(/certificate/);
  });

  it('by the loop for a service, with the two lines of docs/clients.md', async () => {
    const [, asking = ''] = blocks(README, 'js');
    const [, lines = ''] = blocks(CLIENTS, 'js');
    const [imports = '', ...rest] = lines.split('\n');
    const [, tls = '', bearer = ''] = /^(const tls.*\n)([\s\S]*)$/m.exec(rest.join('\n')) ?? [];
    const source = asking
      .replace('const options', `${tls}${bearer}const options`)
      .replace('grpc.credentials.createInsecure()', 'tls')
      .replace('method.call(client, request, {', 'method.call(client, request, bearer(), {')
      .replace('127.0.0.1:7600', `localhost:${port}`);
    const after =
      "await call('wxa', async (token) => (console.log(JSON.stringify({ msg: 'called', ok: token.length > 10 })), {}));";
    for (const name of ['node_modules', 'proto']) await symlink(join(ROOT, name), join(place.folder, name));
    const file = join(place.folder, 'service.mjs');
    await writeFile(file, `${imports}\n${source}\n${after}\nprocess.exit();`);
    const env = { LINGPAI_CA: 'cert.pem', LINGPAI_KEY_FILE: 'orders.key' };
    await using child = new Child({ name: 'the service', command: [process.execPath, file], cwd: place.folder, env });
    expect(await child.next('a call', ({ msg }) => msg === 'called')).toMatchObject({ ok: true });
  });
});

it('the lines that move an SDK are those of docs/gateway.md, which the trial of SDKs runs', () => {
  const [moving = ''] = blocks(README, 'js');
  expect(moving).toContain('new API(APP_ID, KEY)');
  for (const page of ['docs/gateway.md', 'docs/gateway.zh-CN.md']) expect(blocks(read(page), 'js')).toContain(moving);
});

it('the README is for deciding, and has at most 120 lines', () => {
  expect(README.trimEnd().split('\n').length).toBeLessThanOrEqual(120);
});

it('the configurations that are shown are valid', async () => {
  const [first = '', secured = ''] = blocks(README, 'yaml');
  expect(secured).toMatch(/^grpc:.*\ntls:.*\naccess:.*\n$/);
  for (const block of [first, ...blocks(read('docs/cluster.md'), 'yaml')]) {
    const config = await loadConfig('lingpai.yaml', { WX_SECRET: 'x' }, { read: async () => block });
    expect(config.apps).toHaveLength(1);
  }
});

/** What else is written like a setting: files, events of the audit log, a service and a channel's option of gRPC. */
const NO_SETTING = /^(messages\.ndjson|gateway\.called|access\.denied|grpc\.health|grpc\.enable_http_proxy)$/;

/** The settings that a text names, by a section and a key in backquotes. */
function settingsIn(text: string): Set<string> {
  const named = text.matchAll(
    /`((?:grpc|http|gateway|store|upstream|refresh|watch|messages|review|cluster|tls|access|apps\[\])\.[a-z_]+)/g,
  );
  return new Set([...named].map(([, name = '']) => name).filter((name) => !NO_SETTING.test(name)));
}

describe('the settings', () => {
  const listed = settingsIn(read('docs/reference.md'));
  it.each(DOCUMENTS)('that %s names exist', (file) => {
    expect([...settingsIn(read(file))].filter((name) => !listed.has(name))).toEqual([]);
  });

  it.each([
    ['README.md', 'README.zh-CN.md'],
    ['docs/migrating.md', 'docs/migrating.zh-CN.md'],
    ['docs/gateway.md', 'docs/gateway.zh-CN.md'],
  ])('of %s are those of %s', (english, chinese) => {
    expect(settingsIn(read(chinese))).toEqual(settingsIn(read(english)));
  });
});

it.each(['go', 'python', 'java'])('the %s snippets of docs/clients.md stand in the example', (language) => {
  const folder = join(ROOT, 'examples/stubs', language);
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(go|py|java)$/.test(file) && !/(^|\/)(gen|target|\.venv)\//.test(file))
    .map((file) => readFileSync(join(folder, file), 'utf8'));
  const [, own = ''] = read('docs/clients.md').split('## The rules');
  const snippets = blocks(own, language);
  expect(snippets.length).toBeGreaterThan(0);
  for (const snippet of snippets) expect(sources.some((source) => source.includes(snippet))).toBe(true);
});

it.each(['go', 'python', 'java', 'node'])(
  'the %s example reads the environment that examples/stubs/README.md names',
  (language) => {
    const named = [...read('examples/stubs/README.md').matchAll(/^\| (`LINGPAI_.*?) \|/gm)].flatMap(
      ([, cell = '']) => cell.match(/LINGPAI_\w+/g) ?? [],
    );
    expect(named.length).toBe(7);
    const folder = join(ROOT, 'examples/stubs', language);
    const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.(go|py|java|js)$/.test(file) && !/(^|\/)(gen|target|\.venv|node_modules)\//.test(file))
      .map((file) => readFileSync(join(folder, file), 'utf8'))
      .join('\n');
    expect(named.filter((name) => !sources.includes(name))).toEqual([]);
  },
);

describe('docs/migrating.md names what is there', () => {
  const page = read('docs/migrating.md');

  it('in the examples', () => {
    const links = [...page.matchAll(/\[([\w.]+)\]\(\.\.\/(examples\/stubs\/\w+)\)/g)].filter(([, name]) =>
      /Source$/.test(name ?? ''),
    );
    expect(links).not.toHaveLength(0);
    for (const [, name = '', folder = ''] of links) {
      const files = readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' });
      const sources = files
        .filter((file) => /[sS]ource\.(go|py|java)$/.test(file))
        .map((file) => read(join(folder, file)));
      expect(sources.join('\n')).toMatch(new RegExp(`(?:class|type) ${name.split('.').at(-1)}\\b`));
    }
  });

  it('in the protos', () => {
    const [snippet = ''] = blocks(page, 'python');
    const proto = read('proto/lingpai/v1/token.proto');
    const named = snippet.matchAll(/(?<=\b(?:pb|message|state|token|expire_time)\.)\w+|\w+(?==\[)/g);
    const names = [...named].map(([name]) => name).filter((name) => name !== 'seconds');
    expect(new Set(names)).toEqual(
      new Set(['WatchTokenRequest', 'app_ids', 'state', 'current', 'value', 'expire_time', 'server_time']),
    );
    for (const name of names) expect(proto).toMatch(new RegExp(`\\b${name}\\b`));
  });
});

it('npm runs every script that is named', () => {
  const { scripts } = JSON.parse(read('package.json'));
  const commands = DOCUMENTS.flatMap((file) => blocks(read(file), '(?:sh|console)')).join('\n');
  for (const [, script = ''] of commands.matchAll(/npm run (?:-s )?(\w+)/g))
    expect(Object.keys(scripts)).toContain(script);
});

it.each(DOCUMENTS)('the links of %s lead somewhere', (file) => {
  for (const [, link = '', anchor = ''] of read(file).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)) {
    const target = join(ROOT, dirname(file), link);
    expect({ link, there: existsSync(target) }).toEqual({ link, there: true });
    if (anchor !== '') expect(anchorsOf(readFileSync(target, 'utf8'))).toContain(anchor);
  }
});

/** As GitHub makes them of headings. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

it('the Chinese documents have the same snippets', () => {
  for (const language of ['sh', 'console', 'json', 'yaml', 'js', 'python']) {
    expect(blocks(CHINESE, language)).toEqual(blocks(README, language));
    for (const page of ['migrating', 'gateway'])
      expect(blocks(read(`docs/${page}.zh-CN.md`), language)).toEqual(blocks(read(`docs/${page}.md`), language));
  }
});
