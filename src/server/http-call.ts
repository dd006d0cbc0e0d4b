import type { ServerResponse } from 'node:http';
import { type ConnectError, createContextKey, type Interceptor, type StreamResponse } from '@connectrpc/connect';
import { codeName } from './code-name.ts';
import type { Mount, StreamControl } from './mount.ts';

const httpCall = createContextKey<HttpCall | undefined>(undefined, { description: 'httpCall' });

/** One RPC over HTTP: its control, its translated error, and its measurement. */
export class HttpCall implements StreamControl {
  readonly #response: ServerResponse;
  readonly #mount: Mount;
  #code: string | undefined;

  /** `method` is as metrics have it: `lingpai.v1.TokenService/Get`. */
  constructor(method: string, response: ServerResponse, mount: Mount) {
    this.#response = response;
    this.#mount = mount;
    const startedAt = mount.clock.monotonic();
    response.once('close', () => {
      mount.rpc(method, this.#code ?? unreached(response), mount.clock.monotonic() - startedAt);
    });
  }

  /** What the handler's context holds. */
  values() {
    return this.#mount.streamValues(this).set(httpCall, this);
  }

  onClose(release: () => void): void {
    if (this.#response.closed) release();
    else this.#response.once('close', release);
  }

  end(error: unknown): void {
    this.failed(error);
    // The status would wait behind data that nobody reads.
    this.#response.destroy();
  }

  succeeded(): void {
    this.#code ??= 'OK';
  }

  failed(error: unknown): ConnectError {
    const status = this.#mount.toError(error);
    this.#code ??= codeName(status.code);
    return status;
  }
}

/** Translates and records what handlers throw, also while a stream is read. */
export const recorded: Interceptor = (next) => async (request) => {
  const call = request.contextValues.get(httpCall);
  if (!call) return next(request);
  try {
    const response = await next(request);
    if (response.stream) return { ...response, message: watched(response.message, call) };
    call.succeeded();
    return response;
  } catch (error) {
    throw call.failed(error);
  }
};

async function* watched(messages: StreamResponse['message'], call: HttpCall): StreamResponse['message'] {
  try {
    yield* messages;
    call.succeeded();
  } catch (error) {
    throw call.failed(error);
  }
}

/** The code of a call that no handler saw: its sender left, or the request was refused as too large or unreadable. */
function unreached({ writableFinished, statusCode }: ServerResponse): string {
  if (!writableFinished) return 'CANCELLED';
  return statusCode === 429 ? 'RESOURCE_EXHAUSTED' : 'INVALID_ARGUMENT';
}
