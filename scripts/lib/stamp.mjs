// Skips build steps whose inputs did not change. By content, not by time: a checkout, a copied tree or a restored cache
// has arbitrary time stamps.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { at, root } from './paths.mjs'

/** Every file under the given files and directories, sorted; missing ones are left out. */
export function files(...paths) {
  const found = []
  for (const path of paths) {
    if (!existsSync(path)) continue
    if (!statSync(path).isDirectory()) found.push(path)
    else found.push(...files(...readdirSync(path).map((name) => join(path, name))))
  }
  return found.sort()
}

/** SHA-256 over the names and contents of `inputs` and over `settings` (any JSON). */
export function digest(inputs, settings) {
  const hash = createHash('sha256').update(JSON.stringify(settings ?? null))
  for (const path of inputs) hash.update(`\0${relative(root, path)}\0`).update(readFileSync(path))
  return hash.digest('hex')
}

/**
 * Runs `make` unless the last successful run had equal inputs and settings and every output still exists. Returns
 * whether it ran.
 */
export async function step(name, { inputs, outputs, settings }, make) {
  const stamp = at('build/stamps', name)
  const wanted = digest(inputs, settings)
  const fresh = outputs.every((path) => existsSync(path))
  if (fresh && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return false
  await make()
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, wanted)
  return true
}
