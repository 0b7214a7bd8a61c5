#!/usr/bin/env node
// WANT_JSON
// An Ansible module that applies a config of xdp, or shows the changes (check mode, diff). Ansible calls it with a file
// of arguments and reads one JSON document. The README of the role describes the options.

import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'

/** Types of the options. Any other option is an error. */
const OPTIONS = {
  path: 'string',
  content: 'string',
  mode: 'string',
  instance: 'string',
  bpffs: 'string',
  lock_timeout: 'string',
  wait_interfaces: 'string',
  accept_shrink: 'boolean',
  accept_growth: 'boolean',
  executable: 'string',
}

/** A failure whose message goes to the user unchanged. */
class Failure extends Error {
  constructor(message, facts = {}) {
    super(message)
    this.facts = facts
  }
}

/** Booleans as templates render them. */
const WORDS = { true: true, yes: true, on: true, false: false, no: false, off: false }

function readOptions(file) {
  const given = JSON.parse(readFileSync(file, 'utf8'))
  const options = { path: '/etc/xdp/xdp.yaml', mode: '0644', executable: 'xdp' }
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith('_ansible_') || value === null) continue
    const type = OPTIONS[name]
    if (type === undefined)
      throw new Failure(`unknown option ${name}; valid options are ${Object.keys(OPTIONS).join(', ')}`)
    options[name] = type === 'boolean' ? (WORDS[String(value).toLowerCase()] ?? value) : value
    if (typeof options[name] !== type) throw new Failure(`${name} must be a ${type}`)
  }
  const { _ansible_check_mode: check = false, _ansible_diff: diff = false } = given
  return { ...options, path: resolve(options.path), check, diff }
}

const read = (path) => (existsSync(path) ? readFileSync(path, 'utf8') : undefined)

/** Writes a file atomically. */
function put(path, text, mode) {
  const partial = beside(path)
  writeFileSync(partial, text)
  chmodSync(partial, mode)
  renameSync(partial, path)
}

/** A path in the same directory, because relative paths in a config start there; the dot hides it from patterns. */
const beside = (path) => join(dirname(path), `.${basename(path)}.${process.pid}`)

/** `file:line:column: error[E020 bad-address]: message`, and the hint. */
function format({ code, name, message, hint, at }) {
  const place = at ? `${at.file}:${at.line}:${at.column}: ` : ''
  return `${place}error[${code} ${name}]: ${message}${hint ? `\nhint: ${hint}` : ''}`
}

/** Runs xdp and returns its output, with the path of a trial config replaced by the real one. */
function xdp(options, file, command, ...flags) {
  const { executable, instance, bpffs, lock_timeout } = options
  const global = Object.entries({ '--instance': instance, '--bpffs': bpffs, '--lock-timeout': lock_timeout })
    .filter(([, value]) => value !== undefined)
    .flat()
  const argv = [command, '--file', file, ...global, ...flags]
  const { status, stdout, stderr, error } = spawnSync(executable, argv, { encoding: 'utf8', maxBuffer: 1 << 28 })
  if (error?.code === 'ENOENT') throw new Failure(`${executable} is not installed`)
  if (error) throw new Failure(`cannot run ${executable}: ${error.message}`)
  const output = stdout.replaceAll(file, options.path)
  if (status === 0) return output
  const { errors = [] } = output.startsWith('{') ? JSON.parse(output) : {}
  const texts = errors.filter(({ severity }) => severity === 'error').map(format)
  throw new Failure(texts.join('\n') || stderr.trim() || `${executable} ended with status ${status}`, {
    exit_status: status,
    errors,
  })
}

/** The flags that accept feeds. */
function accepting({ accept_shrink, accept_growth }) {
  return [...(accept_shrink ? ['--accept-shrink'] : []), ...(accept_growth ? ['--accept-growth'] : [])]
}

/** The plan for a file, as data, and as text with --diff. */
function plan(options, file) {
  const flags = accepting(options)
  const { changes, warnings } = JSON.parse(xdp(options, file, 'plan', '--json', ...flags))
  const text = options.diff && changes.length > 0 ? xdp(options, file, 'plan', '--no-color', ...flags) : undefined
  return { changes: changes.map(({ key }) => key), warnings: warnings.map(({ message }) => message), text }
}

function apply(options) {
  const { path, wait_interfaces } = options
  const wait = wait_interfaces === undefined ? [] : ['--wait-interfaces', wait_interfaces]
  return JSON.parse(xdp(options, path, 'apply', '--auto-approve', '--json', ...wait, ...accepting(options)))
}

function difference({ path }, before, after, text) {
  const file = { before_header: path, after_header: path, before: before ?? '', after }
  return [...(before === after ? [] : [file]), ...(text === undefined ? [] : [{ prepared: text }])]
}

/** Why check mode cannot make a plan: the host is not set up yet. */
function obstacle({ path, executable }) {
  if (!existsSync(dirname(path))) return `${dirname(path)} does not exist yet`
  return spawnSync(executable, ['--version']).error?.code === 'ENOENT'
    ? `${executable} is not installed yet`
    : undefined
}

/** The plan for a text that may not be written yet. */
function planText(options, text, edited) {
  const { path } = options
  if (!edited) return plan(options, path)
  const trial = beside(path)
  try {
    writeFileSync(trial, text, { mode: 0o600 })
    return plan(options, trial)
  } finally {
    rmSync(trial, { force: true })
  }
}

/** Writes and applies a text; restores the old file if that fails. */
function applyText(options, text, before) {
  const { path, mode } = options
  const old = before === undefined ? undefined : statSync(path).mode & 0o7777
  put(path, text, Number.parseInt(mode, 8))
  try {
    return apply(options)
  } catch (error) {
    if (before === undefined) rmSync(path)
    else put(path, before, old)
    throw error
  }
}

function run(options) {
  const { path, content, check } = options
  const before = read(path)
  const edited = content !== undefined && content !== before
  const after = content ?? before ?? ''
  const hindered = check ? obstacle(options) : undefined
  if (hindered !== undefined) return { changed: true, msg: hindered, diff: difference(options, before, after) }
  mkdirSync(dirname(path), { recursive: true })
  const { text, ...planned } = planText(options, after, edited)
  const result = { ...planned, diff: difference(options, before, after, text) }
  if (check) return { changed: edited || planned.changes.length > 0, ...result }
  const { changed } = edited ? applyText(options, after, before) : apply(options)
  return { changed: changed || edited, ...result }
}

const answer = (result) => process.stdout.write(`${JSON.stringify(result)}\n`)

try {
  answer(run(readOptions(process.argv[2])))
} catch (error) {
  const { message, facts = {} } = error
  answer({ failed: true, msg: error instanceof Failure ? message : String(error.stack), ...facts })
  process.exitCode = 1
}
