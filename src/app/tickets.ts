import type { Config } from '../config/config.ts';
import { isTicketEvent } from '../core/tickets/events.ts';
import { Tickets } from '../core/tickets/tickets.ts';
import { type Logger, logEvent } from '../ops/log.ts';
import type { Metrics } from '../ops/metrics.ts';
import { systemRandom } from '../ops/random.ts';
import { logTicketEvent } from '../ops/ticket-log.ts';
import type { Opened } from '../store/open.ts';
import type { WeChatClient } from '../wechat/client.ts';
import type { Broker } from './broker.ts';

/** What keeps tickets is made of these. */
export interface TicketParts {
  readonly config: Config;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly wechat: WeChatClient;
  readonly store: Pick<Opened, 'tickets'>;
  readonly broker: Broker;
  /** The name of this process among replicas; empty: it shares nothing. */
  readonly owner: string;
}

/** Puts together what keeps tickets, with the broker's tokens. They age by the broker's clock. */
export function createTickets({ config, logger, metrics, wechat, store, broker, owner }: TicketParts): Tickets {
  const { registry, clock, timeline } = broker;
  return new Tickets({
    clock,
    random: systemRandom,
    timeline,
    settings: config.settings,
    store: store.tickets,
    wechat,
    tokens: registry,
    owner,
    observe(event) {
      if (isTicketEvent(event)) {
        metrics.tickets.observe(event);
        logTicketEvent(logger, event);
      } else {
        metrics.observe(event);
        logEvent(logger, event);
      }
    },
  });
}
