import type { Config } from '../config/config.ts';
import type { Sender } from '../core/messages/sender.ts';
import type { Tickets } from '../core/tickets/tickets.ts';
import { systemClock } from '../ops/clock.ts';
import { type Logger, logEvent } from '../ops/log.ts';
import type { Metrics } from '../ops/metrics.ts';
import { systemRandom } from '../ops/random.ts';
import type { Opened } from '../store/open.ts';
import type { WeChatClient } from '../wechat/client.ts';
import { type Broker, createBroker } from './broker.ts';
import { asReplica, newReplicaName } from './replica.ts';
import { createSender } from './sender.ts';
import { starting } from './start-error.ts';
import { createTickets } from './tickets.ts';

/** What the core of a broker is put together from. */
export interface CoreParts {
  readonly config: Config;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly wechat: WeChatClient;
  readonly store: Opened;
  /** Where this process serves gRPC, once it does. */
  readonly address: () => string;
}

/** A broker's tokens, tickets and messages. */
export interface Core extends Broker {
  readonly sender: Sender;
  readonly tickets: Tickets;
  /** The name of this process among replicas; undefined: it shares nothing. */
  readonly replica: string | undefined;
  /** Begins to keep the apps' tokens, and settles what a process before this one has left. Rejects with a StartError. */
  start(): Promise<void>;
  /** Ends what is under way. */
  stop(): Promise<void>;
}

/** Puts the core of a broker together, on this store. Nothing happens until it starts. */
export function createCore(parts: CoreParts): Core {
  const { config, logger, metrics, wechat, store } = parts;
  const { ledger } = store;
  const isShared = 'shared' in store;
  const owner = isShared ? newReplicaName() : '';
  const recover = async (name: string) => {
    const unknown = await ledger.recover(broker.clock.now(), name);
    if (unknown > 0) logger.warn({ messages: unknown }, 'a process that ended left messages of unknown fate');
  };
  const replica = { ...parts, recover, isBusy: () => sender.busy };
  const broker = createBroker(
    {
      clock: systemClock,
      random: systemRandom,
      wechat,
      observe(event) {
        metrics.observe(event);
        logEvent(logger, event);
      },
      store: isShared ? { shared: asReplica(owner, { ...replica, store: store.shared }) } : { local: store.local },
    },
    config.settings,
  );
  const sender = createSender({ config, logger, metrics, wechat, ledger, broker, owner });
  const tickets = createTickets({ config, logger, metrics, wechat, store, broker, owner });
  return {
    ...broker,
    sender,
    tickets,
    replica: owner || undefined,
    async start() {
      await starting(broker.registry.start(config.apps));
      await starting(tickets.start());
      // Where there is one process it is the one before that died; where there are several, who died shows when a lease has passed.
      if (!isShared) await starting(recover(''));
    },
    async stop() {
      await tickets.stop();
      await broker.registry.stop();
    },
  };
}
