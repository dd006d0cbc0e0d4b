import API from 'co-wechat-api';
import { digest, serve } from '../serve.mjs';

const { GATEWAY, APP_ID, KEY } = process.env;

// docs/gateway.md: co-wechat-api
const api = new API(APP_ID, KEY);
api.prefix = `${GATEWAY}/cgi-bin/`;
api.snsPrefix = `${GATEWAY}/sns/`;
api.wxaPrefix = `${GATEWAY}/wxa/`;
api.customservicePrefix = `${GATEWAY}/customservice/`;
// docs/gateway.md: end

await serve({
  token: async () => digest((await api.ensureAccessToken()).accessToken),
  message: async (to) => (await api.sendTemplate(to, 'T1', '', '', { first: { value: 'hello' } })).msgid,
  ticket: async () => digest((await api.getTicket()).ticket),
  upload: async (file) => (await api.uploadMedia(file, 'image')).media_id,
  download: async (mediaId) => digest(await api.getMedia(mediaId)),
});
