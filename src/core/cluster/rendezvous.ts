/**
 * The replica whose turn an app is, of those that live (one or more): the one with the highest hash. When a replica comes or
 * goes, only its own apps change hands. `failures` in a row hand the app on, since it may be the replica that cannot reach
 * WeChat.
 */
export function ownerOf(appId: string, failures: number, replicas: Iterable<string>): string {
  let owner = '';
  let highest = -1;
  for (const replica of replicas) {
    const hash = hashOf(`${appId} ${failures} ${replica}`);
    if (hash > highest || (hash === highest && replica < owner)) {
      owner = replica;
      highest = hash;
    }
  }
  return owner;
}

/** FNV-1a with the finalizer of MurmurHash3, without which names that differ at their end hash alike. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
