import { type ContextValues, createContextKey, createContextValues } from '@connectrpc/connect';
import { LOCAL, type Principal } from '../core/access/principal.ts';

/** What a listener lets a streaming handler do to its call though it is suspended at a `yield`. */
export interface StreamControl {
  /** Has `release` called once when the call is over, however it ends, even if nobody reads it. */
  onClose(release: () => void): void;
  /** Ends the call with this error, as if it had been thrown, and frees what it holds even if the peer does not read. */
  end(error: unknown): void;
}

const streamControl = createContextKey<StreamControl | undefined>(undefined, { description: 'streamControl' });
const principal = createContextKey<Principal>(LOCAL, { description: 'principal' });
const peer = createContextKey('unknown', { description: 'peer' });

/** The context values by which a listener hands its handler the control of a call, and who makes it, from which address. */
export function callValues(control: StreamControl, caller: Principal, from = 'unknown'): ContextValues {
  return createContextValues().set(streamControl, control).set(principal, caller).set(peer, from);
}

/** The control of the call that is being handled. Throws where a listener forgot to provide it. */
export function streamControlOf(context: { readonly values: ContextValues }): StreamControl {
  const control = context.values.get(streamControl);
  if (!control) throw new TypeError('the listener provides no stream control: see callValues');
  return control;
}

/** Who makes the call that is being handled, as the door it came through found out before it read the body. */
export function principalOf(context: { readonly values: ContextValues }): Principal {
  return context.values.get(principal);
}

/** The address that the call which is being handled comes from, as `peerName` has it; `unknown` where nobody said. */
export function peerOf(context: { readonly values: ContextValues }): string {
  return context.values.get(peer);
}
