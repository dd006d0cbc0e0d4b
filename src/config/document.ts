import {
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
};
const OTHER_SYNTAX = 'is not valid YAML; look for a lost quote, bracket or colon here or on the line before';

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
  const walk = new Walk(doc, (offset) => counter.linePos(offset).line);
  const broken = [...doc.errors, ...doc.warnings];
  for (const error of broken) walk.report([], error.pos[0], SYNTAX[error.code] ?? OTHER_SYNTAX);
  if (broken.length === 0 && doc.contents) walk.visit(doc.contents, []);
  return {
    value: broken.length > 0 || walk.hasLostAlias ? undefined : toValue(doc, walk),
    problems: walk.problems,
    lineOf: (path) => walk.lineOf(path),
  };
}

function toValue(doc: Document.Parsed, walk: Walk): unknown {
  try {
    return doc.toJS();
  } catch {
    walk.report([], undefined, 'repeats its aliases (*) too often; write the values out');
    return undefined;
  }
}

/** Goes through the syntax tree once, for the line of every key and for keys that are written twice. */
class Walk {
  readonly problems: ConfigProblem[] = [];
  hasLostAlias = false;
  readonly #doc: Document.Parsed;
  readonly #lineAt: (offset: number) => number;
  readonly #lines = new Map<string, number>();

  constructor(doc: Document.Parsed, lineAt: (offset: number) => number) {
    this.#doc = doc;
    this.#lineAt = lineAt;
  }

  report(path: Segments, offset: number | undefined, message: string): void {
    this.problems.push({
      path: formatPath(path),
      line: offset === undefined ? undefined : this.#lineAt(offset),
      message,
    });
  }

  lineOf(path: Segments): number | undefined {
    for (let length = path.length; length > 0; length--) {
      const line = this.#lines.get(formatPath(path.slice(0, length)));
      if (line !== undefined) return line;
    }
    return undefined;
  }

  visit(node: ParsedNode | null, path: Segments): void {
    if (isMap(node)) this.#visitMap(node, path);
    else if (isSeq(node)) {
      node.items.forEach((item, i) => {
        const at = [...path, i];
        this.#lines.set(formatPath(at), this.#lineAt(item.range[0]));
        this.visit(item, at);
      });
    } else if (isAlias(node) && !node.resolve(this.#doc)) {
      this.hasLostAlias = true;
      this.report(path, node.range?.[0], 'is an alias (*) of nothing; write a text that begins with * in quotes');
    }
  }

  #visitMap(node: YAMLMap.Parsed, path: Segments): void {
    for (const { key, value } of node.items) {
      if (!isScalar(key)) continue;
      const name = String(key.value);
      const at = [...path, name];
      const first = this.#lines.get(formatPath(at));
      // The later one is what the value has.
      this.#lines.set(formatPath(at), this.#lineAt(key.range[0]));
      if (first !== undefined)
        this.report(isNameable(name) ? at : path, key.range[0], `is written twice (line ${first} too); keep one`);
      this.visit(value, at);
    }
  }
}
