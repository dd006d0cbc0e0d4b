import { expect, it } from 'vitest';
import { createGatewayLog } from '../../src/ops/gateway-log.ts';
import { createLogger } from '../../src/ops/log.ts';
import { FakeClock } from '../support/clock.ts';

it('has one line an app in 10 s, which says how many were passed over', async () => {
  const clock = new FakeClock();
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger({ level: 'info', destination: { write: (line) => void lines.push(JSON.parse(line)) } });
  const failed = createGatewayLog(logger, clock);
  const call = { appId: 'wxa', path: '/cgi-bin/user/', reason: 'WeChat is not reached.' };
  for (let i = 0; i < 1_000; i++) failed(call);
  failed({ ...call, appId: 'wxb' });
  expect(lines).toMatchObject([{ app_id: 'wxa', passed_over: 0 }, { app_id: 'wxb' }]);
  await clock.advance(9_999);
  failed(call);
  expect(lines).toHaveLength(2);
  await clock.advance(1);
  failed(call);
  expect(lines[2]).toMatchObject({
    level: 'warn',
    msg: 'gateway call failed',
    app_id: 'wxa',
    path: '/cgi-bin/user/',
    reason: 'WeChat is not reached.',
    passed_over: 1_000,
  });
});
