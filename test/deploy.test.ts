import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { loadConfig } from '../src/config/load.ts';

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

describe('deploy/kubernetes.yaml', () => {
  const documents = parseAllDocuments(read('deploy/kubernetes.yaml'));
  /** The one of a kind, of whatever shape it is. */
  const of = (kind: string) => documents.map((document) => document.toJS()).find((each) => each.kind === kind);
  const pod = of('Deployment').spec.template;
  const [container] = pod.spec.containers;

  it('is YAML, each kind once', () => {
    expect(documents.flatMap(({ errors }) => errors)).toEqual([]);
    const kinds = documents.map((document) => document.toJS().kind);
    expect(kinds).toEqual(['Deployment', 'ConfigMap', 'Service', 'NetworkPolicy']);
  });

  it('probes gRPC health for callers and /livez for restarts, and waits for a drain', () => {
    expect(container.readinessProbe).toEqual({ grpc: { port: PORTS.grpc } });
    expect(container.livenessProbe).toEqual({ httpGet: { path: '/livez', port: PORTS.http } });
    expect(pod.spec.terminationGracePeriodSeconds).toBeGreaterThan(DRAIN_S);
  });

  it('mounts a valid configuration where the image looks for it, which serves on the ports and is shared', async () => {
    const { data } = of('ConfigMap');
    const [mount] = container.volumeMounts;
    expect(Object.keys(data).map((name) => `${mount.mountPath}/${name}`)).toEqual([CONFIG]);
    expect(pod.spec.volumes).toEqual([{ name: mount.name, configMap: { name: of('ConfigMap').metadata.name } }]);
    const env = { WX_SECRET: 'x', REDIS_URL: 'redis://:password@redis:6379' };
    const config = await loadConfig(CONFIG, env, { read: async () => data['lingpai.yaml'] });
    expect(config.grpc).toMatchObject({ host: '0.0.0.0', port: PORTS.grpc });
    expect(config.http).toMatchObject({ host: '0.0.0.0', port: PORTS.http });
    // Several replicas have one store, or they end each other's classic tokens.
    expect(of('Deployment').spec.replicas).toBeGreaterThan(1);
    expect(config.store.url).toBe(env.REDIS_URL);
    for (const name of Object.keys(env)) expect(read('deploy/kubernetes.yaml')).toContain(`--from-literal=${name}=`);
  });

  it('shows the ports to those alone who may read tokens', () => {
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
  });
});

describe('deploy/lingpai.service', () => {
  const unit = read('deploy/lingpai.service');
  const settings = new Map([...unit.matchAll(/^(\w+)=(.*)$/gm)].map(([, key = '', value = '']) => [key, value]));

  it('is a unit: sections, settings, comments', () => {
    for (const line of unit.trimEnd().split('\n'))
      expect(line).toMatch(/^(?:$|#.*|\[(?:Unit|Service|Install)\]|\w+=.+)$/);
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
});

describe('deploy/alerts.yaml', () => {
  const rules: { alert: string; expr: string; for?: string }[] = parse(read('deploy/alerts.yaml')).groups.flatMap(
    (group: { rules: unknown[] }) => group.rules,
  );

  it('has three rules, of metrics that exist', () => {
    expect(rules).toHaveLength(3);
    const reference = read('docs/reference.md');
    for (const { expr } of rules) {
      const names = expr.match(/lingpai_\w+/g) ?? [];
      expect(names).toHaveLength(1);
      expect(reference).toContain(`\`${names[0]}\``);
    }
  });

  it.each(['README.md', 'README.zh-CN.md'])('%s gives the same thresholds', (file) => {
    const shown = [...read(file).matchAll(/^\| `(lingpai_.*?|increase.*?)`(?: (?:for|持续) (\w+))? \|/gm)];
    expect(shown.map(([, expr, duration]) => [expr, duration])).toEqual(rules.map((rule) => [rule.expr, rule.for]));
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
