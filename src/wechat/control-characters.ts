/**
 * JSON in whose strings the raw control characters are escaped, as its writer should have done: WeChat repeats what users wrote.
 * Whatever else is wrong stays so. It takes time that grows with the text's length alone.
 */
export function escapeControlCharacters(json: string): string {
  let isInString = false;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return json.replace(/\\.|["\u0000-\u001f]/gs, (found) => {
    if (found === '"') isInString = !isInString;
    else if (isInString && found.length === 1) return `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`;
    return found;
  });
}
