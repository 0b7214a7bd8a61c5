// Starts xdp on a Node that is recent enough, and reports any other in one line. Written in the language of Node 10, which
// Debian 10 has.

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

if (major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1])) refuse()
else require('./loader.cjs').run(__dirname, './cli.js')
