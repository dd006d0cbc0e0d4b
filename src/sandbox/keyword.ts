const DATE = String.raw`\d{4}年\d{1,2}月\d{1,2}日`;
const TIME = String.raw`\d{1,2}:\d{2}(:\d{2})?`;

const MOMENT = `(${DATE}( ${TIME})?|${TIME})`;
/** A moment, or two of them. */
const SPAN = new RegExp(`^${MOMENT}(~${MOMENT})?$`);

/** What WeChat documents of the values of a subscription message, by the kind that a keyword's name begins with. */
const KINDS: Readonly<Record<string, RegExp>> = {
  /** Of any kind; that a line break is refused is what users report. */
  thing: /^[^\r\n]{1,20}$/u,
  number: /^(?=.{1,32}$)\d+(\.\d+)?$/,
  letter: /^[A-Za-z]{1,32}$/,
  symbol: /^[^\p{L}\p{N}\s]{1,5}$/u,
  character_string: /^[^\p{Script=Han}\r\n]{1,32}$/u,
  time: SPAN,
  date: SPAN,
  amount: /^(?=\p{Sc}?[\d.]{1,11}元?$)\p{Sc}?\d{1,10}(\.\d+)?元?$/u,
  phone_number: /^[^\p{L}\r\n]{1,17}$/u,
  car_number: /^[\p{Script=Han}A-Za-z\d]{1,8}$/u,
  /** Where there is one Han character all count as such. */
  name: /^([^\r\n\d]{1,10}|[^\p{Script=Han}\r\n\d]{1,20})$/u,
  phrase: /^\p{Script=Han}{1,5}$/u,
};

/** Whether a keyword of this name (`thing1`) may have the value in a subscription message. What has no known kind may have any. */
export function fits(name: string, value: string): boolean {
  const [, kind = ''] = /^([a-z_]+)\d+$/.exec(name) ?? [];
  return KINDS[kind]?.test(value) ?? true;
}
