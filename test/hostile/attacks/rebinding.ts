import type { Attack } from '../attack.ts';
import { APP } from '../siege.ts';
import { type HttpEnd, http } from '../strangers.ts';

const RPCS = [
  'TokenService/Get',
  'TokenService/ForceRefresh',
  'TokenService/WatchToken',
  'MessageService/SendTemplate',
  'MessageService/SendTemplates',
  'MessageService/DepositPermits',
  'MessageService/CountPermits',
  'MessageService/ReviewTemplate',
  'AdminService/GetStatus',
].map((name) => `/lingpai.v1.${name}`);
const PAGES = ['/metrics', '/', '/no-such-page'];
const PROBES = ['/livez', '/readyz'];
/** Names that a page of evil.example can make lead here, and those that look like loopback's and are not. */
const HOSTS = [
  'evil.example',
  'evil.example:80',
  '127.0.0.1.evil.example',
  'localhost.evil.example',
  '169.254.1.1',
  'xn--',
];
const ORIGINS = ['http://evil.example', 'https://localhost.evil.example', 'null', 'http://127.0.0.1:1', 'garbage'];
const SANDBOX = [
  ['GET', '/sandbox/state'],
  ['GET', '/sandbox/'],
  ['GET', '/sandbox/inbox'],
  ['POST', `/sandbox/apps/${APP}/kill`],
  ['POST', '/sandbox/apps'],
  ['POST', '/sandbox/faults'],
  ['DELETE', '/sandbox/inbox'],
] as const;
const JSON_TYPE = { 'content-type': 'application/json' };

function toldToken({ body }: HttpEnd): boolean {
  return body.toString().includes('"current"');
}

/** Web pages that make a name of theirs lead to the broker. */
export const rebinding: readonly Attack[] = [
  {
    name: 'rebinding: a foreign Host on every path of the HTTP port',
    async play({ http: address, check }) {
      const body = JSON.stringify({ appId: APP });
      for (const host of HOSTS) {
        for (const path of [...RPCS, ...PAGES]) {
          const method = PAGES.includes(path) ? 'GET' : 'POST';
          const end = await http(address, {
            method,
            path,
            headers: { ...JSON_TYPE, host },
            body: method === 'GET' ? '' : body,
          });
          const isRefused = end.status === 421 || end.status === 400;
          check(isRefused && !toldToken(end), `${method} ${path} for ${host} is 421, not ${end.status}`);
        }
        for (const path of PROBES) {
          const { status } = await http(address, { path, headers: { host } });
          check(status === 200, `GET ${path} answers to any Host: ${host} is 200, not ${status}`);
        }
      }
      for (const host of ['localhost', 'localhost:80', '127.0.0.1', '[::1]:7680', 'LOCALHOST']) {
        const { status } = await http(address, { path: '/metrics', headers: { host } });
        check(status === 200, `${host} is this machine: 200, not ${status}`);
      }
    },
  },
  {
    name: 'rebinding: a foreign Origin on every path of the HTTP port',
    async play({ http: address, check }) {
      const body = JSON.stringify({ appId: APP });
      for (const origin of ORIGINS) {
        for (const path of [...RPCS, ...PAGES, ...PROBES]) {
          const method = RPCS.includes(path) ? 'POST' : 'GET';
          const headers = { ...JSON_TYPE, origin };
          const end = await http(address, { method, path, headers, body: method === 'GET' ? '' : body });
          const isRefused = end.status >= 400 && end.status < 500 && end.status !== 404;
          check(isRefused && !toldToken(end), `${method} ${path} from ${origin} is refused, not ${end.status}`);
          const allowed = end.headers['access-control-allow-origin'];
          check(allowed === undefined, `${path} allows no origin, and not ${allowed}`);
        }
      }
      const headers = { ...JSON_TYPE, origin: `http://${address}` };
      const { status } = await http(address, { method: 'POST', path: RPCS[0] ?? '', headers, body });
      check(status === 200, `a page of the broker's own may ask: 200, not ${status}`);
    },
  },
  {
    name: "rebinding: the sandbox's control port",
    async play({ sandbox, check }) {
      for (const [method, path] of SANDBOX) {
        const body = method === 'POST' ? '{}' : '';
        for (const headers of [{ host: 'evil.example' }, { origin: 'http://evil.example' }, { origin: 'null' }]) {
          const { status } = await http(sandbox, { method, path, headers: { ...JSON_TYPE, ...headers }, body });
          const isRefused = [400, 403, 421].includes(status);
          check(isRefused, `${method} ${path} with ${JSON.stringify(headers)} is refused, not ${status}`);
        }
        if (method !== 'POST') continue;
        for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', '']) {
          const headers: Record<string, string> = type ? { 'content-type': type } : {};
          const { status } = await http(sandbox, { method, path, headers, body });
          check(status === 415, `${method} ${path} as ${type || 'nothing'} is 415, not ${status}`);
        }
      }
    },
  },
];
