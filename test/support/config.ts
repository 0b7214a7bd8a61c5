// Config files in temporary directories, removed after the test.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'
import { type Loaded, loadConfig } from '../../src/config/load.ts'
import { type Diagnostic, XdpError } from '../../src/diagnostics.ts'

export const HEAD = 'version: 1\ninterfaces: { eth0: {} }\n'

/** Writes files by name and returns the path of their directory. */
export function writeFiles(files: Readonly<Record<string, string | Uint8Array>>): string {
  const directory = mkdtempSync(join(tmpdir(), 'xdp-config-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), content)
  }
  return directory
}

export function loadText(text: string, files: Readonly<Record<string, string | Uint8Array>> = {}): Promise<Loaded> {
  return loadConfig(join(writeFiles({ ...files, 'xdp.yaml': text }), 'xdp.yaml'))
}

/** The errors of loading a path. */
export async function errorsOf(path: string): Promise<readonly Diagnostic[]> {
  try {
    await loadConfig(path)
  } catch (error) {
    if (error instanceof XdpError) return error.diagnostics
    throw error
  }
  return []
}
