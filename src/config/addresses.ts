import type { Segments } from './problem.ts';
import { pointerSchema, proxyUrlSchema, storeUrlSchema } from './schema.ts';
import { type ResolvedSecret, resolvePointer, type SecretSources, variableOf } from './secret.ts';

/** The text of a setting that may stand elsewhere, as far as it is there, and what is wrong with it. */
export interface Address {
  readonly text: string | undefined;
  readonly file: string | undefined;
  readonly problems: readonly { readonly at: Segments; readonly message: string }[];
}

/** The settings that are addresses. */
export interface Addresses {
  readonly store: Address;
  readonly proxy: Address;
}

/** Finds the addresses, of which `adviseOnStore` knows what is wrong with one of a store. It never throws. */
export async function resolveAddresses(
  value: unknown,
  sources: SecretSources,
  adviseOnStore: (url: string) => string | undefined,
): Promise<Addresses> {
  const { store, upstream } = (value ?? {}) as { store?: { url?: unknown }; upstream?: { proxy?: unknown } };
  const proxyAdvice = (text: string) => proxyUrlSchema.safeParse(text).error?.issues[0]?.message;
  const storeAdvice = (text: string) => adviseOnStore(text) ?? storeUrlSchema.safeParse(text).error?.issues[0]?.message;
  return {
    store: await resolveAddress(
      store?.url,
      { at: ['store', 'url'], thing: 'the address', advise: storeAdvice },
      sources,
    ),
    proxy: await resolveAddress(
      upstream?.proxy,
      { at: ['upstream', 'proxy'], thing: 'the URL', advise: proxyAdvice },
      sources,
    ),
  };
}

async function resolveAddress(
  written: unknown,
  setting: { readonly at: Segments; readonly thing: string; readonly advise: (text: string) => string | undefined },
  sources: SecretSources,
): Promise<Address> {
  const { at, thing, advise } = setting;
  const wrong = (message: string, below: Segments = []): Address => {
    return { text: undefined, file: undefined, problems: [{ at: [...at, ...below], message }] };
  };
  let found: ResolvedSecret;
  if (typeof written === 'string') {
    const name = variableOf(written, true);
    if (name)
      return wrong(`has a variable in it, and is not filled in; write { env: ${name} } with ${thing} as a whole in it`);
    found = { ok: true, text: written, at: [], file: undefined };
  } else {
    const pointer = pointerSchema.safeParse(written);
    // What is neither is the schema's to complain of.
    if (!pointer.success) return { text: undefined, file: undefined, problems: [] };
    found = await resolvePointer(pointer.data, thing, sources);
  }
  if (!found.ok) return wrong(found.message, found.at);
  const message = advise(found.text);
  if (message === undefined) return { text: found.text, file: found.file, problems: [] };
  return wrong(found.at.length > 0 ? `what stands there is wrong: ${message}` : message, found.at);
}
