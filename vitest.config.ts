// Three suites: `unit` needs nothing, `bpf` runs packets through the loaded program and `e2e` works in network
// namespaces (both need root). The kernel is one shared thing, so those two run one file after the other.
import { defineConfig } from 'vitest/config'

const serial = {
  pool: 'forks',
  poolOptions: { forks: { singleFork: true } },
  fileParallelism: false,
} as const

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/{unit,golden,property}/**/*.test.ts', 'test/architecture.test.ts'],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          ...serial,
          name: 'bpf',
          include: ['test/bpf/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          ...serial,
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
})
