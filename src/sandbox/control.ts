import type { z } from 'zod';
import { defaultSettings } from './app.ts';
import { appSchema, fromApp, killSchema, mintSchema, toApp } from './app-body.ts';
import { faultSchema, fromFault, toFault } from './fault-body.ts';
import { consentsSchema, formSchema, fromDelivered, inboxSchema } from './message-body.ts';
import { received } from './received.ts';
import type { Request } from './requests.ts';
import { stubSchema } from './stub-body.ts';
import type { SimulatedWeChat } from './wechat.ts';

/** An answer of the control endpoint. */
export interface ControlAnswer {
  readonly status: number;
  readonly body: object;
}

/** Calls that the state shows. */
const shownCalls = 100;
/** Faults that may be in force at once. */
const mostFaults = 100;

const routes = [
  'GET /sandbox/',
  'GET /sandbox/state',
  'POST /sandbox/apps',
  'POST /sandbox/apps/{app_id}/kill',
  'POST /sandbox/apps/{app_id}/mint',
  'POST /sandbox/apps/{app_id}/forms',
  'POST /sandbox/apps/{app_id}/consents',
  'POST /sandbox/faults',
  'DELETE /sandbox/faults',
  'POST /sandbox/stubs',
  'GET /sandbox/stubs',
  'DELETE /sandbox/stubs',
  'GET /sandbox/inbox',
  'DELETE /sandbox/inbox',
];

class BadRequest extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Carries out a request to `/sandbox/`. Bad input is answered with a 4xx status and `{"error": "..."}`: what is wrong and what to send. */
export function control(wechat: SimulatedWeChat, request: Request): ControlAnswer {
  try {
    return { status: 200, body: route(wechat, request) };
  } catch (error) {
    if (error instanceof BadRequest) return { status: error.status, body: { error: error.message } };
    throw error;
  }
}

function route(wechat: SimulatedWeChat, request: Request): object {
  const { method, body } = request;
  const path = request.url.pathname;
  const [, appId = '', verb = ''] = /^\/sandbox\/apps\/([^/]*)\/(kill|mint|forms|consents)$/.exec(path) ?? [];
  const pattern = verb ? `/sandbox/apps/{app_id}/${verb}` : path;
  switch (`${method} ${pattern}`) {
    case 'GET /sandbox/state':
      return state(wechat);
    case 'POST /sandbox/apps':
      return setApp(wechat, read(appSchema, body));
    case 'POST /sandbox/apps/{app_id}/kill': {
      known(wechat, appId);
      const killed = wechat.kill(appId, read(killSchema, body));
      return { killed_token_ids: killed.map(({ id }) => id) };
    }
    case 'POST /sandbox/apps/{app_id}/mint': {
      known(wechat, appId);
      return { token_id: wechat.mintOutside(appId, read(mintSchema, body).issuer).id };
    }
    case 'POST /sandbox/apps/{app_id}/forms': {
      known(wechat, appId);
      const { form_id: formId, to_user: toUser, kind, age_s: age } = read(formSchema, body);
      wechat.messages(appId).permits.addForm({ formId, toUser, kind, collectTime: wechat.now() - age * 1000 });
      return { form_id: formId, to_user: toUser, kind, age_s: age };
    }
    case 'POST /sandbox/apps/{app_id}/consents': {
      known(wechat, appId);
      const { to_user, template_id, count } = read(consentsSchema, body);
      return { to_user, template_id, count: wechat.messages(appId).permits.addConsents(to_user, template_id, count) };
    }
    case 'GET /sandbox/inbox': {
      const { count, messages } = received(wechat, inbox(wechat, request.url));
      return { delivered: count, messages: messages.map(fromDelivered) };
    }
    case 'DELETE /sandbox/inbox': {
      const { appId: only, toUser } = inbox(wechat, request.url);
      if (toUser !== undefined) throw new BadRequest(400, 'to_user: an inbox is emptied for all users, leave it out');
      for (const each of only === undefined ? wechat.appIds : [only]) wechat.messages(each).inbox.clear();
      return { delivered: 0, messages: [] };
    }
    case 'POST /sandbox/stubs': {
      const { path, body: answer } = read(stubSchema, body);
      if (!wechat.stubs.set(path, typeof answer === 'string' ? answer : JSON.stringify(answer)))
        throw new BadRequest(400, 'there are 100 stubs: end them with DELETE /sandbox/stubs first');
      return { stubs: wechat.stubs.paths };
    }
    case 'DELETE /sandbox/stubs':
      wechat.stubs.clear();
      return { stubs: [] };
    case 'GET /sandbox/stubs':
      return { stubs: wechat.stubs.paths };
    case 'POST /sandbox/faults': {
      if (wechat.faults.active.length >= mostFaults)
        throw new BadRequest(400, `there are ${mostFaults} faults: end them with DELETE /sandbox/faults first`);
      wechat.faults.inject(toFault(read(faultSchema, body)));
      return faults(wechat);
    }
    case 'DELETE /sandbox/faults':
      wechat.faults.clear();
      return faults(wechat);
  }
  const methods = routes.filter((each) => each.endsWith(` ${pattern}`));
  if (methods.length > 0) throw new BadRequest(405, `${method} does nothing here: send ${methods.join(' or ')}`);
  throw new BadRequest(404, `there is no ${path}: send ${routes.join(', ')}`);
}

function setApp(wechat: SimulatedWeChat, body: z.infer<typeof appSchema>): object {
  const base = wechat.hasApp(body.app_id) ? wechat.app(body.app_id) : undefined;
  if (!base && body.secret === undefined) {
    throw new BadRequest(400, 'secret: a new app needs one; write the AppSecret, or null to take any');
  }
  if (!base && wechat.isFull) throw new BadRequest(400, 'there are too many apps: start the sandbox anew');
  wechat.setApp(toApp(body, base ?? { ...defaultSettings, secret: null }));
  return fromApp(wechat.app(body.app_id));
}

function state(wechat: SimulatedWeChat): object {
  const now = wechat.now();
  return {
    time: new Date(now).toISOString(),
    apps: wechat.appIds.map((appId) => ({
      ...fromApp(wechat.app(appId)),
      tokens: wechat.tokens(appId).map((token) => ({
        issuer: token.issuer,
        id: token.id,
        honoured: token.honoured,
        issue_time: new Date(token.issuedAt).toISOString(),
        expire_time: new Date(token.diesAt).toISOString(),
      })),
      tickets: wechat.tickets(appId).map(({ type, id, issuedAt, endsAt }) => ({
        type,
        id,
        issue_time: new Date(issuedAt).toISOString(),
        expire_time: new Date(endsAt).toISOString(),
      })),
      clears_left: wechat.clearsLeft(appId),
      counts: snake(wechat.counts(appId)),
    })),
    counts: snake(wechat.counts()),
    ...faults(wechat),
    calls: wechat.calls
      .slice(-shownCalls)
      .map(({ time, ...call }) => ({ time: new Date(time).toISOString(), ...snake(call) })),
  };
}

function faults(wechat: SimulatedWeChat): object {
  return { faults: wechat.faults.active.map((fault) => fromFault(fault, wechat.now())) };
}

function known(wechat: SimulatedWeChat, appId: string): void {
  if (wechat.hasApp(appId)) return;
  throw new BadRequest(404, `there is no app ${JSON.stringify(appId)}: add it with POST /sandbox/apps first`);
}

function read<T extends z.ZodType>(schema: T, text: string): z.infer<T> {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new BadRequest(400, 'the body is not JSON: send a JSON object');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new BadRequest(400, 'the body is not a JSON object: send {"name": value, ...}');
  }
  return check(schema, body);
}

/** Which inbox a query asks for. */
function inbox(wechat: SimulatedWeChat, url: URL): { appId: string | undefined; toUser: string | undefined } {
  const { app_id: appId, to_user: toUser } = check(inboxSchema, Object.fromEntries(url.searchParams));
  if (appId !== undefined) known(wechat, appId);
  return { appId, toUser };
}

function check<T extends z.ZodType>(schema: T, body: object): z.infer<T> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw new BadRequest(400, result.error.issues.map(explain).join('; '));
}

function explain(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') {
    return `${issue.path.map((key) => `${String(key)}.`).join('')}${issue.keys.join(', ')}: not known here, leave it out`;
  }
  return `${issue.path.join('.')}: ${issue.message}`;
}

function snake(fields: object): object {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      value,
    ]),
  );
}
