// Starts xdp on a Node that is recent enough, and reports any other in one line. Written in the language of Node 10, which
// Debian 10 has, and both a script and a module, because that Node knows no modules.

const NEEDED = [20, 19]
const [major, minor] = process.versions.node.split('.').map(Number)

/** Reports the version as src/render/diagnostic.ts reports errors, but the hint in the line of the message. */
function refuse() {
  const message = `xdp needs Node ${NEEDED.join('.')} or newer, and ${process.execPath} is ${process.versions.node}`
  const hint = 'install the package that contains its own Node (docs/install.md), or a newer Node'
  process.exitCode = 69
  if (!process.argv.includes('--json')) return process.stderr.write(`error[E258 old-node]: ${message}; ${hint}\n`)
  const error = { code: 'E258', name: 'old-node', severity: 'error', message, hint, at: null }
  const document = { format_version: '1.0', error, errors: [error], omitted: 0 }
  return process.stdout.write(`${JSON.stringify(document, null, 2)}\n`)
}

/**
 * Keeps V8's code of the modules in the cache, where Node can (22.8), so that later starts compile nothing. Node runs what it
 * finds there, so the directory must exist, belong to this user, and be closed to the writes of others.
 */
function keepCode() {
  if (process.getBuiltinModule === undefined) return
  const { enableCompileCache } = process.getBuiltinModule('module')
  const user = process.geteuid()
  const cache = process.env.CACHE_DIRECTORY || (user === 0 ? '/var/cache/xdp' : undefined)
  if (enableCompileCache === undefined || cache === undefined) return
  try {
    const { uid, mode } = process.getBuiltinModule('fs').lstatSync(cache)
    if (uid === user && (mode & 0o022) === 0) enableCompileCache(`${cache}/code`)
  } catch (_error) {
    // There is no cache yet: the command that makes one will warn if it cannot.
  }
}

if (major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1])) refuse()
else {
  keepCode()
  void import('./cli.js')
}
