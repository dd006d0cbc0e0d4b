/** What the simulated WeChat says with each errcode, as far as the real one's words are known. */
const errmsgs: Readonly<Record<number, string>> = {
  [-1]: 'system error',
  40001: 'invalid credential, access_token is invalid or not latest',
  40002: 'invalid grant_type',
  40003: 'invalid openid',
  40004: 'invalid media type',
  40007: 'invalid media_id',
  40013: 'invalid appid',
  40014: 'invalid access_token',
  40029: 'invalid code',
  40037: 'invalid template_id',
  40066: 'invalid url',
  40097: 'invalid args',
  40125: 'invalid appsecret',
  40163: 'code been used',
  40165: 'invalid web page url',
  40243: 'appsecret is frozen',
  41001: 'access_token missing',
  41002: 'appid missing',
  41004: 'appsecret missing',
  41005: 'media data missing',
  41008: 'missing code',
  41028: 'invalid form id',
  41029: 'form id used count reach limit',
  41030: 'invalid page',
  42001: 'access_token expired',
  43001: 'require GET method',
  43002: 'require POST method',
  43101: 'user refuse to accept the msg',
  43117: 'send too frequently',
  45001: 'media size out of limit',
  45009: 'reach max api daily quota limit',
  45011: 'api minute-quota reach limit, must slower, retry next minute',
  45103: 'this interface is offline',
  45109: 'this interface is offline',
  46003: 'menu no exist',
  47001: 'data format error',
  47003: 'argument invalid!',
  48001: 'api unauthorized',
  48004: 'api forbidden for irregularities',
  48006: 'forbid to clear quota because of reaching the limit',
  50002: 'user limited',
  50004: 'forbidden to use the token interface',
  50007: 'account is banned',
  61004: 'access clientip is not registered',
  76001: 'rid not found',
  76002: 'rid is error',
  76003: 'could not query this rid,no permission',
  76004: 'rid time is error',
  76021: 'cgi_path not found, please check',
  76022: 'could not use this cgi_path, no permission',
  89501: 'this ip is waiting for the confirmation of an administrator',
  89503: 'this ip needs the confirmation of an administrator',
  89506: 'this ip was refused twice by an administrator, do not use it for 24 hours',
  89507: 'this ip was refused by an administrator, do not use it for 1 hour',
};

/** The errmsg of an errcode, without its rid. */
export function errmsgOf(errcode: number): string {
  return errmsgs[errcode] ?? 'error';
}

/** The errmsg of 40164 for a caller's address; an IPv4 address may be written as IPv6 (`::ffff:`). */
export function invalidIp(ip: string): string {
  const plain = plainIp(ip);
  return `invalid ip ${plain} ipv6 ${plain.includes(':') ? plain : `::ffff:${plain}`}, not in whitelist`;
}

/** An address as people write it: IPv4 without the `::ffff:` that a dual-stack socket puts before it. */
export function plainIp(ip: string): string {
  return ip.startsWith('::ffff:') ? ip.slice('::ffff:'.length) : ip;
}
