// Loaded into a command line under test (NODE_OPTIONS=--import): numbers its changes of files, pins among them, and stops or
// fails at one of them. XDP_CRASH_FILES is "LOG NUMBER WHAT": writes a line for each change to the log; WHAT is KILL, or the
// code of an error.

import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { constants } from 'node:os'

const CHANGES = [
  'mkdir',
  'mkdtemp',
  'open',
  'rename',
  'rm',
  'rmdir',
  'symlink',
  'unlink',
  'write',
  'writeFile',
  'fsync',
]
/** Flags of open(2) that change nothing. */
const isForReading = (flags) =>
  flags === undefined || flags === 'r' || (typeof flags === 'number' && (flags & fs.constants.O_ACCMODE) === 0)
fs.constants.O_ACCMODE ??= 3

const [log, number, what] = (process.env.XDP_CRASH_FILES ?? '').split(' ')
const { openSync, writeSync } = fs
const report = log ? openSync(log, 'a') : undefined
let count = 0
/** Within a change that node makes of others. */
let isNested = false
/** Files between a command line and its tools, which are gone already or never read again. */
const EXCHANGED = /\/xdp-exchange-[^/]*\/\d+\.(?:in|out|err)$/

/** Whether the change is to fail; does not return if the process is to die. */
function isDue(name, args) {
  if (isNested || (name === 'open' && isForReading(args[1]))) return false
  if (['rm', 'unlink'].includes(name) && EXCHANGED.test(args[0])) return false
  if (String(args[0]).startsWith('/proc/') || String(args[0]).startsWith('/sys/fs/cgroup')) return false
  if (typeof args[0] === 'number' && args[0] < 3) return false
  if (report !== undefined) writeSync(report, `${name} ${args[0]}\n`)
  if (count++ !== Number(number)) return false
  if (what === 'KILL') process.kill(process.pid, 'SIGKILL')
  return true
}

const failure = (name, path) =>
  Object.assign(new Error(`${what}: injected, ${name} '${path}'`), {
    code: what,
    errno: -constants.errno[what],
    syscall: name,
    path,
  })

for (const name of CHANGES) {
  const sync = fs[`${name}Sync`]
  fs[`${name}Sync`] = (...args) => {
    if (isDue(name, args)) throw failure(name, args[0])
    if (isNested) return sync(...args)
    isNested = true
    try {
      return sync(...args)
    } finally {
      isNested = false
    }
  }
  const later = fs.promises[name]
  if (later === undefined) continue
  fs.promises[name] = async (...args) => {
    if (isDue(name, args)) throw failure(name, args[0])
    return later(...args)
  }
}
syncBuiltinESMExports()
