import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'JSON in which one control character stands raw is thrown away. WeChat repeats in errmsg what the caller wrote, line breaks included: its ' +
    'clear refusal of a message becomes one of unknown fate, and nobody learns which value was wrong.',
  edits: [
    {
      file: 'src/wechat/fields.ts',
      find: 'return parse(escapeControlCharacters(text));',
      replace: 'return parse(text);',
    },
    {
      file: 'src/wechat/fields.ts',
      find: `import { escapeControlCharacters } from './control-characters.ts';\n`,
      replace: '',
    },
  ],
  caughtBy: {
    file: 'test/wechat/messages.test.ts',
    test: 'reads a refusal, and a msgid, beside raw control characters',
  },
};
