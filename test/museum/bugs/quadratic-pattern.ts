import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A pattern that may begin anywhere looks for what stands at the end of a text that others wrote. 64 KiB of spaces, from WeChat or from a ' +
    'box in between, stop the whole process for seconds: every caller, every watch, every other app.',
  edits: [
    {
      file: 'src/wechat/errmsg.ts',
      find: String.raw`const RID = /\brid:\s{0,4}`,
      replace: String.raw`const RID = /[\s,;]*\brid:\s{0,4}`,
    },
    {
      file: 'src/wechat/errmsg.ts',
      find: 'RID.exec(whole.slice(-RID_WITHIN))',
      replace: 'RID.exec(whole.slice(-64 * RID_WITHIN * RID_WITHIN))',
    },
  ],
  caughtBy: { file: 'test/wechat/redact.test.ts', test: 'an errmsg of spaces takes no more than its length' },
};
