import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { Config } from '../config/config.ts';
import type { Access } from '../core/access/access.ts';
import type { Audit } from '../core/access/ports.ts';
import type { Ledger, NewPermit } from '../core/messages/ports.ts';
import { AdminService } from '../gen/lingpai/v1/admin_pb.js';
import { MessageService } from '../gen/lingpai/v1/message_pb.js';
import { TicketService } from '../gen/lingpai/v1/ticket_pb.js';
import { TokenService } from '../gen/lingpai/v1/token_pb.js';
import type { Metrics } from '../ops/metrics.ts';
import { adminService } from '../rpc/admin-service.ts';
import { auditedAdmin, auditedForces, auditedMessages, auditedTickets, auditedTokens } from '../rpc/audited.ts';
import { toConnectError } from '../rpc/errors.ts';
import { guarded } from '../rpc/guarded.ts';
import { messageService } from '../rpc/message-service.ts';
import { ADMIN_NEEDS, MESSAGE_NEEDS, TICKET_NEEDS, TOKEN_NEEDS } from '../rpc/method-rights.ts';
import { ticketService } from '../rpc/ticket-service.ts';
import { tokenService } from '../rpc/token-service.ts';
import { TOKEN_LIMITS } from '../rpc/validate.ts';
import { MESSAGE_LIMITS } from '../rpc/validate-message.ts';
import type { Service } from '../transport/service.ts';
import type { Core } from './core.ts';

/** What the services are made of. */
export interface ServiceParts {
  readonly config: Config;
  readonly metrics: Metrics;
  readonly audit: Audit;
  readonly core: Core;
  readonly access: Access;
  readonly ledger: Ledger;
  /** Told of each permit that was deposited and was not known. */
  readonly onDeposit: ((appId: string, permit: NewPermit) => void) | undefined;
  /** Aborts when the broker drains. */
  readonly draining: AbortSignal;
  /** Resolves when all else that is due has had its turn. */
  readonly pause: () => Promise<void>;
  /** Told of a fault that the caller learns only the reason of. */
  readonly report: (error: unknown) => void;
}

/** Lingpai's services, on its core. */
export function createServices(parts: ServiceParts): readonly Service[] {
  const { config, metrics, audit, core, access, ledger, onDeposit, draining, pause, report } = parts;
  const { registry, clock, cluster, sender, operators, tickets: kept } = core;
  const tokens = tokenService({
    broker: registry,
    clock,
    access,
    stallTimeoutMs: config.watch.stallTimeoutMs,
    onForced: auditedForces(audit),
    onOperator: (appId) => sender.tryAgain(appId),
    propagation: (ms) => metrics.propagation(ms),
  });
  const tickets = ticketService({
    tickets: kept,
    clock,
    access,
    newNonce: () => randomBytes(12).toString('base64url'),
    sha1: (text) => createHash('sha1').update(text).digest('hex'),
  });
  const messages = messageService({
    sender: { send: (message, signal) => metrics.messages.track(sender.send(message, signal)) },
    ledger: onDeposit ? telling(ledger, onDeposit) : ledger,
    clock,
    access,
    requireApp: (appId) => registry.requireApp(appId),
    newId: randomUUID,
    maxPermits: config.messages.maxPermits,
    reviewWords: config.reviewWords,
    pause,
    streamLimit: config.messages.concurrency,
    draining,
    onAnswered: auditedMessages(audit),
    toError: (error) => toConnectError(error, report),
    report,
  });
  const admin = adminService({
    broker: registry,
    cluster: () => cluster?.status(),
    clock,
    access,
    propagation: () => metrics.propagationSummary(),
    shutChannels: (appId) => sender.shutChannels(appId),
    operators,
    mintBudget: (appId, issuer) => registry.mintBudget(appId, issuer),
    pause,
  });
  return [
    guarded({ desc: TokenService, impl: auditedTokens(tokens, audit), limits: TOKEN_LIMITS }, TOKEN_NEEDS, access),
    guarded({ desc: TicketService, impl: auditedTickets(tickets, audit) }, TICKET_NEEDS, access),
    guarded({ desc: MessageService, impl: messages, limits: MESSAGE_LIMITS }, MESSAGE_NEEDS, access),
    guarded({ desc: AdminService, impl: auditedAdmin(admin, audit) }, ADMIN_NEEDS, access),
  ];
}

/** A ledger that tells of each permit which is new to it. */
function telling(
  ledger: Ledger,
  onDeposit: (appId: string, permit: NewPermit) => void,
): Pick<Ledger, 'deposit' | 'count'> {
  return {
    count: (appId, toUser, now) => ledger.count(appId, toUser, now),
    async deposit(appId, permits, limit) {
      let deposited = 0;
      // One at a time, since the ledger says how many were new and not which.
      for (const permit of permits) {
        const outcome = await ledger.deposit(appId, [permit], limit);
        if (outcome === 'full') return 'full';
        if (outcome.deposited === 0) continue;
        deposited++;
        onDeposit(appId, permit);
      }
      return { deposited, duplicates: permits.length - deposited };
    },
  };
}
