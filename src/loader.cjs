// Runs the modules of the bundle with V8's code of them, which the cache of this user keeps, so that a start compiles nothing.
//
// Code is in one file for each version of Node: a line of JSON about the modules, then the code of each. V8 trusts what it is
// given, so code is used only if its CRC-32 and that of its module's text are as they were. module.enableCompileCache, which
// Node has from 22.8, reads a file for each module, and never adds the functions that another command needs.
'use strict'

const { existsSync, lstatSync, mkdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } = require('node:fs')
const { dirname, join } = require('node:path')
const { Script } = require('node:vm')
const { crc32 } = require('node:zlib')

const LINE_FEED = 10
/** Statuses of commands that have done what they do: no changes, or changes that were found. Others may have done little. */
const DONE = [0, 2]

/**
 * The directory for V8's code of the modules, with which a start compiles nothing. Node runs what it finds there, so the cache
 * must exist, belong to this user, and be closed to the writes of others.
 */
function codeDirectory() {
  const user = process.geteuid()
  const cache = process.env.CACHE_DIRECTORY || (user === 0 ? '/var/cache/xdp' : undefined)
  if (cache === undefined) return undefined
  try {
    const { uid, mode } = lstatSync(cache)
    return uid === user && (mode & 0o022) === 0 ? `${cache}/code` : undefined
  } catch (_error) {
    // There is no cache yet: the command that makes one will warn if it cannot.
    return undefined
  }
}

/** The code in a file, by the name of its module. Empty without a file, and if it is damaged. */
function readCode(path) {
  const found = new Map()
  if (path === undefined) return found
  try {
    const bytes = readFileSync(path)
    let at = bytes.indexOf(LINE_FEED) + 1
    for (const { name, text, sum, length } of JSON.parse(bytes.latin1Slice(0, at))) {
      const code = bytes.subarray(at, at + length)
      if (crc32(code) === sum) found.set(name, { text, code })
      at += length
    }
  } catch (_error) {
    // This run writes the file.
  }
  return found
}

/** Replaces the file by one with the code of these modules, unless that fails: the next run tries again. */
function writeCode(path, modules) {
  const entries = modules.map(([name, { text, code }]) => ({ name, text, sum: crc32(code), length: code.length }))
  const part = `${path}.${process.pid}.part`
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    const bytes = [Buffer.from(`${JSON.stringify(entries)}\n`), ...modules.map(([, { code }]) => code)]
    writeFileSync(part, Buffer.concat(bytes), { mode: 0o600 })
    renameSync(part, path)
  } catch (_error) {
    try {
      unlinkSync(part)
    } catch (_missing) {
      // It was never made.
    }
  }
}

/**
 * Runs a module of a directory, and those that it requires.
 *
 * @param cache the directory for code
 */
exports.run = (directory, entry, cache = codeDirectory()) => {
  const path = cache && join(cache, `${process.version}-${process.arch}`)
  const known = readCode(path)
  const scripts = new Map()
  const loaded = new Map()
  let isComplete = true

  const load = (specifier) => {
    if (!specifier.startsWith('./')) return require(specifier)
    const before = loaded.get(specifier)
    if (before !== undefined) return before.exports
    const module = { exports: {} }
    loaded.set(specifier, module)
    const filename = join(directory, specifier)
    const bytes = readFileSync(filename)
    const text = crc32(bytes)
    const kept = known.get(specifier)
    const cachedData = kept?.text === text ? kept.code : undefined
    // The bundle is in ASCII.
    const body = `(function(exports,require,module,__filename){${bytes.latin1Slice()}\n})`
    const script = new Script(body, { filename, cachedData })
    if (cachedData === undefined || script.cachedDataRejected) isComplete = false
    scripts.set(specifier, { script, text })
    script.runInThisContext()(module.exports, load, module, filename)
    return module.exports
  }

  process.once('exit', (status) => {
    if (path === undefined || isComplete || !DONE.includes(status)) return
    // Functions that V8 has compiled by now are those that such a run needs.
    const own = [...scripts].map(([name, { script, text }]) => [name, { text, code: script.createCachedData() }])
    const others = [...readCode(path)].filter(([name]) => !scripts.has(name) && existsSync(join(directory, name)))
    writeCode(path, [...own, ...others])
  })
  load(entry)
}
