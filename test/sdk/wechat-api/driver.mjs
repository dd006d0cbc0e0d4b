import { promisify } from 'node:util';
import API from 'wechat-api';
import { digest, serve } from '../serve.mjs';

const { GATEWAY, APP_ID, KEY } = process.env;

// docs/gateway.md: wechat-api
const api = new API(APP_ID, KEY);
api.endpoint = GATEWAY;
api.fileServerPrefix = `${GATEWAY}/cgi-bin/`;
// docs/gateway.md: end

const call = (method, ...args) => promisify(api[method].bind(api))(...args);

await serve({
  token: async () => digest((await call('getLatestToken')).accessToken),
  message: async (to) => (await call('sendTemplate', to, 'T1', '', { first: { value: 'hello' } })).msgid,
  ticket: async () => digest((await call('getTicket', 'jsapi')).ticket),
  upload: async (file) => (await call('uploadMedia', file, 'image')).media_id,
  download: async (mediaId) => digest(await call('getMedia', mediaId)),
  elsewhere: async () => (await call('getColors')).errmsg,
});
