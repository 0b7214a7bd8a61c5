// The packed tarball, as users install it.

import { join, resolve } from 'node:path'
import { execa } from 'execa'

const ROOT = resolve(import.meta.dirname, '../..')

/** The npm that runs the tests, or the one in the PATH. Its settings for this run must not reach the inner one. */
export function npm(args: readonly string[], cwd: string) {
  const [file, ...first] = process.env['npm_execpath'] ? [process.execPath, process.env['npm_execpath']] : ['npm']
  return execa(file ?? 'npm', [...first, ...args], {
    cwd,
    env: { npm_config_offline: 'true', npm_config_audit: 'false' },
  })
}

/** Packs what is built into a directory. Returns the tarball and the paths in it. */
export async function pack(
  directory: string,
): Promise<{ readonly tarball: string; readonly paths: readonly string[] }> {
  const { stdout } = await npm(['pack', '--json', '--ignore-scripts', '--pack-destination', directory], ROOT)
  const [{ files, filename }] = JSON.parse(stdout) as [{ files: { path: string }[]; filename: string }]
  return { tarball: join(directory, filename), paths: files.map(({ path }) => path) }
}
