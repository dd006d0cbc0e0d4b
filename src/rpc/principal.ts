import { type ContextValues, createContextKey } from '@connectrpc/connect';
import { LOCAL, type Principal } from '../core/access/principal.ts';

const principal = createContextKey<Principal>(LOCAL, { description: 'principal' });

/** Has the handler of a call see who makes it. */
export function withPrincipal(values: ContextValues, caller: Principal): ContextValues {
  return values.set(principal, caller);
}

/** Who makes the call that is being handled, as the door it came through found out before it read the body. */
export function principalOf(context: { readonly values: ContextValues }): Principal {
  return context.values.get(principal);
}
