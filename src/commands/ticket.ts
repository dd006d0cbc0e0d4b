import { timestampDate, timestampMs } from '@bufbuild/protobuf/wkt';
import { TicketService, TicketType } from '../gen/lingpai/v1/ticket_pb.js';
import { type CallOptions, type ClientOptions, calling } from './client.ts';
import type { Io } from './io.ts';
import { asLines, jsonLine, print } from './output.ts';
import { MASK, masked, span } from './show.ts';

/** The types of tickets by their names on the command line, which are WeChat's. */
export const TYPES = { jsapi: TicketType.JSAPI, wx_card: TicketType.WX_CARD } as const;

/** `lingpai ticket APP`: one app's ticket. */
export async function ticket(
  appId: string,
  options: ClientOptions & { type: keyof typeof TYPES; timeout: number },
  io: Io,
): Promise<void> {
  const { type, timeout, json = false, showToken = false } = options;
  const { ticket: found, serverTime } = await calling(TicketService, options, io, (client) =>
    client.getTicket({ appId, type: TYPES[type] }, { timeoutMs: timeout * 1000 }),
  );
  if (!found) return;
  const { value, id, issueTime, expireTime } = found;
  if (json) {
    const time = (at: typeof expireTime) => (at ? timestampDate(at).toISOString() : null);
    const shown = { value: showToken ? value : MASK, id, issueTime: time(issueTime), expireTime: time(expireTime) };
    print(jsonLine({ appId, type, ticket: shown, serverTime: time(serverTime) }), io);
    return;
  }
  const now = serverTime ? timestampMs(serverTime) : Date.now();
  const left = span(expireTime ? timestampMs(expireTime) - now : 0);
  const lines = [`app    ${appId}`, `type   ${type}`, `ticket ${id}, expires in ${left}`];
  print(asLines([...lines, `       ${showToken ? value : masked(value)}`]), io);
}

/** `lingpai sign APP URL`: what `wx.config` needs on a page. */
export async function sign(
  appId: string,
  url: string,
  options: CallOptions & { timeout: number },
  io: Io,
): Promise<void> {
  const signed = await calling(TicketService, options, io, (client) =>
    client.signJsapi({ appId, url }, { timeoutMs: options.timeout * 1000 }),
  );
  const { timestamp, nonce, signature } = signed;
  // As wx.config takes them.
  const config = { appId: signed.appId, timestamp: Number(timestamp), nonceStr: nonce, signature };
  if (options.json) print(jsonLine(config), io);
  else print(asLines(Object.entries(config).map(([name, value]) => `${name.padEnd(10)} ${value}`)), io);
}
