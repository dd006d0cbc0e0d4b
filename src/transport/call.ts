import { type ContextValues, createContextKey, createContextValues } from '@connectrpc/connect';
import type { AuditedCall } from '../core/access/ports.ts';
import { LOCAL } from '../core/access/principal.ts';

/** What a listener lets a streaming handler do to its call though it is suspended at a `yield`. */
export interface StreamControl {
  /** Has `release` called once when the call is over, however it ends, even if nobody reads it. */
  onClose(release: () => void): void;
  /** Ends the call with this error, as if it had been thrown, and frees what it holds even if the peer does not read. */
  end(error: unknown): void;
}

const streamControl = createContextKey<StreamControl | undefined>(undefined, { description: 'streamControl' });
const caller = createContextKey<AuditedCall>({ caller: LOCAL, peer: 'unknown' }, { description: 'caller' });

/** The context values by which a listener hands its handler the control of a call, and who makes it from where. */
export function callValues(control: StreamControl, by: AuditedCall): ContextValues {
  return createContextValues().set(streamControl, control).set(caller, by);
}

/** The control of the call that is being handled. Throws where a listener forgot to provide it. */
export function streamControlOf(context: { readonly values: ContextValues }): StreamControl {
  const control = context.values.get(streamControl);
  if (!control) throw new TypeError('the listener provides no stream control: see callValues');
  return control;
}

/** The name that tells a caller from others; undefined where nobody asks who callers are. */
export function nameOf({ caller: { method, name } }: AuditedCall): string | undefined {
  return method === 'local' ? undefined : name;
}

/** Who makes the call that is being handled, as the door it came through found out before it read the body, and from where. */
export function callerOf(context: { readonly values: ContextValues }): AuditedCall {
  return context.values.get(caller);
}
