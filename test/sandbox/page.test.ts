import { expect, it } from 'vitest';
import { page } from '../../src/sandbox/page.ts';
import { appId, rig } from './support.ts';

const show = (wechat: ReturnType<typeof rig>['wechat'], query = '') => page(wechat, new URLSearchParams(query));

it('shows apps, faults and the messages that came, the newest first', () => {
  const { wechat, send, token } = rig({ unlimitedConsent: true });
  const bearer = token('stable');
  const [{ id } = { id: '' }] = wechat.tokens(appId);
  wechat.faults.inject({ effect: { kind: 'hang', takesEffect: false }, appId: 'wxother', count: 3 });
  for (let i = 1; i <= 101; i++) send('message_subscribe', { toUser: `o${i}`, page: `pages/${i}` }, bearer);
  const text = show(wechat);
  expect(text).toMatch(/^<!doctype html>/);
  expect(text).toContain('<meta http-equiv="refresh" content="2">');
  expect(text).toContain(`<a href="?app_id=${appId}">${appId}</a>`);
  expect(text).toContain(`stable <code>${id}</code> until 2026-01-15 06:00:00`);
  expect(text).toContain('&#34;kind&#34;:&#34;hang&#34;');
  expect(text).toContain('<p>101 in all; the last 100:</p>');
  expect(text).toContain(`<a href="?app_id=${appId}&#38;to_user=o101">o101</a>`);
  expect(text).toContain('<b>thing1</b> Tea');
  expect(text).toContain('page pages/101');
  expect(text.indexOf('>o101<')).toBeLessThan(text.indexOf('>o100<'));
  expect(text).not.toContain('>o1<');
  for (const hidden of [bearer, 'correct horse']) expect(text).not.toContain(hidden);
});

it('narrows the messages down to an app and a user', () => {
  const { wechat, send } = rig({ unlimitedConsent: true });
  for (const toUser of ['o1', 'o2', 'o1']) send('message_subscribe', { toUser });
  wechat.setApp({ appId: 'wxother', secret: null });
  expect(show(wechat, `app_id=${appId}&to_user=o1`)).toContain(`<p>2 of ${appId}, o1 (<a href="?">show all</a>)</p>`);
  expect(show(wechat, 'app_id=wxother')).toContain('<p>0 of wxother ');
  expect(show(wechat, 'app_id=wxnone')).toContain('There is no app wxnone ');
});

/** A tag of the page's own, with no attribute that loads or runs anything. */
const HARMLESS =
  /^<(!doctype html|\/?(html|head|meta|title|style|body|h1|h2|small|p|ul|li|a|b|code|div|table|tr|th|td)( (lang|charset|name|content|http-equiv|class)="[^"]*"| href="\?[^"]*")*)>$/;

it('escapes all that comes from outside, and runs and loads nothing', () => {
  const { wechat, send } = rig({ unlimitedConsent: true });
  const evil = `<script src=https://evil.test></script>">'&`;
  const data = { [evil]: { value: evil, color: evil } };
  send('message_subscribe', { toUser: evil, templateId: evil, page: evil, lang: evil, data });
  send('message_official_account', { url: evil, clientMsgId: evil, miniProgramAppId: evil, data });
  wechat.faults.inject({ effect: { kind: 'errcode', errcode: 1, errmsg: evil }, appId: evil });
  for (const query of ['', `app_id=${encodeURIComponent(evil)}`, `to_user=${encodeURIComponent(evil)}`]) {
    const text = show(wechat, query);
    expect(text).toContain('&#60;script src=');
    const tags = [...text.matchAll(/<[^>]*>?/g)].map(([tag]) => tag);
    expect(tags.filter((tag) => !HARMLESS.test(tag))).toEqual([]);
  }
});
