import type { IncomingMessage } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import type { ConnectError } from '@connectrpc/connect';
import type { AuditedCall } from '../core/access/ports.ts';
import type { TokenState } from '../core/tokens/state.ts';
import type { Service } from '../transport/service.ts';
import type { Listed } from './door.ts';
import { type Answers, type Responder, say, sayError } from './http-answers.ts';

/** A registry of metrics: prom-client's, for one. */
export interface MetricsSource {
  readonly contentType: string;
  metrics(): Promise<string | Uint8Array>;
}

/** What the pages that are no RPC need. */
export interface PagesOptions {
  /** Whether to send calls here. */
  readonly serving: () => boolean;
  /** The state of every app, for `/readyz?apps`. */
  readonly states: () => Iterable<TokenState>;
  readonly metrics: MetricsSource;
  readonly report: (error: unknown) => void;
  readonly answers: Answers;
  /** Translates what `requireStatus` throws. */
  readonly toError: (error: unknown) => ConnectError;
  /** Throws unless the caller may know of every app how it is. */
  readonly requireStatus: (call: AuditedCall) => void;
}

interface Page {
  /** It tells nothing of the apps: anyone may ask, without being asked who it is. */
  readonly isOpen?: true;
  show(): Promise<{ status: number; type: string; body: string | Uint8Array }>;
}

const TEXT = 'text/plain; charset=utf-8';

/** The path at which `/readyz` has the apps too. */
const READY_APPS = '/readyz?apps';

/** `/livez` (200 as long as the loop runs), `/readyz`, `/readyz?apps` and `/metrics`. */
export function pages(options: PagesOptions): Listed<Responder>[] {
  const turn = turns();
  const ready = (states?: Iterable<TokenState>) => {
    const state = readiness(options.serving(), states);
    const body = `${JSON.stringify(state)}\n`;
    return { status: state.ready ? 200 : 503, type: 'application/json; charset=utf-8', body };
  };
  const found: Readonly<Record<string, Page>> = {
    '/livez': { isOpen: true, show: async () => ({ status: 200, type: TEXT, body: 'ok\n' }) },
    '/readyz': { isOpen: true, show: async () => ready() },
    [READY_APPS]: { show: async () => ready(options.states()) },
    '/metrics': {
      async show() {
        const body = await options.metrics.metrics();
        await turn();
        return { status: 200, type: options.metrics.contentType, body };
      },
    },
  };
  return Object.entries(found).map(([path, page]) => [path, responder(page, options), page.isOpen]);
}

/** The page that a request with this path is for: `/readyz` with `apps` in its query is another. */
export function pageOf(path: string, { url = '' }: IncomingMessage): string {
  return path === '/readyz' && new URLSearchParams(url.slice(path.length)).has('apps') ? READY_APPS : path;
}

/** What `/readyz` tells. Field names are as in the protos. */
interface Readiness {
  readonly ready: boolean;
  /** False before the start is complete, which takes an answer of the store, and once the broker drains. */
  readonly serving: boolean;
  /** The apps without a token to hand out; only where it was asked for them. */
  readonly apps?: readonly { readonly app_id: string; readonly status: string; readonly status_reason: string }[];
}

/**
 * The process is ready when it serves: one app's wrong secret takes no replica out of service, since the others have it
 * too. Where `states` are given, every app must have a token to hand out as well.
 */
function readiness(serving: boolean, states?: Iterable<TokenState>): Readiness {
  if (!states) return { ready: serving, serving };
  const apps = [...states]
    .filter(({ current }) => current === null)
    .map(({ appId, status, statusReason }) => ({ app_id: appId, status, status_reason: statusReason }));
  return { ready: serving && apps.length === 0, serving, apps };
}

function responder({ isOpen, show }: Page, { answers, report, toError, requireStatus }: PagesOptions): Responder {
  const refuse: Responder['refuse'] = (_, response, error) => {
    sayError(response, error);
    answers.complete(response);
  };
  return {
    refuse,
    answer(request, response, caller) {
      try {
        if (!isOpen) requireStatus(caller);
      } catch (error) {
        return refuse(request, response, toError(error));
      }
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        say(response, 405, 'use GET', { allow: 'GET' });
        answers.complete(response);
        return;
      }
      show()
        .then(({ status, type, body }) => {
          response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body);
        })
        .catch((error: unknown) => {
          report(error);
          say(response, 500, 'the broker failed; its log has the cause');
        })
        .finally(() => answers.complete(response));
    },
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

/** What is said of a path that is not listed. */
export function notFound(services: readonly Service[]): string {
  const methods = services.flatMap(({ desc }) => desc.methods.map(({ name }) => `POST /${desc.typeName}/${name}`));
  return ['not found; there are:', 'GET /livez', 'GET /readyz', `GET ${READY_APPS}`, 'GET /metrics', ...methods].join(
    '\n',
  );
}
