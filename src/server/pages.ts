import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import type { Answers } from './http-answers.ts';
import type { Service } from './mount.ts';
import type { Readiness } from './readiness.ts';

/** A registry of metrics: prom-client's, for one. */
export interface MetricsSource {
  readonly contentType: string;
  metrics(): Promise<string | Uint8Array>;
}

/** What the pages that are no RPC need. */
export interface PagesOptions {
  readonly services: readonly Service[];
  /** `apps`: those of every app too. */
  readonly readiness: (apps: boolean) => Readiness;
  readonly metrics: MetricsSource;
  readonly report: (error: unknown) => void;
  readonly answers: Answers;
}

type Page = (query: URLSearchParams) => Promise<{ status: number; type: string; body: string | Uint8Array }>;

const TEXT = 'text/plain; charset=utf-8';

/** Answers `/livez` (200 as long as the loop runs), `/readyz[?apps]`, `/metrics`, and everything else with what there is. */
export function pages(options: PagesOptions): (request: IncomingMessage, response: ServerResponse) => void {
  const index = describe(options.services);
  const turn = turns();
  const found = new Map<string, Page>([
    ['/livez', async () => ({ status: 200, type: TEXT, body: 'ok\n' })],
    [
      '/readyz',
      async (query) => {
        const state = options.readiness(query.has('apps'));
        return {
          status: state.ready ? 200 : 503,
          type: 'application/json; charset=utf-8',
          body: `${JSON.stringify(state)}\n`,
        };
      },
    ],
    [
      '/metrics',
      async () => {
        const body = await options.metrics.metrics();
        await turn();
        return { status: 200, type: options.metrics.contentType, body };
      },
    ],
  ]);
  const missing: Page = async () => ({ status: 404, type: TEXT, body: index });
  const refused: Page = async () => ({ status: 405, type: TEXT, body: 'use GET\n' });

  return (request, response) => {
    const path = pathOf(request);
    const page = found.get(path);
    const reads = request.method === 'GET' || request.method === 'HEAD';
    (page ? (reads ? page : refused) : missing)(new URLSearchParams(request.url?.slice(path.length)))
      .then(({ status, type, body }) => {
        const headers = { 'content-type': type, 'cache-control': 'no-store', ...(status === 405 && { allow: 'GET' }) };
        response.writeHead(status, headers).end(body);
      })
      .catch((error: unknown) => {
        options.report(error);
        response.writeHead(500, { 'content-type': TEXT }).end('the broker failed; its log has the cause\n');
      })
      .finally(() => options.answers.complete(response));
  };
}

/** Hands out turns of the loop, one each: who waited for the same long text is not answered all in one. */
function turns(): () => Promise<void> {
  let last = Promise.resolve();
  return () => {
    last = last.then(() => setImmediate());
    return last;
  };
}

/** A request's path, without its query. */
export function pathOf({ url = '' }: IncomingMessage): string {
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}

function describe(services: readonly Service[]): string {
  const methods = services.flatMap(({ desc }) => desc.methods.map(({ name }) => `POST /${desc.typeName}/${name}`));
  return [
    'not found; there are:',
    'GET /livez',
    'GET /readyz',
    'GET /readyz?apps',
    'GET /metrics',
    ...methods,
    '',
  ].join('\n');
}
