// Loaded into a broker before it starts (`node --import`): kills it, as `kill -9` does, when so many messages have reached
// a point on their way. DIE_AT is "before the call" or "answered", DIE_AFTER how many.
import { WeChatClient } from '../../src/wechat/client.ts';

const { DIE_AT: point = '', DIE_AFTER: count = '' } = process.env;
const { send } = WeChatClient.prototype;
let there = 0;

/** Never resolves: what comes after this point never happens. */
function reached(): Promise<never> {
  if (++there === Number(count)) {
    process.kill(process.pid, 'SIGKILL');
    // The signal is on its way; nothing may happen before it.
    for (;;);
  }
  return new Promise(() => {});
}

WeChatClient.prototype.send = async function (...call) {
  if (point === 'before the call') return await reached();
  await send.apply(this, call);
  return await reached();
};
