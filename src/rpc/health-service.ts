import { Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect';
import { drainingError } from '../core/kernel/errors.ts';
import { Health as HealthDesc, HealthCheckResponse_ServingStatus as Status } from '../gen/grpc/health/v1/health_pb.js';
import { type StreamControl, streamControlOf } from '../transport/call.ts';

/** How many health watches may be open at once. */
export const MAX_HEALTH_WATCHES = 1_000;

interface Watcher {
  readonly control: StreamControl;
  /** Goes on with a watch that waits for a change; does nothing for one whose last answer has not been read. */
  wake: () => void;
}

/** grpc.health.v1 for each service and for the whole server (""). It begins with NOT_SERVING. */
export class Health {
  readonly desc = HealthDesc;
  readonly limits = { check: { bytes: 1024 }, watch: { bytes: 1024 }, list: { bytes: 1024 } };
  readonly impl: ServiceImpl<typeof HealthDesc> = {
    check: ({ service }) => {
      // A name that nobody knows is not repeated: it is whatever a stranger sent.
      if (!this.#names.has(service)) throw new ConnectError('no such service here; "" asks about all', Code.NotFound);
      return { status: this.#status };
    },
    list: () => ({ statuses: Object.fromEntries([...this.#names].map((name) => [name, { status: this.#status }])) }),
    watch: ({ service }, context) => this.#watch(this.#names.has(service), context),
  };
  readonly #names: ReadonlySet<string>;
  readonly #watchers = new Set<Watcher>();
  #status = Status.NOT_SERVING;

  /** `names` are those of the services, as `lingpai.v1.TokenService`. */
  constructor(names: readonly string[]) {
    this.#names = new Set(['', ...names]);
  }

  /** How many watches are open. */
  get watches(): number {
    return this.#watchers.size;
  }

  set(serving: boolean): void {
    this.#status = serving ? Status.SERVING : Status.NOT_SERVING;
    for (const { wake } of this.#watchers) wake();
  }

  /** Ends the watches, which would last for ever, as DRAINING. */
  end(): void {
    for (const { control } of this.#watchers) control.end(drainingError());
  }

  async *#watch(known: boolean, context: HandlerContext) {
    if (this.#watchers.size >= MAX_HEALTH_WATCHES)
      throw new ConnectError(`${MAX_HEALTH_WATCHES} health watches are open: use Check`, Code.ResourceExhausted);
    const control = streamControlOf(context);
    const watcher: Watcher = { control, wake: () => {} };
    this.#watchers.add(watcher);
    control.onClose(() => {
      this.#watchers.delete(watcher);
      watcher.wake();
    });
    for (let told: Status | undefined; this.#watchers.has(watcher); ) {
      const status = known ? this.#status : Status.SERVICE_UNKNOWN;
      if (status !== told) {
        told = status;
        yield { status };
      } else
        await new Promise<void>((resolve) => {
          watcher.wake = resolve;
        });
    }
  }
}
