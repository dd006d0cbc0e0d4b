import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { loadConfig } from '../src/config/load.ts';
import { issue } from './support/certificates.ts';

// No Kubernetes, systemd or Prometheus runs here: these are the pieces that must fit the broker.
const ROOT = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const DOCKERFILE = read('Dockerfile');
const [, CONFIG = ''] = /^CMD .*"([^"]+)"\]$/m.exec(DOCKERFILE) ?? [];
const PORTS = { grpc: 7600, http: 7680 };
/** A drain takes up to 25 s, and what ends a process sooner breaks it off. */
const DRAIN_S = 25;

it('the ports are the defaults', async () => {
  const config = await loadConfig('x.yaml', {}, { read: async () => 'apps: [{ app_id: wxa, secret: x }]' });
  expect({ grpc: config.grpc.port, http: config.http.port }).toEqual(PORTS);
});

const PAIR = issue();
const REDIS = 'redis://:password@redis:6379';

/** What a file would hold that a configuration names so. */
function contentOf(path: string): string {
  if (/\.(crt|pem)$/.test(path)) return PAIR.cert;
  if (/tls\.key$/.test(path)) return PAIR.key;
  return path.endsWith('redis-url') ? REDIS : 'x';
}

/** A configuration at a path, whose files are all there, and which files it names. */
async function configOf(path: string, text: string) {
  const files = new Set<string>();
  const read = async (file: string) => {
    if (file === path) return text;
    files.add(file);
    return contentOf(file);
  };
  return { ...(await loadConfig(path, {}, { read })), files: [...files] };
}

/** A Kubernetes file's documents, and the one of a kind, of whatever shape it is. */
function manifest(path: string) {
  const documents = parseAllDocuments(read(path), { version: '1.1' }); // as Kubernetes reads it: 0440 is octal
  expect(documents.flatMap(({ errors }) => errors)).toEqual([]);
  const all = documents.map((document) => document.toJS());
  return { kinds: all.map(({ kind }) => kind), of: (kind: string) => all.find((each) => each.kind === kind) };
}

describe('deploy/kubernetes.yaml', () => {
  const text = read('deploy/kubernetes.yaml');
  const { kinds, of } = manifest('deploy/kubernetes.yaml');
  const client = manifest('deploy/kubernetes-client.yaml');
  const pod = of('Deployment').spec.template;
  const [container] = pod.spec.containers;
  const clientPod = client.of('Deployment').spec.template;
  /** Where the files of a Secret are, by the volume that shows it. */
  const folderOf = (secretName: string) => {
    const volume = pod.spec.volumes.find(
      (each: { secret?: { secretName: string } }) => each.secret?.secretName === secretName,
    );
    return container.volumeMounts.find(({ name }: { name: string }) => name === volume.name).mountPath;
  };
  const config = () => configOf(CONFIG, of('ConfigMap').data['lingpai.yaml']);

  it('has each kind once', () => {
    expect(kinds).toEqual([
      'ServiceAccount',
      'ClusterRoleBinding',
      'Deployment',
      'ConfigMap',
      'Service',
      'NetworkPolicy',
    ]);
    expect(client.kinds).toEqual(['ServiceAccount', 'Deployment']);
  });

  it('probes health for callers and /livez for restarts, by TLS, and waits for a drain', () => {
    const at = (path: string) => ({ httpGet: { path, port: PORTS.http, scheme: 'HTTPS' } });
    expect([container.readinessProbe, container.livenessProbe]).toEqual([at('/readyz'), at('/livez')]);
    expect(pod.spec.terminationGracePeriodSeconds).toBeGreaterThan(DRAIN_S);
  });

  it('mounts a valid configuration where the image looks for it, which serves on the ports and is shared', async () => {
    const [mount] = container.volumeMounts;
    expect(Object.keys(of('ConfigMap').data).map((name) => `${mount.mountPath}/${name}`)).toEqual([CONFIG]);
    expect(pod.spec.volumes[0]).toEqual({ name: mount.name, configMap: { name: of('ConfigMap').metadata.name } });
    const { grpc, http, store } = await config();
    expect(grpc).toMatchObject({ host: '0.0.0.0', port: PORTS.grpc });
    expect(http).toMatchObject({ host: '0.0.0.0', port: PORTS.http });
    // Several replicas have one store, or they end each other's classic tokens.
    expect(of('Deployment').spec.replicas).toBeGreaterThan(1);
    expect(store.url).toBe(REDIS);
  });

  it('has every secret in a file of a Secret that it says how to make, and none in the environment', async () => {
    const { tls, access, store, files } = await config();
    if (access === null || access === 'open') throw new Error('no rules');
    expect(tls).toBeInstanceOf(Object);
    const made = [...text.matchAll(/--from-file=(\S+)/g)].map(([, name]) => `${folderOf('lingpai')}/${name}`);
    expect(new Set([...files, access.keysFile, ...store.seal].filter((file) => file?.startsWith('/secrets/')))).toEqual(
      new Set(made),
    );
    for (const name of ['tls.crt', 'tls.key']) expect(files).toContain(`${folderOf('lingpai-tls')}/${name}`);
    expect(container.env ?? container.envFrom).toBeUndefined();
    for (const { secret } of pod.spec.volumes) if (secret) expect(secret.defaultMode).toBe(0o440);
    expect(pod.spec.securityContext).toMatchObject({ runAsNonRoot: true, fsGroup: pod.spec.securityContext.runAsUser });
  });

  it('lets the service account of the client read, and Prometheus read the metrics', async () => {
    const { access } = await config();
    if (access === null || access === 'open') throw new Error('no rules');
    const [issuer] = access.tokens;
    const account = client.of('ServiceAccount').metadata.name;
    expect(clientPod.spec.serviceAccountName).toBe(account);
    expect(access.rules.map(({ who, may }) => [who, may])).toEqual([
      [[`k8s:${issuer?.name}/default/${account}`], ['read']],
      [['key:prometheus'], ['status']],
    ]);
    expect(issuer).toMatchObject({ kubernetes: true, algorithms: ['RS256'] });
    const [{ projected }] = clientPod.spec.volumes;
    const [{ serviceAccountToken }, { configMap }] = projected.sources;
    expect(serviceAccountToken.audience).toBe(issuer?.audience);
    expect(read('deploy/kubernetes-client.yaml')).toContain(`configmap ${configMap.name} --from-file=ca.crt=`);
    const env = new Map(
      clientPod.spec.containers[0].env.map(({ name, value }: { name: string; value: string }) => [name, value]),
    );
    const [{ mountPath }] = clientPod.spec.containers[0].volumeMounts;
    expect(env).toEqual(
      new Map([
        ['LINGPAI_ADDR', `https://${of('Service').metadata.name}:${PORTS.grpc}`],
        ['LINGPAI_CA', `${mountPath}/ca.crt`],
        ['LINGPAI_KEY_FILE', `${mountPath}/${serviceAccountToken.path}`],
      ]),
    );
  });

  it("may read the issuer's keys as its own service account", async () => {
    const { name } = of('ServiceAccount').metadata;
    expect(pod.spec.serviceAccountName).toBe(name);
    expect(of('ClusterRoleBinding').subjects).toMatchObject([{ kind: 'ServiceAccount', name }]);
    const { access, files } = await config();
    const folder = '/var/run/secrets/kubernetes.io/serviceaccount';
    expect(files).toContain(`${folder}/ca.crt`);
    const jwks = access !== null && access !== 'open' && access.tokens[0]?.jwks;
    expect(jwks).toMatchObject({ url: expect.stringContaining('/openid/v1/jwks'), tokenFile: `${folder}/token` });
  });

  it('shows the ports to those alone who may ask', () => {
    const labels = pod.metadata.labels;
    expect(of('Deployment').spec.selector.matchLabels).toEqual(labels);
    expect(of('Service').spec.selector).toEqual(labels);
    expect(of('NetworkPolicy').spec.podSelector.matchLabels).toEqual(labels);
    const ports = Object.values(PORTS);
    expect(of('Service').spec.ports.map(({ port }: { port: number }) => port)).toEqual(ports);
    const [rule, ...others] = of('NetworkPolicy').spec.ingress;
    expect(rule.ports).toEqual(ports.map((port) => ({ port })));
    expect(rule.from).toHaveLength(1);
    expect(others).toEqual([]);
    expect(clientPod.metadata.labels).toMatchObject(rule.from[0].podSelector.matchLabels);
  });
});

it('deploy/prometheus.yaml scrapes by TLS and by the key that the rules name', () => {
  const [scrape] = parse(read('deploy/prometheus.yaml')).scrape_configs;
  expect(scrape.scheme).toBe('https');
  expect(scrape.authorization).toMatchObject({ type: 'Bearer' });
  expect(scrape.dns_sd_configs[0].port).toBe(PORTS.http);
  expect(read('deploy/prometheus.yaml')).toContain('who: [key:prometheus], may: [status], apps: ["*"]');
});

describe('deploy/lingpai.service', () => {
  const unit = read('deploy/lingpai.service');
  const settings = new Map([...unit.matchAll(/^(\w+)=(.*)$/gm)].map(([, key = '', value = '']) => [key, value]));

  it('is a unit: sections, settings, comments', () => {
    for (const line of unit.trimEnd().split('\n'))
      expect(line).toMatch(/^(?:$|#.*|\[(?:Unit|Service|Install)\]|\w+=.*)$/);
  });

  it('starts what the repository has, by the Node that npm ci brings', () => {
    const [node = '', flag, main = '', command, ...rest] = settings.get('ExecStart')?.split(' ') ?? [];
    expect(node).toBe(`${settings.get('WorkingDirectory')}/node_modules/.bin/node`);
    expect(existsSync(join(ROOT, main))).toBe(true);
    expect(read('package.json')).toContain(`${flag} ${main}`);
    expect([command, rest[0]]).toEqual(['serve', '--config']);
  });

  it('waits for a drain, and does not start again what cannot start', () => {
    expect(Number(settings.get('TimeoutStopSec'))).toBeGreaterThan(DRAIN_S);
    expect(settings.get('RestartPreventExitStatus')).toBe('2');
    expect(unit).toContain(`/var/lib/${settings.get('StateDirectory')}/lingpai.db`);
  });

  it('hands over the secrets that the configuration of its comment names, and leaves none in the environment', async () => {
    const handed = [...unit.matchAll(/^LoadCredential=([\w.-]+):\/etc\/credstore\/lingpai\.\1$/gm)].map(
      ([, name]) => name,
    );
    const folder = '/run/credentials/lingpai.service/';
    const shown = [...unit.matchAll(/^# {3}(\w+: .*)$/gm)].map(([, line = '']) => line.replace('wx...', 'wxa'));
    const text = ['grpc: { listen: "0.0.0.0:7600" }', ...shown]
      .join('\n')
      .replace('[...]', '[{ who: [key:a], may: [read], apps: ["*"] }]');
    const config = await configOf('/etc/lingpai/lingpai.yaml', text);
    const used = [...config.store.seal, ...config.files].filter((path) => path.startsWith(folder));
    expect([...new Set(used)].sort()).toEqual(handed.map((name) => `${folder}${name}`).sort());
    expect(config.store.url).toBe('sqlite:/var/lib/lingpai/lingpai.db');
    expect(unit).not.toMatch(/^Environment/m);
  });
});

describe('deploy/alerts.yaml', () => {
  const rules: { alert: string; expr: string; for?: string; annotations: { summary: string } }[] = parse(
    read('deploy/alerts.yaml'),
  ).groups.flatMap((group: { rules: unknown[] }) => group.rules);

  it('has rules of metrics and of labels that exist', () => {
    expect(rules).toHaveLength(9);
    const reference = read('docs/reference.md');
    const ops = readdirSync(join(ROOT, 'src/ops'))
      .map((file) => read(`src/ops/${file}`))
      .join('\n');
    for (const { expr, annotations } of rules) {
      const names = expr.match(/lingpai_\w+/g) ?? [];
      expect(names).toHaveLength(1);
      expect(reference).toContain(`\`${names[0]}\``);
      const used = [...`${expr} ${annotations.summary}`.matchAll(/\$labels\.(\w+)|\{(\w+)=/g)];
      // What is told of each app is written line by line, with labels that its code names nowhere else.
      const [, own = ''] = new RegExp(`name: '${names[0]}'[^[]*?labelNames: \\[([^\\]]*)\\]`).exec(ops) ?? [];
      const known = /token_|outside/.test(expr) ? ['app_id', 'status'] : ['instance', ...(own.match(/\w+/g) ?? [])];
      expect(used.map(([, shown, chosen]) => shown ?? chosen).filter((label = '') => !known.includes(label))).toEqual(
        [],
      );
    }
  });

  it.each(['README.md', 'README.zh-CN.md'])('%s gives the same thresholds', (file) => {
    const shown = [...read(file).matchAll(/^\| `(lingpai_.*?|increase.*?)`(?: (?:for|持续) (\w+))? \|/gm)];
    const alerts = new Map(rules.map((rule) => [rule.expr, rule.for]));
    expect(shown.length).toBeGreaterThanOrEqual(4);
    for (const [, expr = '', duration] of shown)
      expect([expr, alerts.has(expr), alerts.get(expr)]).toEqual([expr, true, duration]);
  });

  it('does not wake anybody for a stable token, which is read anew from the overlap before its end on', async () => {
    const { refresh, upstream } = JSON.parse(read('lingpai.schema.json')).properties;
    const seconds = (setting: { default: string }) => {
      const [, count = '', unit = ''] = /^(\d+)(s|m)$/.exec(setting.default) ?? [];
      return Number(count) * (unit === 'm' ? 60 : 1);
    };
    const threshold = Number(/seconds_left < (\d+)/.exec(rules[0]?.expr ?? '')?.[1]);
    const spare = seconds(upstream.properties.overlap) - threshold;
    expect(spare).toBeGreaterThan(4 * seconds(refresh.properties.stable_poll));
  });
});
