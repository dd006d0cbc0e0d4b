import type { AuditedCall } from '../core/access/ports.ts';
import type { TokenState } from '../core/tokens/state.ts';
import { peerName } from '../transport/peer.ts';
import type { ConnectionLimits, Refusal, Tally } from './connections.ts';
import { Arrival, Door, type Entered } from './door.ts';
import { Answers, type Responder, say } from './http-answers.ts';
import { type Arrived, listenHttp } from './http-listener.ts';
import { rpcs } from './http-rpc.ts';
import { LETTING_GO_MS, type Listen, type Listener, type Mount } from './mount.ts';
import { type MetricsSource, notFound, pageOf, pages, pathOf } from './pages.ts';

/** What the HTTP listener serves besides RPCs, and how much it bears. */
export interface HttpOptions extends Mount {
  readonly listen: Listen;
  readonly limits: ConnectionLimits;
  /** Counts the connections of streams. Default: they are of `limits`. */
  readonly lasting?: Tally;
  /** Told now and then that a connection was refused. */
  readonly onRefused: (refusal: Refusal) => void;
  /** How long a complete answer may stay unread. */
  readonly stallTimeoutMs: number;
  /** The state of every app, for `/readyz?apps`. */
  readonly states: () => Iterable<TokenState>;
  /** For `/metrics`. */
  readonly metrics: MetricsSource;
  /** Throws unless the caller may know of every app how it is. Default: everyone may. */
  readonly requireStatus?: (call: AuditedCall) => void;
}

/**
 * Serves every mounted RPC as Connect (JSON and binary) and gRPC-Web, and `/livez`, `/readyz` and `/metrics`. It sends no
 * CORS headers: the answers are secrets, and no web page of another origin is to read them.
 * Rejects with an Error that names the address, and what to do, when it cannot listen.
 */
export async function startHttp(options: HttpOptions): Promise<Listener> {
  const { clock, stallTimeoutMs } = options;
  let serving = false;
  const answers = new Answers(clock, stallTimeoutMs);
  const { metrics, report, states, toError, requireStatus = () => {} } = options;
  const found = pages({ serving: () => serving, states, metrics, report, answers, toError, requireStatus });
  const door = new Door<Responder>([...found, ...rpcs(options, answers)], options);
  const elsewhere = notFound(options.services);
  const refuse = ({ response }: Arrived, status: number, text: string) => {
    say(response, status, text);
    answers.complete(response);
  };
  const serve = (arrived: Arrived) => {
    const { request, response, path, proceed, lasts } = arrived;
    const { headers, rawHeaders, socket } = request;
    const entered = door.enter({ path, headers, rawHeaders, socket });
    if (!entered) return refuse(arrived, 404, elsewhere);
    const begin = (known: Entered<Responder>) => {
      const { answer } = known;
      if ('refusal' in known) answer.refuse(request, response, toError(known.refusal));
      else {
        proceed();
        answer.answer(request, response, { caller: known.principal, peer: peerName(socket) }, lasts);
      }
    };
    if (entered instanceof Arrival) {
      response.once('close', () => entered.leave());
      entered.onKnown(begin);
    } else begin(entered);
  };
  const listener = await listenHttp({
    ...options,
    setting: 'http.listen',
    lettingGoMs: LETTING_GO_MS,
    pathOf: (request) => pageOf(pathOf(request), request),
    serve,
    object: (arrived, { status, text }) => refuse(arrived, status, text),
  });
  return {
    ...listener,
    paths: door.paths,
    setServing: (value) => {
      serving = value;
    },
  };
}
