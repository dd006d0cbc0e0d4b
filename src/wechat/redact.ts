/** What is shorter is a secret only where it stands alone; otherwise a test's form_id "f" would make WeChat's words unreadable. */
const SHORT = 4;

/**
 * The text with "***" for each secret: as it is, as JSON, encodeURIComponent and URLSearchParams write it, and within base64 and
 * base64url of whatever holds it; in any case. It takes time that grows with the text and the secrets alone, whatever is in them.
 */
export function redact(text: string, secrets: readonly string[]): string {
  const folded = fold(text);
  /** Where the longest secret that begins at each place ends; 0: none does. */
  const ends = new Uint32Array(text.length);
  for (const form of new Set(
    secrets
      .filter((secret) => secret !== '')
      .flatMap(formsOf)
      .map(fold),
  )) {
    for (const end of endsOf(form, folded)) {
      const start = end - form.length;
      if (form.length >= SHORT || standsAlone(text, start, end)) ends[start] = Math.max(ends[start] ?? 0, end);
    }
  }
  let redacted = '';
  let rest = 0;
  for (let start = 0; start < text.length; start++) {
    let end = ends[start] ?? 0;
    if (end === 0) continue;
    for (let i = start; i < end; i++) end = Math.max(end, ends[i] ?? 0);
    redacted += `${text.slice(rest, start)}***`;
    rest = end;
    start = end - 1;
  }
  return redacted + text.slice(rest);
}

function formsOf(secret: string): string[] {
  const plain = [
    secret,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret.toWellFormed()),
    new URLSearchParams({ s: secret }).toString().slice('s='.length),
  ];
  return secret.length < SHORT ? plain : [...plain, ...base64Of(secret, 'base64'), ...base64Of(secret, 'base64url')];
}

/** The characters that are the secret's alone, for each of the three ways in which it may lie across groups of three bytes. */
function base64Of(secret: string, encoding: 'base64' | 'base64url'): string[] {
  const bytes = Buffer.from(secret);
  return [0, 1, 2].map((before) => {
    const characters = Buffer.concat([Buffer.alloc(before), bytes]).toString(encoding);
    return characters.slice(Math.ceil((before * 8) / 6), Math.floor(((before + bytes.length) * 8) / 6));
  });
}

/** Lower case that keeps every index. */
function fold(text: string): string {
  return text.replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase());
}

/** Where each `word` in `text` ends, also where they overlap. Knuth, Morris and Pratt's way: no text makes it slow. */
function endsOf(word: string, text: string): number[] {
  const borders = new Uint32Array(word.length);
  const next = (matched: number, character: string | undefined): number => {
    let length = matched;
    while (length > 0 && word[length] !== character) length = borders[length - 1] ?? 0;
    return word[length] === character ? length + 1 : 0;
  };
  for (let i = 1; i < word.length; i++) borders[i] = next(borders[i - 1] ?? 0, word[i]);
  const ends: number[] = [];
  for (let i = 0, matched = 0; i < text.length; i++) {
    matched = next(matched, text[i]);
    if (matched === word.length) ends.push(i + 1);
  }
  return ends;
}

function standsAlone(text: string, start: number, end: number): boolean {
  const isPart = (character: string | undefined) => character !== undefined && /[\w-]/.test(character);
  return !isPart(text[start - 1]) && !isPart(text[end]);
}
