import type { Bug } from './bug.ts';

/** What became of a bug that was put back. */
export type Verdict =
  | { readonly kind: 'caught' /** The full name of the test that failed. */; readonly by: string }
  | { readonly kind: 'missed' }
  /** It was not a trial: the bug, or the code without it, is broken in another way. */
  | { readonly kind: 'void'; readonly why: string };

/** What is used of vitest's JSON report. */
export interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

/** Failures that show a patch which does not fit the code, and those that show nothing. */
const NO_EVIDENCE = /^(?:Error: )?(ReferenceError|SyntaxError|TypeError|Test timed out|Hook timed out)/;

/** Whether the named test failed, and by an expectation of its own. */
export function verdictOf(report: Report, caughtBy: Bug['caughtBy']): Verdict {
  const ran = named(report, caughtBy);
  if (ran.length === 0) return { kind: 'void', why: uncollected(report, caughtBy) };
  const failed = ran.filter(({ status }) => status === 'failed');
  const telling = failed.find(({ failureMessages }) => failureMessages.some((message) => !NO_EVIDENCE.test(message)));
  if (telling) return { kind: 'caught', by: telling.fullName };
  const [first] = failed;
  if (!first) return { kind: 'missed' };
  const [, how] = NO_EVIDENCE.exec(first.failureMessages[0] ?? '') ?? [];
  return { kind: 'void', why: `"${first.fullName}" failed by ${how ?? 'no message'}, which is no evidence` };
}

/** What is wrong with the named test where no bug was put back; undefined: it passes. */
export function troubleWithout(report: Report, caughtBy: Bug['caughtBy']): string | undefined {
  const ran = named(report, caughtBy);
  if (ran.length === 0) return uncollected(report, caughtBy);
  const failed = ran.find(({ status }) => status === 'failed');
  return failed && `"${failed.fullName}" fails without the bug, too`;
}

function named(report: Report, { file, test }: Bug['caughtBy']) {
  return report.testResults
    .filter(({ name }) => name.endsWith(file))
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ fullName, status }) => fullName.includes(test) && (status === 'passed' || status === 'failed'));
}

function uncollected(report: Report, { file, test }: Bug['caughtBy']): string {
  const message = report.testResults.find(({ name, message }) => name.endsWith(file) && message !== '')?.message;
  return `no test "${test}" ran in ${file}${message ? `: ${message.split('\n')[0]}` : ''}`;
}
