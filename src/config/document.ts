import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type ParsedNode,
  parseDocument,
  type YAMLError,
  type YAMLMap,
} from 'yaml';
import { type ConfigProblem, formatPath, isNameable, type Segments } from './problem.ts';

/** A YAML file, read as far as it can be. */
export interface ConfigDocument {
  /** The content as plain JavaScript values; undefined when the YAML is broken. */
  readonly value: unknown;
  readonly problems: readonly ConfigProblem[];
  /** The line of a key, or of the nearest thing around it that the file has. */
  lineOf(path: Segments): number | undefined;
}

/** What the parser found, in our words: its own messages quote the source, which may hold a secret. */
const SYNTAX: Partial<Record<YAMLError['code'], string>> = {
  BAD_INDENT: 'is indented wrongly; write the keys of one map in one column',
  TAB_AS_INDENT: 'is indented with a tab; write spaces',
  MISSING_CHAR: 'lacks a closing quote, a bracket, a comma or a colon; write it, and a space after each colon',
  MULTIPLE_DOCS: 'begins a second document; write one document, without a "---" between its parts',
  NON_STRING_KEY: 'has a key that is not text; write plain keys',
  BAD_ALIAS: 'has an alias (*) without a name; write a text that begins with * in quotes',
  BAD_SCALAR_START: 'begins with a character that YAML reserves; write this text in quotes',
  TAG_RESOLVE_FAILED: 'has a tag (!) that is not known; write a text that begins with ! in quotes',
  MULTILINE_IMPLICIT_KEY: 'is not "key: value"; write a colon and a space after the key',
  BLOCK_AS_IMPLICIT_KEY: 'has two keys on one line; write one "key: value" a line, and texts with ": " in quotes',
  BLOCK_IN_FLOW:
    'has a "- " or lacks a comma inside [ ] or { }; write commas between the items there, or one "- " item a line without brackets',
  BAD_DQ_ESCAPE: 'has a backslash in double quotes that begins nothing; write two, or single quotes',
  RESOURCE_EXHAUSTION: 'is nested too deeply; write it flatter',
};
/** Of one code what several mistakes end in, by the parser's words. */
const IN_DETAIL: readonly (readonly [RegExp, string])[] = [
  [/^Flow (sequence|map) /, 'lacks the "]" or "}" of a bracket that was opened here or before; write it'],
  [/^Missing closing .*quote/, 'lacks the closing quote of a text that was opened here or before; write it'],
  [
    /^Sequence item without - /,
    'is indented wrongly; write the keys of one item in one column, or "- " before a new item',
  ],
  [/^Unexpected flow-(seq|map)-end /, 'has a "]" or "}" that no bracket opens; remove it, or open one'],
];
const INDENTED_TOO_FAR = 'is followed by a line that is indented too far; write the keys of one map in one column';
const OTHER_SYNTAX = 'is not valid YAML; look for a lost quote, bracket or colon here or on the line before';
const UNFILLED_VARIABLE =
  'has a variable in braces, and variables are not filled in; for a secret, store.url or upstream.proxy write { env: NAME }';

/** A file of settings needs four. */
const MAX_DEPTH = 32;
const MAX_ALIASES = 1000;
const TOO_MANY_ALIASES = 'repeats its aliases (*) too often; write the values out';

/** Parses the text of a config file. Nothing of the text gets into a problem but keys that look like settings. */
export function parseConfig(text: string): ConfigDocument {
  const counter = new LineCounter();
  const doc = parseDocument(text, {
    lineCounter: counter,
    prettyErrors: false,
    uniqueKeys: false,
    stringKeys: true,
    logLevel: 'error',
  });
  const walk = new Walk((offset) => counter.linePos(offset).line);
  const broken = [...doc.errors, ...doc.warnings];
  const told = new Set<number>();
  for (const [i, error] of broken.entries()) {
    const [offset] = error.pos;
    const { line, col } = counter.linePos(offset);
    // What is wrong with a line is told once: the rest mostly follows from it.
    if (told.has(line)) continue;
    told.add(line);
    const source = text.slice(counter.lineStarts[line - 1], counter.lineStarts[line]);
    // A line that is indented further than a value goes on with it, and then has a colon too many.
    const next = error.code === 'BLOCK_AS_IMPLICIT_KEY' ? broken[i + 1] : undefined;
    const goesOn = next?.code === 'MULTILINE_IMPLICIT_KEY' && next.pos[0] === offset;
    walk.report([], offset, goesOn ? INDENTED_TOO_FAR : explain(error, source, col));
  }
  if (broken.length === 0 && doc.contents) walk.visit(doc.contents, []);
  return {
    value: broken.length > 0 || walk.isUnusable ? undefined : toValue(doc, walk),
    problems: walk.problems,
    lineOf: (path) => walk.lineOf(path),
  };
}

/** What is wrong with a line, and what to write. */
function explain({ code, message }: YAMLError, line: string, column: number): string {
  if (/\$\{\w+/.test(line)) return UNFILLED_VARIABLE;
  const detail = IN_DETAIL.find(([pattern]) => pattern.test(message));
  if (detail) return detail[1];
  const isFirst = line.slice(0, Math.max(0, column - 1)).trim() === '';
  if (code === 'UNEXPECTED_TOKEN' && isFirst && /^Unexpected scalar /.test(message)) return SYNTAX.BAD_INDENT ?? '';
  return SYNTAX[code] ?? OTHER_SYNTAX;
}

function toValue(doc: Document.Parsed, walk: Walk): unknown {
  try {
    return doc.toJS();
  } catch {
    walk.report([], undefined, TOO_MANY_ALIASES);
    return undefined;
  }
}

/** Where a key or an item stands, and what stands below it. */
interface Place {
  line: number | undefined;
  readonly below: Map<string | number, Place>;
}

function newPlace(): Place {
  return { line: undefined, below: new Map() };
}

/** Goes through the syntax tree once, for the line of every key and for keys that are written twice. */
class Walk {
  readonly problems: ConfigProblem[] = [];
  /** Set where the content is not to be made values of. */
  isUnusable = false;
  readonly #lineAt: (offset: number) => number;
  readonly #root = newPlace();
  readonly #anchors = new Set<string>();
  #aliases = 0;

  constructor(lineAt: (offset: number) => number) {
    this.#lineAt = lineAt;
  }

  report(path: Segments, offset: number | undefined, message: string): void {
    const line = offset === undefined ? undefined : this.#lineAt(offset);
    const odd = path.findIndex((segment) => typeof segment === 'string' && !isNameable(segment));
    this.problems.push({ path: formatPath(odd === -1 ? path : path.slice(0, odd)), line, message });
  }

  lineOf(path: Segments): number | undefined {
    let line: number | undefined;
    let place: Place | undefined = this.#root;
    for (const segment of path) {
      place = place.below.get(segment);
      if (!place) break;
      line = place.line ?? line;
    }
    return line;
  }

  visit(node: ParsedNode | null, path: Segments, place = this.#root): void {
    if (path.length > MAX_DEPTH) {
      if (!this.isUnusable) this.report([], node?.range[0], SYNTAX.RESOURCE_EXHAUSTION ?? '');
      this.isUnusable = true;
    } else if (isAlias(node)) this.#visitAlias(node, path);
    else {
      if (node?.anchor !== undefined) this.#anchors.add(node.anchor);
      if (isMap(node)) this.#visitMap(node, path, place);
      else if (isSeq(node)) {
        node.items.forEach((item, i) => {
          const below = newPlace();
          below.line = this.#lineAt(item.range[0]);
          place.below.set(i, below);
          this.visit(item, [...path, i], below);
        });
      }
    }
  }

  #visitAlias({ source, range }: Alias.Parsed, path: Segments): void {
    if (!this.#anchors.has(source)) {
      this.isUnusable = true;
      this.report(path, range[0], 'is an alias (*) of nothing; write a text that begins with * in quotes');
    } else if (++this.#aliases === MAX_ALIASES) {
      this.isUnusable = true;
      this.report([], range[0], TOO_MANY_ALIASES);
    }
  }

  #visitMap(node: YAMLMap.Parsed, path: Segments, place: Place): void {
    for (const { key, value } of node.items) {
      if (!isScalar(key)) continue;
      if (key.anchor !== undefined) this.#anchors.add(key.anchor);
      const name = String(key.value);
      const at = [...path, name];
      const before = place.below.get(name);
      const below = before ?? newPlace();
      const first = before?.line;
      // The later one is what the value has.
      below.line = this.#lineAt(key.range[0]);
      place.below.set(name, below);
      if (first !== undefined) this.report(at, key.range[0], `is written twice (line ${first} too); keep one`);
      this.visit(value, at, below);
    }
  }
}
