/** A room of `src`, what it is for, and what it may import beside its own files. */
export interface Room {
  readonly is: string;
  readonly mayImport: readonly string[];
}

/** The storeys of the domain: each imports only itself and what is below it. */
export const STOREYS: Readonly<Record<string, Room>> = {
  'core/kernel': { is: 'time, waiting, writing behind, errors: what every storey needs', mayImport: [] },
  'core/tokens': { is: "an app's token: keeper, plan, refresh, record, watches", mayImport: ['core/kernel'] },
  'core/tickets': {
    is: "an app's tickets: kept as tokens are, fetched with them; the JS-SDK's signature",
    mayImport: ['core/kernel', 'core/tokens'],
  },
  'core/cluster': {
    is: 'several replicas on one store: intents, convergence, who lives',
    mayImport: ['core/kernel', 'core/tokens'],
  },
  'core/messages': {
    is: 'sending: limits, attempts, the ledger, permits',
    mayImport: ['core/kernel', 'core/tokens'],
  },
  'core/operators': {
    is: 'what operators ask WeChat: quotas, what became of a call',
    mayImport: ['core/kernel', 'core/tokens'],
  },
  'core/access': { is: 'who makes a call, what rules allow it, what is audited', mayImport: ['core/kernel'] },
  'core/review': { is: "WeChat's review rules for templates", mayImport: ['core/kernel'] },
};

/** Every room. `core` imports nothing else; only `app` puts things together. */
export const ROOMS: Readonly<Record<string, Room>> = {
  core: { is: 'the domain', mayImport: [] },
  config: { is: 'a YAML file and the environment become one frozen, validated Config', mayImport: ['core'] },
  wechat: { is: 'outbound: WeChat over HTTP, the table of errcodes', mayImport: ['core'] },
  store: { is: 'outbound: memory, sqlite, Redis, behind one contract', mayImport: ['core'] },
  access: { is: 'inbound: keys, client certificates, JWTs: who makes a call', mayImport: ['core'] },
  sandbox: { is: 'a simulated WeChat', mayImport: ['core'] },
  ops: { is: 'the real clock and randomness, logs, metrics, tasks', mayImport: ['core'] },
  transport: { is: 'inbound: what listeners and services agree on', mayImport: ['core'] },
  rpc: { is: 'inbound: the services; the table of errors and statuses', mayImport: ['core', 'transport', 'gen'] },
  gateway: { is: "inbound: WeChat's own API, passed on with the token in place", mayImport: ['core', 'transport'] },
  server: { is: 'inbound: the listeners and their doors', mayImport: ['core', 'transport', 'gen'] },
  app: {
    is: 'the composition root: store, core, services, listeners, tasks',
    mayImport: [
      'core',
      'config',
      'wechat',
      'store',
      'access',
      'sandbox',
      'ops',
      'transport',
      'rpc',
      'gateway',
      'server',
      'gen',
    ],
  },
  commands: {
    is: 'the command line: parse, call, print',
    mayImport: [
      'core',
      'config',
      'wechat',
      'store',
      'access',
      'sandbox',
      'ops',
      'transport',
      'app',
      'gen',
      'clients/node',
    ],
  },
};

/** The map as docs/architecture.md shows it. */
export function mapTable(): string {
  const rows = Object.entries({ ...STOREYS, ...ROOMS }).filter(([name]) => name !== 'core');
  const lines = rows.map(
    ([name, { is, mayImport }]) => `| \`${name}/\` | ${is} | ${mayImport.map((other) => `\`${other}\``).join(', ')} |`,
  );
  return ['| room | what it is | may import |', '|---|---|---|', ...lines].join('\n');
}
