import { UpstreamError } from '../../../src/core/kernel/errors.ts';
import type { Message } from '../../../src/core/messages/message.ts';
import type { Delivery } from '../../../src/core/messages/ports.ts';
import { readGrant, readVerdict } from '../../../src/wechat/answers.ts';
import { readSent } from '../../../src/wechat/messages.ts';
import type { Draw } from '../draw.ts';
import type { Target } from '../target.ts';

const SECRET = 'correct-horse-battery+/=';
const OPENID = 'oABC-the-openid-itself';
const FORM = 'the-form-id-itself';
const HIDDEN = [SECRET, OPENID, FORM];
/** The longest sentence about an answer: its errmsg is kept to 300 characters. */
const LONGEST = 2_000;
const STATUSES = [200, 200, 200, 200, 301, 404, 429, 500, 502, 503];

const message: Message = {
  appId: 'wxa',
  toUser: OPENID,
  templateId: 't',
  page: '',
  data: {},
  idempotencyKey: '',
  channel: { kind: 'mini_program', emphasisKeyword: '', formId: FORM },
};
const delivery: Delivery = { message, formId: FORM, clientMsgId: '' };

/** A body as WeChat, or whoever answers in its place, might send it. */
function body(draw: Draw): string {
  const errmsg = [draw.text(20), draw.pick([...HIDDEN, encodeURIComponent(SECRET), '']), draw.text(20)].join('');
  const fields = {
    ...(draw.oneIn(2) && { access_token: draw.oneIn(4) ? draw.json(1) : `token-${draw.below(1e6)}` }),
    ...(draw.oneIn(2) && { expires_in: draw.oneIn(2) ? draw.json(1) : 7200 }),
    ...(draw.oneIn(2) && {
      errcode: draw.oneIn(3) ? draw.json(1) : draw.pick([0, -1, 40001, 40013, 45009, 47003, 41029, 40164]),
    }),
    ...(draw.oneIn(2) && { errmsg: draw.oneIn(5) ? draw.json(1) : errmsg }),
    ...(draw.oneIn(4) && { ip_list: draw.json(2) }),
    ...(draw.oneIn(4) && { msgid: draw.json(1) }),
  };
  const text = draw.oneIn(8) ? JSON.stringify(draw.json(3)) : JSON.stringify(fields);
  return draw.mutated(Buffer.from(text)).toString();
}

/** WeChat's answers: what comes of them is a result or an UpstreamError, which shows no secret. */
export const answers: Target = {
  name: "WeChat's answers",
  share: 500,
  async open() {
    return {
      take(draw) {
        const answer = { status: draw.pick(STATUSES), body: body(draw), location: '' };
        judge(() => readGrant(answer, SECRET), [SECRET]);
        judge(() => readVerdict(answer, SECRET), [SECRET]);
        judge(() => readSent(answer, delivery, SECRET), HIDDEN);
      },
      [Symbol.asyncDispose]: async () => {},
    };
  },
};

/** Lets an UpstreamError pass that shows nothing of what was sent. */
function judge(read: () => unknown, hidden: readonly string[]): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    const told = JSON.stringify([error.message, error.answer]);
    if (hidden.some((each) => told.includes(each))) throw new Error('an error shows a secret', { cause: error });
    if (error.message.length > LONGEST) throw new Error(`an error has ${error.message.length} characters`);
    if (/[\p{Cc}\u2028\u2029]/u.test(error.message)) throw new Error('an error has control characters');
  }
}
