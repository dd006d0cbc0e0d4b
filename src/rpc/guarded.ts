import type { DescService } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { Access } from '../core/access/access.ts';
import type { AuditedCall } from '../core/access/ports.ts';
import { callerOf, streamControlOf } from '../transport/call.ts';
import type { Service } from '../transport/service.ts';
import type { MethodNeeds, Need } from './method-rights.ts';

type Method = (request: unknown, context: HandlerContext) => unknown;

/**
 * A service whose methods are called only by those who may: the rule comes before the request is looked at any further, and so
 * does the credential, since the body may come long after the head. A stream counts as one of its caller's, and ends when its
 * right does.
 */
export function guarded<Desc extends DescService>(
  service: Service<Desc>,
  needs: MethodNeeds<Desc>,
  access: Access,
): Service<Desc> {
  const rows = needs as Readonly<Record<string, Need>>;
  const impl = service.impl as Readonly<Record<string, Method>>;
  const open = new Set<string>();
  const methods = service.desc.methods.map(({ localName, methodKind }): [string, Method] => {
    const method = impl[localName]?.bind(impl);
    const need = rows[localName];
    // The types see to it where they are known; here a service without types would be open to all.
    if (!method || !need) throw new TypeError(`${service.desc.typeName} has no method or no row for ${localName}`);
    if (need.kind === 'nothing') open.add(localName);
    if (need.kind === 'nothing' || access.isOpen) return [localName, method];
    const isUnary = methodKind === 'unary';
    return [localName, isUnary ? guardedUnary(method, need, access) : guardedStream(method, need, access)];
  });
  return { ...service, impl: Object.fromEntries(methods) as ServiceImpl<Desc>, open };
}

function guardedUnary(method: Method, need: Need, access: Access): Method {
  return (request, context) => {
    const call = callerOf(context);
    access.requireCredential(call);
    requireNeed(access, call, need, request);
    return method(request, context);
  };
}

function guardedStream(method: Method, need: Need, access: Access): Method {
  return (request, context) => {
    const call = callerOf(context);
    const check = () => requireNeed(access, call, need, request);
    access.requireCredential(call);
    check();
    const control = streamControlOf(context);
    const stream = access.open(call, { check, end: (error) => control.end(error) });
    control.onClose(() => stream[Symbol.dispose]());
    return method(request, context);
  };
}

/** Throws ACCESS_DENIED unless the caller has what the call needs. */
function requireNeed(access: Access, call: AuditedCall, need: Need, request: unknown): void {
  if (need.kind === 'rule') access.requireRule(call, need.verb);
  if (need.kind === 'all') access.requireAll(call, need.verb);
  if (need.kind === 'app') access.require(call, need.verb(request), need.app(request));
  if (need.kind !== 'apps') return;
  const named = need.apps(request);
  if (named.length === 0) access.requireRule(call, need.verb);
  for (const appId of named) access.require(call, need.verb, appId);
}
