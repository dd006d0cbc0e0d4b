import { fromFault } from './fault-body.ts';
import { Html, html } from './html.ts';
import { extras } from './message-body.ts';
import { received } from './received.ts';
import type { SimulatedWeChat } from './wechat.ts';

/** How often the page loads itself again, in seconds. */
const refreshS = 2;
/** Messages that it shows. */
const shown = 100;

/** What the page is sent with: nothing from elsewhere, and no script, is loaded or run. */
export const pageHeaders = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
};

/** `GET /sandbox/`: apps, faults and what users received, for people. `app_id` and `to_user` narrow the messages down. */
export function page(wechat: SimulatedWeChat, query: URLSearchParams): string {
  const appId = query.get('app_id') ?? undefined;
  const toUser = query.get('to_user') ?? undefined;
  const { text } = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="${refreshS}">
<meta name="viewport" content="width=device-width">
<title>Lingpai sandbox</title>
<style>${new Html(style)}</style>
</head>
<body>
<h1>Lingpai sandbox <small>a simulated WeChat, ${time(wechat.now())} UTC</small></h1>
<h2>Apps</h2>
${apps(wechat)}
<h2>Faults</h2>
${faults(wechat)}
<h2>Messages received</h2>
${inbox(wechat, appId, toUser)}
</body>
</html>
`;
  return text;
}

function apps(wechat: SimulatedWeChat): Html {
  if (wechat.appIds.length === 0) return html`<p>None yet.</p>`;
  const rows = wechat.appIds.map((appId) => {
    const { condition, accountKind } = wechat.app(appId);
    const counts = wechat.counts(appId);
    const tokens = wechat
      .tokens(appId)
      .filter(({ honoured }) => honoured)
      .map(({ issuer, id, diesAt }) => html`<div>${issuer} <code>${id}</code> until ${time(diesAt)}</div>`);
    return html`<tr><td>${link({ app_id: appId }, appId)}</td><td>${accountKind}</td><td>${condition}</td><td>${tokens}</td><td>${counts.mints + counts.outsideMints}</td><td>${counts.delivered}</td></tr>
`;
  });
  return html`<table>
<tr><th>app</th><th>account</th><th>condition</th><th>tokens honoured</th><th>tokens made</th><th>messages</th></tr>
${rows}</table>`;
}

function faults(wechat: SimulatedWeChat): Html {
  const { active } = wechat.faults;
  if (active.length === 0) return html`<p>None.</p>`;
  return html`<ul>
${active.map(
  (fault) => html`<li><code>${JSON.stringify(fromFault(fault, wechat.now()))}</code></li>
`,
)}</ul>`;
}

function inbox(wechat: SimulatedWeChat, appId: string | undefined, toUser: string | undefined): Html {
  if (appId !== undefined && !wechat.hasApp(appId)) {
    return html`<p>There is no app ${appId} (<a href="?">show all</a>).</p>`;
  }
  const { count, messages } = received(wechat, { appId, toUser });
  const scope = [appId, toUser].filter((each) => each !== undefined).join(', ');
  const rows = messages.slice(0, shown).map((message) => {
    const keywords = Object.entries(message.data).map(([name, { value }]) => html`<div><b>${name}</b> ${value}</div>`);
    const others = Object.entries(extras(message)).map(
      ([name, value]) => html`<div class="note">${name} ${value}</div>`,
    );
    return html`<tr><td>${time(message.time)}</td><td>${link({ app_id: message.appId }, message.appId)}</td><td>${link({ app_id: message.appId, to_user: message.toUser }, message.toUser)}</td><td>${message.channel}</td><td>${message.templateId}</td><td>${keywords}${others}</td><td><code>${message.messageId}</code></td></tr>
`;
  });
  const whose = scope === '' ? 'in all' : html`of ${scope} (<a href="?">show all</a>)`;
  return html`<p>${count} ${whose}${rows.length < count ? `; the last ${rows.length}:` : ''}</p>
<table>
<tr><th>time</th><th>app</th><th>user</th><th>channel</th><th>template</th><th>message</th><th>id</th></tr>
${rows}</table>`;
}

function link(query: Record<string, string>, words: string): Html {
  return html`<a href="?${new URLSearchParams(query).toString()}">${words}</a>`;
}

function time(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').slice(0, 19);
}

const style = `
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff }
h1 { font-size: 1.3rem } h2 { font-size: 1rem; margin: 1.5rem 0 .3rem } small { font-weight: normal; color: #666 }
table { border-collapse: collapse } th { text-align: left; font-weight: normal; color: #666 }
td, th { padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #ddd; vertical-align: top; overflow-wrap: anywhere }
.note { color: #666; font-size: .85rem } code { font-size: .85rem }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #1b1b1b } td, th { border-color: #444 } a { color: #8bf } }
`;
