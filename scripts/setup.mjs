// npm run setup: installs the requirements of building and testing: node_modules, Debian packages, the BPF file system.
// Runs before anything is installed, so it imports nothing from node_modules. Prints nothing if nothing is missing.
import { existsSync, readFileSync } from 'node:fs'
import { install, mountBpffs, NEEDS } from './lib/host.mjs'
import { at } from './lib/paths.mjs'
import { main, run, ScriptError } from './lib/run.mjs'

const OLDEST_NODE = [20, 19]

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  const [wantedMajor, wantedMinor] = OLDEST_NODE
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return
  throw new ScriptError(`Node ${process.versions.node} is too old: ${OLDEST_NODE.join('.')} or newer is needed`)
}

/** Whether node_modules holds exactly the versions of package-lock.json (packages for other platforms aside). */
function isInstalled() {
  const hidden = at('node_modules/.package-lock.json')
  if (!existsSync(hidden)) return false
  const installed = JSON.parse(readFileSync(hidden, 'utf8')).packages
  const wanted = JSON.parse(readFileSync(at('package-lock.json'), 'utf8')).packages
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true
    return installed[path] ? installed[path].version === version : optional === true
  })
}

async function installModules() {
  if (isInstalled()) return
  console.log('setup: npm ci')
  // The npm that runs this script, if any: the PATH may have no other.
  const [command, ...prefix] = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm']
  await run(command, [...prefix, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'])
}

/** Installs everything that the other scripts need. Throws ScriptError if it cannot. */
export async function setup() {
  checkNode()
  await installModules()
  await install(NEEDS)
  const reason = await mountBpffs()
  if (reason) console.log(`setup: ${reason}`)
}

if (process.argv[1] === at('scripts/setup.mjs')) await main(setup)
