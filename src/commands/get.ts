import { timestampDate } from '@bufbuild/protobuf/wkt';
import { TokenService } from '../gen/lingpai/v1/token_pb.js';
import { type ClientOptions, calling } from './client.ts';
import type { Io } from './io.ts';
import { jsonLine, print } from './output.ts';
import { stateJson, stateText } from './show.ts';

/** `lingpai get APP`: one app's state. */
export async function get(
  appId: string,
  options: ClientOptions & { minGeneration: number; timeout: number },
  io: Io,
): Promise<void> {
  const { minGeneration, timeout, json = false, showToken = false } = options;
  const { state, serverTime } = await calling(TokenService, options, io, (client) =>
    client.get({ appId, minGeneration: BigInt(minGeneration) }, { timeoutMs: timeout * 1000 }),
  );
  if (!state) return;
  const time = serverTime ? timestampDate(serverTime).toISOString() : null;
  print(
    json ? jsonLine({ state: stateJson(state, showToken), serverTime: time }) : stateText(state, serverTime, showToken),
    io,
  );
}
