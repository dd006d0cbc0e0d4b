import * as z from 'zod';
import { isNameable, type Segments } from './problem.ts';
import { configSchema } from './schema.ts';

/** What to write in place of a key that does not exist at `path`. */
export function adviseOnKey(path: Segments, key: string): string {
  const known = knownKeys(path);
  const nearest = isNameable(key) ? nearestOf(key, known) : undefined;
  const says = isNameable(key) ? 'is not a setting' : 'has a key that is not a setting';
  return nearest ? `${says}; did you mean ${nearest}?` : `${says}; write one of ${known.join(', ')}`;
}

interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
}

/** The keys that the schema has at a path. */
function knownKeys(path: Segments): string[] {
  // Made at the first mistake, and once: it takes a millisecond.
  schema ??= z.toJSONSchema(configSchema, { io: 'input' }) as SchemaNode;
  let node: SchemaNode | undefined = schema;
  for (const segment of path) node = asMap(typeof segment === 'number' ? node?.items : node?.properties?.[segment]);
  return Object.keys(node?.properties ?? {});
}

let schema: SchemaNode | undefined;

/** Of a word or a map: the map. */
function asMap(node: SchemaNode | undefined): SchemaNode | undefined {
  return node?.anyOf?.find(({ properties }) => properties) ?? node;
}

/** The candidate that a hasty writer may have meant: a third of its letters may differ, and case, - and _ never count. */
function nearestOf(key: string, candidates: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replace(/[-_]/g, '');
  const ranked = candidates
    .map((candidate) => ({ candidate, edits: editDistance(plain(key), plain(candidate)) }))
    .toSorted((a, b) => a.edits - b.edits)[0];
  return ranked && ranked.edits <= plain(ranked.candidate).length / 3 ? ranked.candidate : undefined;
}

/** The least number of inserted, removed and changed letters between two words (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, change));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
