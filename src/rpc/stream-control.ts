import { type ContextValues, createContextKey, createContextValues } from '@connectrpc/connect';
import { LOCAL, type Principal } from '../core/access/principal.ts';
import { withPrincipal } from './principal.ts';

/** What a streaming handler may do to its call though it is suspended at a `yield`. Each listener provides one. */
export interface StreamControl {
  /** Has `release` called once when the call is over, however it ends, even if nobody reads it. */
  onClose(release: () => void): void;
  /** Ends the call with this error, as if it had been thrown, and frees what it holds even if the peer does not read. */
  end(error: unknown): void;
}

const streamControl = createContextKey<StreamControl | undefined>(undefined, { description: 'streamControl' });

/** The context values with which a listener hands a call's control and its caller to its handler. */
export function withStreamControl(control: StreamControl, caller: Principal = LOCAL): ContextValues {
  return withPrincipal(createContextValues().set(streamControl, control), caller);
}

/** The control of the call that is being handled. Throws where a listener forgot to provide it. */
export function streamControlOf(context: { readonly values: ContextValues }): StreamControl {
  const control = context.values.get(streamControl);
  if (!control) throw new TypeError('the listener provides no stream control: see withStreamControl');
  return control;
}
