// Files that a configuration of another tool includes.

import { dirname, isAbsolute, join } from 'node:path'
import { expand, isPattern } from '../../config/feed/glob.ts'
import { CONFIG_LIMIT, isUnusable, readBytes } from '../../config/text/source.ts'
import type { Printed } from '../../import/source.ts'

/**
 * The files that a pattern in the file `from` names, sorted; a relative one starts at the directory of that file.
 * undefined if one of them cannot be read. A pattern without a match names none.
 */
export function filesOf(pattern: string, from: string): readonly Printed[] | undefined {
  const path = isAbsolute(pattern) ? pattern : join(dirname(from), pattern)
  const files: Printed[] = []
  for (const name of isPattern(path) ? expand(path, { patterns: new Map() }) : [path]) {
    const bytes = readBytes(name, CONFIG_LIMIT)
    if (isUnusable(bytes)) return undefined
    files.push({ name, bytes })
  }
  return files
}
