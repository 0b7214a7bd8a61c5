// Starts tools from a small shell.

import { exchangeDirectory } from '../kernel/tools/exchange.ts'
import { openHelper } from '../kernel/tools/helper.ts'

/**
 * Runs `body` with a shell that starts its tools. Call it before lists are read: the cost of a fork grows with the
 * memory of the process that forks.
 */
export async function withTools<T>(body: () => Promise<T>): Promise<T> {
  const helper = openHelper(exchangeDirectory)
  try {
    return await body()
  } finally {
    await helper.close()
  }
}
