import type { ServerResponse } from 'node:http';
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import type { AuditedCall } from '../core/access/ports.ts';
import type { StreamControl } from '../transport/call.ts';
import { callValues } from '../transport/call.ts';
import { codeName } from '../transport/code-name.ts';
import type { Answers } from './http-answers.ts';
import type { Mount } from './mount.ts';
import { reset } from './tls.ts';

const httpCall = createContextKey<HttpCall | undefined>(undefined, { description: 'httpCall' });

/** Who makes a call, or why it is refused. */
export type Caller = AuditedCall | { readonly refusal: ConnectError };

/** One RPC over HTTP: its control, its translated error, and its measurement. */
export class HttpCall implements StreamControl {
  readonly #response: ServerResponse;
  readonly #mount: Mount;
  readonly #answers: Answers;
  readonly #caller: Caller;
  #code: string | undefined;

  /** `method` is as metrics have it: `lingpai.v1.TokenService/Get`. */
  constructor(method: string, response: ServerResponse, caller: Caller, mount: Mount, answers: Answers) {
    this.#caller = caller;
    this.#response = response;
    this.#mount = mount;
    this.#answers = answers;
    const startedAt = mount.clock.monotonic();
    response.once('close', () => {
      mount.rpc(method, this.#code ?? unreached(response), mount.clock.monotonic() - startedAt);
    });
  }

  /** What the handler's context holds; `control` is what it ends its call by. */
  values(control: StreamControl = this): ContextValues {
    const caller = this.#caller;
    const values = 'caller' in caller ? callValues(control, caller) : createContextValues();
    return values.set(httpCall, this);
  }

  /** Why the call is refused, if it is. */
  get refusal(): ConnectError | undefined {
    return 'refusal' in this.#caller ? this.#caller.refusal : undefined;
  }

  onClose(release: () => void): void {
    if (this.#response.closed) release();
    else this.#response.once('close', release);
  }

  end(error: unknown): void {
    this.failed(error);
    // The status would wait behind data that nobody reads.
    reset(this.#response.req.socket);
  }

  succeeded(): void {
    this.#over('OK');
  }

  failed(error: unknown): ConnectError {
    const status = wellFormed(this.#mount.toError(error));
    this.#over(codeName(status.code));
    return status;
  }

  #over(code: string): void {
    if (this.#code !== undefined) return;
    this.#code = code;
    this.#answers.complete(this.#response);
  }
}

/** Translates and records what handlers throw. None of those that connect calls answers with a stream: see HttpStream. */
export const recorded: Interceptor = (next) => async (request) => {
  const call = request.contextValues.get(httpCall);
  if (!call) return next(request);
  try {
    const response = await next(request);
    call.succeeded();
    return response;
  } catch (error) {
    throw call.failed(error);
  }
};

/** Where each protocol says how messages are compressed, and where it is told how they may be. */
const ENCODINGS = {
  'content-encoding': 'accept-encoding',
  'connect-content-encoding': 'connect-accept-encoding',
  'grpc-encoding': 'grpc-accept-encoding',
} as const;

/**
 * Refuses callers whom the door did not let in, and compressed requests, before their bodies are read: no client needs to
 * compress, and what a few bytes become is seen only when it is there.
 */
export function gate({ requestHeader, responseHeader, values }: HandlerContext): void {
  const call = values.get(httpCall);
  if (call?.refusal) throw call.failed(call.refusal);
  for (const [header, accept] of Object.entries(ENCODINGS)) {
    const encoding = requestHeader.get(header)?.trim().toLowerCase();
    if (!encoding || encoding === 'identity') continue;
    responseHeader.set(accept, 'identity');
    const error = new ConnectError(
      'compressed requests are not taken: send them as they are (identity)',
      Code.Unimplemented,
    );
    throw call?.failed(error) ?? error;
  }
}

/** Half a surrogate pair cannot be written into trailers, and words of callers and of WeChat are part of errors. */
function wellFormed(error: ConnectError): ConnectError {
  const { rawMessage, code, metadata, details, cause } = error;
  if (rawMessage.isWellFormed()) return error;
  const same = new ConnectError(rawMessage.toWellFormed(), code, metadata, undefined, cause);
  same.details = details;
  return same;
}

/** The code of a call that no handler saw: its sender left, or the request was refused as too large or unreadable. */
function unreached({ writableFinished, statusCode }: ServerResponse): string {
  if (!writableFinished) return 'CANCELLED';
  if (statusCode === 505) return 'UNIMPLEMENTED';
  return statusCode === 429 ? 'RESOURCE_EXHAUSTED' : 'INVALID_ARGUMENT';
}
