import { expect, it } from 'vitest';
import { type Report, troubleWithout, verdictOf } from './verdict.ts';

const CATCHER = { file: 'test/a.test.ts', test: 'keeps' };

/** A report on one file: its tests, by name, with their failure or null. */
function report(tests: Record<string, string | null>, file: { name?: string; message?: string } = {}): Report {
  const assertionResults = Object.entries(tests).map(([fullName, failure]) => ({
    fullName,
    status: failure === null ? 'passed' : failure === 'skipped' ? 'skipped' : 'failed',
    failureMessages: failure === null || failure === 'skipped' ? [] : [failure],
  }));
  return { testResults: [{ name: '/tmp/x/test/a.test.ts', message: '', ...file, assertionResults }] };
}

it('a bug is caught when the named test fails', () => {
  const failed = report({ 'it keeps': 'AssertionError: expected 1 to be 2', 'it loses': null });
  expect(verdictOf(failed, CATCHER)).toEqual({ kind: 'caught', by: 'it keeps' });
});

it('a bug is missed when the named test passes, whatever else fails', () => {
  expect(verdictOf(report({ 'it keeps': null, 'it loses': 'AssertionError: no' }), CATCHER)).toEqual({
    kind: 'missed',
  });
});

it.each([
  ['a patch that refers to nothing', report({ 'it keeps': 'ReferenceError: x is not defined' }), 'ReferenceError'],
  ['a patch that breaks types', report({ 'it keeps': 'TypeError: x is not a function' }), 'TypeError'],
  ['a test that hangs', report({ 'it keeps': 'Error: Test timed out in 10000ms.\nmore' }), 'Test timed out'],
  ['a skipped test', report({ 'it keeps': 'skipped' }), 'no test "keeps" ran'],
  ['a test of another name', report({ 'it loses': 'AssertionError: no' }), 'no test "keeps" ran'],
  [
    'a test of another file',
    report({ 'it keeps': 'AssertionError: no' }, { name: '/b.test.ts' }),
    'no test "keeps" ran',
  ],
  ['a file that does not load', report({}, { message: 'Failed to load url\nat x' }), 'Failed to load url'],
  ['no file', { testResults: [] }, 'no test "keeps" ran'],
])('%s is no evidence', (_, report, why) => {
  expect(verdictOf(report, CATCHER)).toEqual({ kind: 'void', why: expect.stringContaining(why) });
});

it('without the bug the named test must run and pass', () => {
  expect(troubleWithout(report({ 'it keeps': null, 'it loses': 'AssertionError: no' }), CATCHER)).toBeUndefined();
  expect(troubleWithout(report({ 'it keeps': 'AssertionError: no' }), CATCHER)).toContain('fails without the bug');
  expect(troubleWithout(report({ 'it loses': null }), CATCHER)).toContain('no test "keeps" ran');
});
