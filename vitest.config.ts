import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    // Two cores are common in CI: more workers only take time from one another.
    maxWorkers: 2,
    testTimeout: 30_000,
    ...(process.env['CI'] && { reporters: ['default', ['json', { outputFile: 'test-results.json' }]] }),
  },
});
