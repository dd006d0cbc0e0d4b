import API from 'co-wechat-api';
import { digest, serve } from '../serve.mjs';

const { GATEWAY, APP_ID, KEY } = process.env;

// docs/gateway.md: co-wechat-api
const api = new API(APP_ID, KEY);
const { request } = api;
api.request = (url, ...rest) =>
  request.call(api, url.replace(/^https?:\/\/(file\.)?api\.weixin\.qq\.com/, GATEWAY), ...rest);
// docs/gateway.md: end

await serve({
  token: async () => digest((await api.ensureAccessToken()).accessToken),
  message: async (to) => (await api.sendTemplate(to, 'T1', '', '', { first: { value: 'hello' } })).msgid,
  ticket: async () => digest((await api.getTicket()).ticket),
  upload: async (file) => (await api.uploadMedia(file, 'image')).media_id,
  download: async (mediaId) => digest(await api.getMedia(mediaId)),
  elsewhere: async () => (await api.getColors()).errmsg,
});
