import { describe, expect, test } from 'vitest';
import { formatListen, parseListen } from '../../src/config/listen.ts';

describe('parseListen', () => {
  test.each([
    ['127.0.0.1:7600', { host: '127.0.0.1', port: 7600 }],
    ['0.0.0.0:0', { host: '0.0.0.0', port: 0 }],
    ['localhost:65535', { host: 'localhost', port: 65535 }],
    ['my-host.example:1', { host: 'my-host.example', port: 1 }],
    ['[::1]:7600', { host: '::1', port: 7600 }],
    ['[::]:0', { host: '::', port: 0 }],
  ])('%s', (text, listen) => {
    expect(parseListen(text)).toEqual(listen);
    expect(formatListen(listen)).toBe(text);
  });

  test.each([
    '',
    '7600',
    ':7600',
    'localhost',
    'localhost:',
    'localhost:x',
    'localhost:65536',
    '::1:7600',
    '[::1]',
    '[1:2]:3',
    '127.0.0:1',
    '300.0.0.1:1',
    '*:80',
    'http://h:1',
    'a b:1',
  ])('%j is none', (text) => {
    expect(parseListen(text)).toBeUndefined();
  });
});
