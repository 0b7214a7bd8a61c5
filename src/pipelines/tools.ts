// Starting many tools from a small shell.

import { exchangeDirectory } from '../kernel/tools/exchange.ts'
import { openHelper } from '../kernel/tools/helper.ts'

/**
 * Runs `body` with a shell beside it that starts its tools. To be called before lists are read: starting a process costs
 * what the one that starts it has in memory.
 */
export async function withTools<T>(body: () => Promise<T>): Promise<T> {
  const helper = openHelper(exchangeDirectory)
  try {
    return await body()
  } finally {
    await helper.close()
  }
}
