import { readFileSync } from 'node:fs';

// One line that any reader of a CI log understands, out of vitest's own report.
const report = JSON.parse(readFileSync('test-results.json', 'utf8'));
console.log(`${report.numPassedTests} passed, ${report.numFailedTests} failed, ${report.numPendingTests} skipped`);
