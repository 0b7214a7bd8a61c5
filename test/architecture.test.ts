// Holds the house to its plan: which room may import which, who may touch the process and spawn children, how long a
// file may be, and what no file may contain.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '..')
const SRC = join(ROOT, 'src')

/** Room → what it may import besides itself and diagnostics.ts. `type:` allows types alone. */
const EDGES: Readonly<Record<string, readonly string[]>> = {
  diagnostics: [],
  model: [],
  abi: ['model'],
  cache: [],
  tables: ['model', 'abi'],
  config: ['model', 'cache'],
  import: ['model'],
  plan: ['model'],
  kernel: ['model', 'abi', 'cache', 'tables', 'plan'],
  reconcile: ['model', 'abi', 'cache', 'tables', 'plan', 'kernel', 'config'],
  bans: ['model', 'abi', 'plan', 'kernel'],
  stats: ['model', 'abi', 'kernel'],
  metrics: ['model'],
  render: ['model', 'plan'],
  watch: ['model', 'plan', 'config', 'cache', 'kernel', 'reconcile'],
  commands: [
    'model',
    'cache',
    'plan',
    'config',
    'import',
    'reconcile',
    'bans',
    'stats',
    'metrics',
    'watch',
    'render',
    'type:kernel',
  ],
  cli: ['commands', 'render'],
}

/** Room → packages and built-in modules it may import. What is not listed is pure: no files, no network, no clock. */
const EXTERNALS: Readonly<Record<string, readonly string[]>> = {
  abi: ['node:os'],
  cache: ['node:fs', 'node:path', 'node:crypto', 'node:zlib'],
  tables: ['node:crypto'],
  config: ['ajv', 'yaml', 'node:fs', 'node:path', 'node:crypto', 'node:util', 'node:url', 'node:buffer', 'node:zlib'],
  import: ['yaml'],
  kernel: ['execa', 'node:*'],
  reconcile: ['node:crypto', 'node:path', 'node:fs'],
  watch: [
    'chokidar',
    'node:crypto',
    'node:dgram',
    'node:fs',
    'node:http',
    'node:https',
    'node:net',
    'node:path',
    'node:perf_hooks',
    'node:tls',
  ],
  render: ['diff', 'node:util'],
  commands: ['node:path', 'node:util', 'node:fs', 'node:os', 'node:url'],
  cli: ['node:*'],
}

const PURE = ['model', 'abi', 'tables', 'import', 'plan', 'metrics', 'render']

function walk(directory: string, matches: RegExp): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : walk(path, matches)
    return matches.test(entry.name) && !entry.name.startsWith('generated.') ? [path] : []
  })
}

const SKIPPED = new Set(['node_modules', 'dist', 'build', 'generated', '.git', 'LICENSES'])

/** The room of a file of src/: its first folder, or its own name where it stands at the top. */
function room(path: string): string {
  return relative(SRC, path).split('/')[0]?.replace(/\.ts$/, '') ?? ''
}

interface Import {
  readonly specifier: string
  readonly typeOnly: boolean
}

interface Source {
  readonly path: string
  readonly name: string
  readonly room: string
  readonly text: string
  readonly tree: ts.SourceFile
}

function typeOnly(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  return ts.isImportDeclaration(node) ? (node.importClause?.isTypeOnly ?? false) : node.isTypeOnly
}

function imports({ tree }: Source): Import[] {
  const found: Import[] = []
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier) {
      if (ts.isStringLiteral(node.moduleSpecifier)) {
        found.push({ specifier: node.moduleSpecifier.text, typeOnly: typeOnly(node) })
      }
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [argument] = node.arguments
      if (argument && ts.isStringLiteral(argument)) found.push({ specifier: argument.text, typeOnly: false })
    }
    ts.forEachChild(node, visit)
  }
  visit(tree)
  return found
}

/** Uses of a global by name: identifiers that are neither a property nor a key. */
function uses({ tree }: Source, name: string): boolean {
  let found = false
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node) && node.text === name) {
      const { parent } = node
      const isProperty = ts.isPropertyAccessExpression(parent) && parent.name === node
      const isKey = ts.isPropertyAssignment(parent) && parent.name === node
      const isMember = ts.isPropertySignature(parent) || ts.isMethodSignature(parent)
      found ||= !isProperty && !isKey && !isMember
    }
    ts.forEachChild(node, visit)
  }
  visit(tree)
  return found
}

const sources: readonly Source[] = walk(SRC, /\.ts$/).map((path) => {
  const text = readFileSync(path, 'utf8')
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true)
  return { path, name: relative(ROOT, path), room: room(path), text, tree }
})

/** Why an import is not allowed, or undefined. */
function objection(source: Source, { specifier, typeOnly: isType }: Import): string | undefined {
  if (!specifier.startsWith('.')) {
    const allowed = EXTERNALS[source.room] ?? []
    const name = specifier.startsWith('node:')
      ? specifier
      : specifier
          .split('/')
          .slice(0, specifier.startsWith('@') ? 2 : 1)
          .join('/')
    if (allowed.includes(name) || (name.startsWith('node:') && allowed.includes('node:*'))) return undefined
    return `${source.name}: ${source.room} may not import ${specifier}`
  }
  if (!specifier.endsWith('.ts') && !specifier.endsWith('.json') && !specifier.includes('/generated/')) {
    return `${source.name}: ${specifier} has no extension`
  }
  const target = resolve(dirname(source.path), specifier)
  if (!target.startsWith(`${SRC}/`)) return undefined
  const to = room(target)
  const edges = EDGES[source.room] ?? []
  if (to === source.room || to === 'diagnostics' || edges.includes(to)) return undefined
  if (isType && edges.includes(`type:${to}`)) return undefined
  return `${source.name}: ${source.room} may not import ${isType ? 'types of ' : ''}${to}`
}

describe('rooms', () => {
  test('every file of src/ stands in a known room', () => {
    expect(sources.filter((source) => !(source.room in EDGES)).map(({ name }) => name)).toEqual([])
  })

  test('imports point one way', () => {
    const objections = sources.flatMap((source) => imports(source).map((one) => objection(source, one)))
    expect(objections.filter((text) => text !== undefined)).toEqual([])
  })

  test('only kernel/ starts processes', () => {
    const spawning = /^(execa|node:child_process|node:worker_threads|node:cluster)$/
    const guilty = sources.filter((source) => imports(source).some(({ specifier }) => spawning.test(specifier)))
    expect(guilty.filter((source) => source.room !== 'kernel').map(({ name }) => name)).toEqual([])
  })

  test('only cli.ts and kernel/ touch the process', () => {
    const guilty = sources.filter((source) => uses(source, 'process') || uses(source, 'console'))
    expect(guilty.filter((source) => !['cli', 'kernel'].includes(source.room)).map(({ name }) => name)).toEqual([])
  })

  test('pure rooms read no clock, no randomness and wait for nothing', () => {
    const guilty = sources
      .filter((source) => PURE.includes(source.room))
      .filter(
        (source) =>
          ['performance', 'setTimeout', 'setImmediate', 'Promise', 'fetch'].some((name) => uses(source, name)) ||
          /\bMath\.random\b|\bDate\.now\b|\bnew Date\(\s*\)|\bawait\s/.test(source.text),
      )
    expect(guilty.map(({ name }) => name)).toEqual([])
  })
})

describe('files', () => {
  const LONGEST = 350
  const texts = [...walk(ROOT, /\.(?:ts|mjs|c|h|md|ya?ml|json|sh)$/), join(ROOT, '.ci/run')]
    .filter((path) => !path.endsWith('package-lock.json'))
    .map((path) => ({ name: relative(ROOT, path), text: readFileSync(path, 'utf8') }))

  test(`no source file is longer than ${LONGEST} lines`, () => {
    const long = texts
      .filter(({ name }) => /^(?:src|bpf|scripts)\//.test(name) && !name.endsWith('.md'))
      .map(({ name, text }) => ({ name, lines: text.split('\n').length - 1 }))
    expect(long.filter(({ lines }) => lines > LONGEST)).toEqual([])
  })

  // Written in two parts, so that this file does not contain what it looks for.
  const FORBIDDEN: Readonly<Record<string, RegExp>> = {
    'unfinished work': new RegExp(['\\b(?:TO', 'DO|FIX', 'ME|XX', 'X)\\b'].join('')),
    'the path of one machine': new RegExp(['/wo', 'rk/|/ho', 'me/\\w|/ro', 'ot/\\w|/Us', 'ers/\\w'].join('')),
    'a test that does not run': new RegExp(['\\b(?:test|it|describe)\\.(?:sk', 'ip|on', 'ly|to', 'do)\\b'].join('')),
    'a default export': new RegExp(['^export def', 'ault\\b'].join(''), 'm'),
  }

  test.each(Object.entries(FORBIDDEN))('no file contains %s', (what, pattern) => {
    const allowed = /^(?:vitest\.config\.ts|scripts\/lib\/reporter\.mjs)$/
    const guilty = texts.filter(
      ({ name, text }) => pattern.test(text) && !(what === 'a default export' && allowed.test(name)),
    )
    expect(guilty.map(({ name, text }) => `${name}: ${pattern.exec(text)?.[0]}`)).toEqual([])
  })

  test('every C file of bpf/ names its licence', () => {
    const guilty = texts
      .filter(({ name }) => /^(?:bpf|test\/bpf|bench)\/.*\.[ch]$/.test(name))
      .filter(({ text }) => !text.startsWith('/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */\n'))
    expect(guilty.map(({ name }) => name)).toEqual([])
  })
})
