import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Place } from './lingpai.ts';

/** A Place whose app "wxa" may send by every channel. */
export async function sendingPlace(settings: object = {}): Promise<Place> {
  const place = await Place.make();
  place.wechat.wechat.changeApp('wxa', { retired: false, unlimitedConsent: true });
  await place.configure({ refresh: { probe_interval: '0s' }, ...settings });
  return place;
}

/** A message to one user of app "wxa", in proto3 JSON. */
export function messageTo(user: string, more: object = {}): object {
  return { appId: 'wxa', toUser: user, templateId: 't1', data: { thing1: { value: 'hello' } }, subscribe: {}, ...more };
}

/** Writes `messages.ndjson`, a line each. */
export async function writeMessages(place: Place, messages: readonly (object | string)[]): Promise<string> {
  const path = join(place.folder, 'messages.ndjson');
  const lines = messages.map((each) => (typeof each === 'string' ? each : JSON.stringify(each)));
  await writeFile(path, `${lines.join('\n')}\n`);
  return path;
}

/** The results file's records, without those that say when a run began. */
export async function results(place: Place): Promise<Record<string, unknown>[]> {
  const text = await readFile(join(place.folder, 'messages.ndjson.results'), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter((record) => !('run' in record));
}

/** How many messages each user of "wxa" received, where that is not one. */
export function notOnce(place: Place, users: readonly string[]): Record<string, number> {
  const { inbox } = place.wechat.wechat.messages('wxa');
  return Object.fromEntries(users.map((user) => [user, inbox.count(user)] as const).filter(([, count]) => count !== 1));
}
