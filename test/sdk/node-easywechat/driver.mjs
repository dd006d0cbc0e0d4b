import { OfficialAccount } from 'node-easywechat';
import { digest, serve } from '../serve.mjs';

const { GATEWAY, APP_ID, KEY } = process.env;

// docs/gateway.md: node-easywechat
const app = new OfficialAccount({
  app_id: APP_ID,
  secret: KEY,
  http: { baseURL: GATEWAY },
});
// docs/gateway.md: end

const client = app.getClient();
const message = (touser) => ({ touser, template_id: 'T1', data: { first: { value: 'hello' } } });

await serve({
  token: async () => digest(await app.getAccessToken().getToken()),
  message: async (to) => (await client.postJson('cgi-bin/message/template/send', message(to))).toObject().msgid,
  ticket: async () => digest(await app.getTicket().getTicket()),
  upload: async (file) =>
    (await client.withFile(file, 'media').post('cgi-bin/media/upload', { params: { type: 'image' } })).toObject()
      .media_id,
  elsewhere: async () => (await client.get('card/getcolors')).toObject().errmsg,
  download: async (mediaId) => {
    const options = { params: { media_id: mediaId }, responseType: 'arraybuffer' };
    return digest((await client.get('cgi-bin/media/get', options)).getContent());
  },
});
