// Suites: `unit` needs nothing, `bpf` runs packets through the loaded program and `e2e` works in network namespaces (both
// need root); `packages` installs packages in roots of Debian and `docs` looks at pages in a browser, both apart from `npm test`. Every file has namespaces, a bpffs and programs of its own, so files run side by side.
import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

// A busy machine must not fail a test: limits on time only end those that would never finish.
const expect = { poll: { timeout: 60_000 } }

/** Files that take turns, and have none in this run of `npm test`: see scripts/lib/turns.mjs. */
const leftOut = process.env['TEST_LEFT_OUT']?.split(',').filter((file) => file !== '') ?? []

export default defineConfig({
  test: {
    pool: 'forks',
    // Most tests wait for processes they start, so that one more than there are cores keeps these busy.
    maxWorkers: availableParallelism() + 1,
    minWorkers: 1,
    globalSetup: ['test/support/generate.ts', 'test/support/leftovers.ts'],
    projects: [
      {
        test: {
          name: 'unit',
          // None of these changes anything that another one sees, so that modules are loaded once for all of them.
          isolate: false,
          include: ['test/{unit,golden,property}/**/*.test.ts', 'test/architecture.test.ts'],
          expect,
          setupFiles: ['test/support/seed.ts'],
          testTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'bpf',
          include: ['test/bpf/**/*.test.ts'],
          expect,
          setupFiles: ['test/support/seed.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'packages',
          include: ['test/packages/**/*.test.ts'],
          expect,
          setupFiles: ['test/support/seed.ts'],
          testTimeout: 900_000,
          hookTimeout: 900_000,
        },
      },
      {
        test: {
          name: 'docs',
          include: ['test/docs/**/*.test.ts'],
          expect,
          testTimeout: 900_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude: leftOut,
          expect,
          setupFiles: ['test/support/seed.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
})
