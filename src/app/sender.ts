import { createHash, randomUUID } from 'node:crypto';
import type { Config } from '../config/config.ts';
import type { Ledger } from '../core/messages/ports.ts';
import { Sender } from '../core/messages/sender.ts';
import type { Logger } from '../ops/log.ts';
import { logMessageEvent } from '../ops/message-log.ts';
import type { Metrics } from '../ops/metrics.ts';
import { systemRandom } from '../ops/random.ts';
import type { WeChatClient } from '../wechat/client.ts';
import type { Broker } from './broker.ts';

/** What a sender is made of. */
export interface SenderParts {
  readonly config: Config;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly wechat: WeChatClient;
  readonly ledger: Ledger;
  readonly broker: Broker;
  /** The name of this process among replicas; empty: it shares nothing. */
  readonly owner: string;
}

/** Puts together what sends messages, with the broker's tokens. It ages by the broker's clock. */
export function createSender({ config, logger, metrics, wechat, ledger, broker, owner }: SenderParts): Sender {
  const { registry, clock, cluster } = broker;
  return new Sender(
    {
      clock,
      random: systemRandom,
      api: wechat,
      ledger,
      tokens: {
        get: (appId, options) => registry.get(appId, options),
        forceRefresh: (appId, rejected) => registry.forceRefresh(appId, { ...rejected, witness: 'broker' }),
      },
      owner,
      isOther: (name) => cluster?.isOther(name) ?? false,
      digest: (text) => createHash('sha256').update(text).digest('base64url'),
      newId: randomUUID,
      observe(event) {
        metrics.messages.observe(event);
        logMessageEvent(logger, event);
      },
    },
    config.messages,
  );
}
