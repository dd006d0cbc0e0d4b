import { expect, it } from 'vitest';
import { givenPath } from '../../src/commands/given-path.ts';

const npm = { INIT_CWD: '/home/u/shop', npm_package_json: '/opt/lingpai/package.json' };

it.each([
  ['npm went to the package, and the path starts where the command was given', '/opt/lingpai', npm, '/home/u/shop/m'],
  ['without npm it starts at the working directory', '/home/u/shop', {}, '/home/u/shop/m'],
  ['what npm started has gone elsewhere since', '/srv', npm, '/srv/m'],
  ['a process that inherited INIT_CWD alone', '/srv', { INIT_CWD: '/home/u' }, '/srv/m'],
])('%s', (_, cwd, env, expected) => {
  expect(givenPath('m', { cwd, env })).toBe(expected);
  expect(givenPath('/etc/m', { cwd, env })).toBe('/etc/m');
});
