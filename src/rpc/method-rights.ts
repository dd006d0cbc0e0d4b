import type { DescMessage, DescService, MessageShape } from '@bufbuild/protobuf';
import type { Verb } from '../core/access/verbs.ts';
import type { Health } from '../gen/grpc/health/v1/health_pb.js';
import type { ServerReflection } from '../gen/grpc/reflection/v1/reflection_pb.js';
import type { AdminService } from '../gen/lingpai/v1/admin_pb.js';
import type { MessageService } from '../gen/lingpai/v1/message_pb.js';
import type { TicketService } from '../gen/lingpai/v1/ticket_pb.js';
import type { TokenService } from '../gen/lingpai/v1/token_pb.js';

/** What a caller needs for a call. */
export type Need<Request = unknown> =
  /** Nothing, not even to say who it is. */
  | { readonly kind: 'nothing' }
  /** Some rule that names it; `verb` is what the call is about. A method that needs more of what it is sent asks for that itself. */
  | { readonly kind: 'rule'; readonly verb: Verb }
  /** A verb for the one app that the request names. */
  | { readonly kind: 'app'; readonly verb: (request: Request) => Verb; readonly app: (request: Request) => string }
  /** A verb for each app that the request names. One that names none is about all that the caller has the verb for. */
  | { readonly kind: 'apps'; readonly verb: Verb; readonly apps: (request: Request) => readonly string[] }
  /** A verb for all apps. */
  | { readonly kind: 'all'; readonly verb: Verb };

/** What each method of a service needs. It does not compile while a method has no row. */
export type MethodNeeds<Desc extends DescService> = {
  readonly [Name in keyof Desc['method']]: Need<
    Desc['method'][Name] extends { input: infer Input extends DescMessage } ? MessageShape<Input> : never
  >;
};

const NOTHING: Need = { kind: 'nothing' };

function app<Request extends { readonly appId: string }>(
  verb: Verb | ((request: Request) => Verb),
): Extract<Need<Request>, { kind: 'app' }> {
  return { kind: 'app', verb: typeof verb === 'function' ? verb : () => verb, app: ({ appId }) => appId };
}

function apps<Request extends { readonly appIds: readonly string[] }>(verb: Verb): Need<Request> {
  return { kind: 'apps', verb, apps: ({ appIds }) => appIds };
}

export const TOKEN_NEEDS: MethodNeeds<typeof TokenService> = {
  get: app('read'),
  // Whoever holds a token may say that WeChat refused it; who names none has a new one minted.
  forceRefresh: app(({ rejected }) => (rejected.case === undefined ? 'refresh' : 'read')),
  watchToken: apps('read'),
};

export const TICKET_NEEDS: MethodNeeds<typeof TicketService> = {
  getTicket: app('read'),
  // The signature comes of the ticket, and is good for one page.
  signJsapi: app('read'),
};

export const MESSAGE_NEEDS: MethodNeeds<typeof MessageService> = {
  sendTemplate: app('send'),
  // Each message names an app: one that may not be sent is that message's failure.
  sendTemplates: { kind: 'rule', verb: 'send' },
  depositPermits: app('send'),
  countPermits: app('send'),
  reviewTemplate: { kind: 'rule', verb: 'send' },
};

export const ADMIN_NEEDS: MethodNeeds<typeof AdminService> = {
  getStatus: apps('status'),
  listCallers: { kind: 'all', verb: 'admin' },
};

/** Probes know no key. */
export const HEALTH_NEEDS: MethodNeeds<typeof Health> = { check: NOTHING, list: NOTHING, watch: NOTHING };

export const REFLECTION_NEEDS: MethodNeeds<typeof ServerReflection> = {
  serverReflectionInfo: { kind: 'rule', verb: 'read' },
};
