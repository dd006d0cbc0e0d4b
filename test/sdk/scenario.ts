import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Child } from '../support/child.ts';
import type { Report } from '../support/foreign.ts';
import { appId, type Lab, openLab } from './lab.ts';
import { inFiles, inMemory } from './memory.ts';
import type { Sdk } from './sdks.ts';

/** How large the file is that is uploaded, in bytes. */
const fileSize = 8 * 1024 * 1024;

/** How many calls are made at once while the token is dead. */
const many = 20;

const user = 'oSdkUser1';

const digest = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex');

/** Takes a built SDK through a service's life behind the gateway. Rejects with the first thing that is wrong. */
export async function scenario(sdk: Sdk, report: Report): Promise<void> {
  await using lab = await openLab();
  const driver = lab.driver(sdk);
  try {
    await steps(lab, sdk, driver, report);
  } catch (error) {
    throw new Error(withoutSecrets(lab, `${(error as Error).message}\n${driver.tail()}\n${lab.broker.tail()}`), {
      cause: error,
    });
  }
}

async function steps(lab: Lab, sdk: Sdk, driver: Child, report: Report): Promise<void> {
  const { wechat } = lab;
  const standIn = await standInOf(lab);
  assert.match(standIn, /^lps1\./, 'the gateway hands out a stand-in');
  assert.equal(await order(driver, 'token'), digest(standIn), 'the SDK holds the stand-in of its key');
  report('a token call with the key: it holds a stand-in');

  await order(driver, 'message', user);
  assert.equal(wechat.counts(appId).delivered, 1, 'the message arrived');
  report('a message');

  const ticket = await order(driver, 'ticket');
  const tickets = wechat.tickets(appId).map(({ value }) => digest(value));
  assert.ok(tickets.includes(ticket), 'the ticket is of WeChat');
  report('a jsapi ticket');

  const path = join(lab.home, 'photo.jpg');
  const photo = randomBytes(fileSize);
  await writeFile(path, photo);
  const mediaId = await order(driver, 'upload', path);
  assert.equal(await order(driver, 'download', mediaId), digest(photo), 'the download is what was uploaded');
  report('8 MiB uploaded, and downloaded as they were');

  const all = { errcode: 0, errmsg: 'ok', colors: [], list: [] };
  wechat.stubs.set(sdk.elsewhere, JSON.stringify(all));
  await order(driver, 'elsewhere');
  assert.ok(lab.upstream.asked.includes(` ${sdk.elsewhere}?`), 'the call reached WeChat through the gateway');
  report(`${sdk.elsewhere}, for which some SDKs have a URL of its own`);

  const { mints } = wechat.counts(appId);
  const under = order(driver, 'message', user, many);
  await Promise.race([under, lab.upstream.next()]);
  wechat.kill(appId, { issuer: 'classic', which: 'current', stuck: false });
  await under;
  await order(driver, 'message', user, many);
  assert.equal(wechat.counts(appId).delivered, 1 + 2 * many, 'each message arrived once');
  assert.equal(wechat.counts(appId).mints - mints, 1, 'WeChat made one token');
  report(`its token killed under ${many} calls, with ${many} to follow: all succeeded, with one new token`);

  assert.equal(await order(driver, 'token'), digest(standIn), 'its stand-in is still good');
  await leaks(lab, driver, standIn);
  report('no real token and no AppSecret in its memory, files, output or on its wire; no stand-in at WeChat');

  driver.hush();
  assert.equal(await driver.ended(), 0, 'it ends with its input');
}

/** Has the SDK carry out an order so often at once. Resolves to the first result once all succeeded. */
async function order(driver: Child, op: string, arg?: string, times = 1): Promise<string> {
  driver.say(JSON.stringify({ op, arg, times }));
  const { results, failures } = await driver.next(`the answer to ${op}`, ({ event }) => event === 'done');
  assert.ok(Array.isArray(results) && Array.isArray(failures), 'a driver answers with results and failures');
  assert.equal(failures.length, 0, `${failures.length} of ${times} calls failed (${op}), the first by ${failures[0]}`);
  assert.equal(results.length, times, 'as many results as calls');
  return String(results[0]);
}

/** What the gateway hands out for the SDK's key. */
async function standInOf(lab: Lab): Promise<string> {
  const query = new URLSearchParams({ grant_type: 'client_credential', appid: appId, secret: lab.key });
  const response = await fetch(`${lab.downstream.url}/cgi-bin/token?${query}`);
  const { access_token: token } = (await response.json()) as { access_token?: unknown };
  return String(token);
}

/** The tokens that WeChat handed out. */
function realTokens(lab: Lab): string[] {
  return [...lab.upstream.answered.matchAll(/"access_token":"([^"]+)"/g)].map(([, token = '']) => token);
}

async function leaks(lab: Lab, driver: Child, standIn: string): Promise<void> {
  const tokens = realTokens(lab);
  assert.ok(tokens.length >= 2, 'the tokens that WeChat handed out are known');
  const forbidden = [...tokens, lab.secret];
  const own = [lab.key, standIn];
  const held = [
    ...(await inMemory(driver.pid, [...own, ...forbidden])),
    ...(await inFiles(lab.home, [...own, ...forbidden])),
  ];
  assert.ok(
    own.every((text) => held.includes(text)),
    'what the SDK must hold is found',
  );
  const none = (found: boolean, where: string) => assert.ok(!found, `a real token or the AppSecret stands in ${where}`);
  const any = (text: string, what: readonly string[]) => what.some((each) => text.includes(each));
  none(
    held.some((text) => forbidden.includes(text)),
    "the SDK's memory or files",
  );
  none(any(driver.output, forbidden), "the SDK's output");
  none(any(lab.downstream.answered, forbidden), 'what the gateway answered');
  none(any(lab.broker.output, forbidden), "the broker's log");
  assert.ok(!any(lab.broker.output, [lab.key, standIn]), "the SDK's key or stand-in stands in the broker's log");
  const { asked } = lab.upstream;
  assert.ok(any(asked, tokens), 'what reaches WeChat is known');
  assert.ok(!any(asked, ['lps1.', lab.key]), 'a stand-in or a key reached WeChat');
}

/** A message in which all that is secret is named instead. */
function withoutSecrets(lab: Lab, message: string): string {
  return [lab.secret, lab.key, ...realTokens(lab)]
    .reduce((text, secret) => text.replaceAll(secret, '<secret>'), message)
    .replaceAll(/lps1\.[\w-]+/g, '<stand-in>');
}
