import type { IncomingMessage, ServerResponse } from 'node:http';
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
  readonly readiness: () => Readiness;
  readonly metrics: MetricsSource;
  readonly report: (error: unknown) => void;
}

type Page = () => Promise<{ status: number; type: string; body: string | Uint8Array }>;

const TEXT = 'text/plain; charset=utf-8';

/** Answers `/livez` (200 as long as the loop runs), `/readyz`, `/metrics`, and everything else with what there is. */
export function pages(options: PagesOptions): (request: IncomingMessage, response: ServerResponse) => void {
  const index = describe(options.services);
  const found = new Map<string, Page>([
    ['/livez', async () => ({ status: 200, type: TEXT, body: 'ok\n' })],
    [
      '/readyz',
      async () => {
        const state = options.readiness();
        return {
          status: state.ready ? 200 : 503,
          type: 'application/json; charset=utf-8',
          body: `${JSON.stringify(state)}\n`,
        };
      },
    ],
    [
      '/metrics',
      async () => ({ status: 200, type: options.metrics.contentType, body: await options.metrics.metrics() }),
    ],
  ]);
  const missing: Page = async () => ({ status: 404, type: TEXT, body: index });
  const refused: Page = async () => ({ status: 405, type: TEXT, body: 'use GET\n' });

  return (request, response) => {
    const page = found.get(pathOf(request));
    const reads = request.method === 'GET' || request.method === 'HEAD';
    (page ? (reads ? page : refused) : missing)()
      .then(({ status, type, body }) => {
        const headers = { 'content-type': type, 'cache-control': 'no-store', ...(status === 405 && { allow: 'GET' }) };
        response.writeHead(status, headers).end(body);
      })
      .catch((error: unknown) => {
        options.report(error);
        response.writeHead(500, { 'content-type': TEXT }).end('the broker failed; its log has the cause\n');
      });
  };
}

/** A request's path, without its query. */
export function pathOf({ url = '' }: IncomingMessage): string {
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}

function describe(services: readonly Service[]): string {
  const methods = services.flatMap(({ desc }) => desc.methods.map(({ name }) => `POST /${desc.typeName}/${name}`));
  return ['not found; there are:', 'GET /livez', 'GET /readyz', 'GET /metrics', ...methods, ''].join('\n');
}
