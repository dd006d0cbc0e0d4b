/** What is kept of a kind, so that nothing grows for ever: of users, consents, forms and client_msg_ids. */
export const MOST_KEPT = 200_000;

/** Sets a key; where there are too many, the one that was set first is forgotten. */
export function setBounded<K, V>(map: Map<K, V>, key: K, value: V, most = MOST_KEPT): void {
  map.set(key, value);
  if (map.size <= most) return;
  const [first] = map.keys();
  map.delete(first as K);
}
