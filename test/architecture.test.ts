// Holds the house to its plan: which room may import which, who may touch the process and spawn children, how long a
// file may be, and what no file may contain.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '..')
const SRC = join(ROOT, 'src')

/**
 * Room → rooms it may import besides itself and diagnostics.ts, from the bottom of the house to its top. A room with
 * folders is one room for each folder, and one for the files beside them; a folder's name alone stands for all its rooms.
 */
const EDGES: Readonly<Record<string, readonly string[]>> = {
  diagnostics: [],
  shipped: [],
  'features/forwarding': [],
  model: ['features/forwarding'],
  drivers: ['model'],
  report: ['model'],
  semantics: ['model', 'report', 'features/forwarding'],
  abi: ['model', 'report', 'semantics'],
  cache: [],
  history: ['model', 'report', 'cache'],
  'config/text': ['model'],
  'config/entries': ['model', 'config/text'],
  'config/feed': ['model', 'config/text', 'config/entries'],
  'config/services': ['model', 'features/forwarding', 'semantics', 'config/text', 'config/entries'],
  'config/lists': ['model', 'cache', 'config/text', 'config/entries', 'config/feed', 'config/services'],
  config: ['model', 'config/text', 'config/feed', 'config/services', 'config/lists'],
  fetch: ['model', 'report', 'cache', 'config/text'],
  import: ['model', 'features/forwarding'],
  plan: ['model', 'drivers', 'features/forwarding', 'semantics'],
  'tables/lines': ['model', 'abi'],
  'tables/classes': ['model', 'abi', 'tables/lines'],
  'tables/ranges': ['model', 'abi', 'tables/lines', 'tables/classes'],
  'tables/ipv4': ['abi', 'tables/lines', 'tables/classes', 'tables/ranges'],
  'tables/ipv6': ['abi', 'tables/lines', 'tables/classes', 'tables/ranges'],
  'tables/layout': ['abi', 'tables/lines'],
  'tables/services': [
    'model',
    'features/forwarding',
    'abi',
    'semantics',
    'tables/lines',
    'tables/ranges',
    'tables/layout',
  ],
  'tables/rates': ['model', 'abi', 'tables/lines', 'tables/classes', 'tables/layout'],
  'tables/image': [
    'model',
    'abi',
    'tables/lines',
    'tables/classes',
    'tables/ipv4',
    'tables/ipv6',
    'tables/layout',
    'tables/services',
    'tables/rates',
  ],
  features: ['model', 'report', 'abi', 'plan', 'tables/layout', 'tables/services', 'tables/rates'],
  'kernel/tools': ['model', 'shipped', 'abi', 'tables/lines', 'tables/layout'],
  'kernel/host': ['model', 'drivers', 'report', 'shipped', 'abi', 'cache', 'history', 'plan', 'tables', 'kernel/tools'],
  'kernel/observe': ['model', 'abi', 'plan', 'tables', 'features', 'kernel/tools', 'kernel/host'],
  'kernel/live': [
    'model',
    'report',
    'semantics',
    'abi',
    'tables/layout',
    'tables/services',
    'features',
    'kernel/tools',
    'kernel/host',
  ],
  'kernel/execute': [
    'model',
    'abi',
    'plan',
    'tables/lines',
    'tables/layout',
    'features',
    'kernel/tools',
    'kernel/host',
    'kernel/observe',
    'kernel/live',
  ],
  'kernel/report': [
    'model',
    'shipped',
    'report',
    'semantics',
    'abi',
    'plan',
    'tables',
    'features',
    'kernel/tools',
    'kernel/host',
    'kernel/observe',
    'kernel/live',
  ],
  'kernel/doctor': ['model', 'drivers', 'report', 'abi', 'features', 'kernel/tools', 'kernel/host', 'kernel/observe'],
  pipelines: ['model', 'report', 'abi', 'history', 'plan', 'tables', 'features', 'kernel'],
  metrics: ['report', 'features'],
  render: ['model', 'report', 'plan', 'features/forwarding'],
  saved: ['model', 'abi', 'features/forwarding'],
  'watch/time': ['report'],
  'watch/files': ['report', 'cache', 'config', 'watch/time'],
  'watch/health': ['model', 'abi', 'kernel/host', 'watch/time'],
  watch: [
    'history',
    'model',
    'report',
    'abi',
    'config',
    'fetch',
    'plan',
    'kernel/host',
    'kernel/live',
    'pipelines',
    'watch/time',
    'watch/files',
    'watch/health',
  ],
  'commands/cli': ['model', 'abi', 'cache', 'pipelines'],
  'commands/verbs': [
    'model',
    'shipped',
    'report',
    'config',
    'fetch',
    'import',
    'plan',
    'pipelines',
    'metrics',
    'render',
    'saved',
    'watch',
    'commands/cli',
  ],
  commands: ['abi', 'cache', 'history', 'render', 'commands/cli', 'commands/verbs'],
  cli: ['shipped', 'commands', 'commands/cli'],
  checker: ['watch/health'],
}

/** Room → packages and built-in modules it may import. What is not listed is pure: no files, no network, no clock. */
const EXTERNALS: Readonly<Record<string, readonly string[]>> = {
  abi: ['node:os'],
  cache: ['node:fs', 'node:path', 'node:crypto', 'node:zlib'],
  history: ['node:fs', 'node:path', 'node:crypto'],
  tables: ['node:crypto'],
  config: [
    '@isaacs/nonrecursive-glob-match',
    'ajv',
    'mmdb-lib',
    'yaml',
    'node:fs',
    'node:path',
    'node:crypto',
    'node:util',
    'node:url',
    'node:buffer',
    'node:zlib',
  ],
  fetch: [
    'node:crypto',
    'node:dns',
    'node:fs',
    'node:http',
    'node:https',
    'node:net',
    'node:path',
    'node:stream',
    'node:zlib',
  ],
  import: ['yaml'],
  kernel: ['execa', 'node:*'],
  pipelines: ['node:crypto', 'node:path'],
  features: [],
  watch: [
    'history',
    'chokidar',
    'node:crypto',
    'node:dgram',
    'node:fs',
    'node:http',
    'node:http2',
    'node:https',
    'node:net',
    'node:path',
    'node:perf_hooks',
    'node:stream',
    'node:tls',
  ],
  render: ['diff', 'node:crypto', 'node:util'],
  saved: ['node:crypto'],
  commands: ['node:path', 'node:util', 'node:fs', 'node:os', 'node:url'],
  cli: ['node:*'],
  checker: [],
}

const PURE = [
  'model',
  'drivers',
  'report',
  'semantics',
  'abi',
  'tables',
  'import',
  'plan',
  'features',
  'metrics',
  'render',
]

function walk(directory: string, matches: RegExp): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : walk(path, matches)
    return matches.test(entry.name) && !entry.name.startsWith('generated.') ? [path] : []
  })
}

const SKIPPED = new Set(['node_modules', 'dist', 'build', 'generated', '.git', 'LICENSES'])

/** The room of a file of src/: `kernel/tools`, `kernel` for a file beside the folders, `cli` for a file at the top. */
function room(path: string): string {
  const [top = '', below, file] = relative(SRC, path).split('/')
  if (below === undefined) return top.replace(/\.ts$/, '')
  return file === undefined ? top : `${top}/${below}`
}

/** The folder of src/ that a room lies in. */
const topOf = (name: string): string => name.split('/')[0] ?? name

/** Whether a permission covers a room: the room's own name, or that of the folder it lies in. */
const covers = (permission: string, name: string): boolean => permission === name || permission === topOf(name)

interface Import {
  readonly specifier: string
}

interface Source {
  readonly path: string
  readonly name: string
  readonly room: string
  /** Folder of src/. */
  readonly top: string
  readonly text: string
  readonly tree: ts.SourceFile
}

function imports({ tree }: Source): Import[] {
  const found: Import[] = []
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier) {
      if (ts.isStringLiteral(node.moduleSpecifier)) {
        found.push({ specifier: node.moduleSpecifier.text })
      }
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [argument] = node.arguments
      if (argument && ts.isStringLiteral(argument)) found.push({ specifier: argument.text })
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
  return { path, name: relative(ROOT, path), room: room(path), top: topOf(room(path)), text, tree }
})

/** The file of src/ that an import names; undefined for packages and files elsewhere. */
function targetOf(source: Source, { specifier }: Import): string | undefined {
  if (!specifier.startsWith('.')) return undefined
  const target = resolve(dirname(source.path), specifier)
  return target.startsWith(`${SRC}/`) && !target.includes('/generated/') ? target : undefined
}

/** Why an import of a package or built-in module is not allowed, or undefined. */
function objectionToPackage(source: Source, specifier: string): string | undefined {
  const allowed = EXTERNALS[source.top] ?? []
  const scoped = specifier.startsWith('@') ? 2 : 1
  const name = specifier.startsWith('node:') ? specifier : specifier.split('/').slice(0, scoped).join('/')
  if (allowed.includes(name) || (name.startsWith('node:') && allowed.includes('node:*'))) return undefined
  return `${source.name}: ${source.room} may not import ${specifier}`
}

/** Why an import is not allowed, or undefined. Type-only imports count like all others. */
function objection(source: Source, one: Import): string | undefined {
  const { specifier } = one
  if (!specifier.startsWith('.')) return objectionToPackage(source, specifier)
  if (!specifier.endsWith('.ts') && !specifier.endsWith('.json') && !specifier.includes('/generated/')) {
    return `${source.name}: ${specifier} has no extension`
  }
  const target = targetOf(source, one)
  if (target === undefined) return undefined
  const to = room(target)
  const edges = EDGES[source.room] ?? []
  if (to === source.room || to === 'diagnostics' || edges.some((edge) => covers(edge, to))) return undefined
  return `${source.name}: ${source.room} may not import ${to}`
}

/** Circles of imports, each as the names of its files; type-only imports count. */
function circles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const found: string[][] = []
  const state = new Map<string, 'open' | 'done'>()
  const path: string[] = []
  const visit = (file: string): void => {
    if (state.get(file) === 'done') return
    if (state.get(file) === 'open') {
      found.push(path.slice(path.indexOf(file)))
      return
    }
    state.set(file, 'open')
    path.push(file)
    for (const next of graph.get(file) ?? []) visit(next)
    path.pop()
    state.set(file, 'done')
  }
  for (const file of graph.keys()) visit(file)
  return found
}

describe('rooms', () => {
  test('every file of src/ stands in a known room', () => {
    expect(sources.filter((source) => !(source.room in EDGES)).map(({ name }) => name)).toEqual([])
  })

  test('imports point one way', () => {
    const objections = sources.flatMap((source) => imports(source).map((one) => objection(source, one)))
    expect(objections.filter((text) => text !== undefined)).toEqual([])
  })

  test('every permission of the table is used', () => {
    const used = sources.flatMap((source) =>
      imports(source).flatMap((one) => {
        const target = targetOf(source, one)
        return target === undefined ? [] : [{ from: source.room, to: room(target) }]
      }),
    )
    const unused = Object.entries(EDGES).flatMap(([from, edges]) =>
      edges
        .filter((edge) => !used.some((one) => one.from === from && covers(edge, one.to)))
        .map((edge) => `${from}: ${edge}`),
    )
    expect(unused).toEqual([])
  })

  test('imports of rooms form no circle', () => {
    const graph = new Map(
      Object.entries(EDGES).map(([name, edges]) => [
        name,
        Object.keys(EDGES).filter((other) => other !== name && edges.some((edge) => covers(edge, other))),
      ]),
    )
    expect(circles(graph)).toEqual([])
  })

  test('imports of files form no circle, types included', () => {
    const graph = new Map(
      sources.map((source) => [
        source.name,
        imports(source).flatMap((one) => {
          const target = targetOf(source, one)
          return target === undefined ? [] : [relative(ROOT, target)]
        }),
      ]),
    )
    expect(circles(graph)).toEqual([])
  })

  test('only kernel/ starts processes', () => {
    const spawning = /^(execa|node:child_process|node:worker_threads|node:cluster)$/
    const guilty = sources.filter((source) => imports(source).some(({ specifier }) => spawning.test(specifier)))
    expect(guilty.filter((source) => source.top !== 'kernel').map(({ name }) => name)).toEqual([])
  })

  test('only entries and kernel/ touch the process', () => {
    const guilty = sources.filter((source) => uses(source, 'process') || uses(source, 'console'))
    expect(
      guilty.filter((source) => !['cli', 'checker', 'kernel'].includes(source.top)).map(({ name }) => name),
    ).toEqual([])
  })

  test('commands that editors and shells run at each key load nothing of the kernel', () => {
    const byName = new Map(sources.map((source) => [source.name, source]))
    /** Imports that a run loads: neither types alone, nor those behind `await import()`. */
    const loaded = (source: Source): string[] =>
      source.tree.statements.flatMap((node) => {
        const isType = ts.isImportDeclaration(node) && node.importClause?.isTypeOnly
        if (!ts.isImportDeclaration(node) || isType || !ts.isStringLiteral(node.moduleSpecifier)) return []
        const target = targetOf(source, { specifier: node.moduleSpecifier.text })
        return target === undefined ? [] : [relative(ROOT, target)]
      })
    const reached = new Set<string>()
    const follow = (name: string): void => {
      const source = byName.get(name)
      if (source === undefined || reached.has(name)) return
      reached.add(name)
      for (const next of loaded(source)) follow(next)
    }
    const commands = ['validate', 'schema', 'completion'].map((verb) => `src/commands/verbs/${verb}.ts`)
    for (const name of [...commands, 'src/commands/cli/completion/complete.ts', 'src/cli.ts']) follow(name)
    expect(reached.size).toBeGreaterThan(50)
    expect([...reached].filter((name) => /^src\/(?:kernel|pipelines\/session)/.test(name))).toEqual([])
  })

  test('pure rooms read no clock, no randomness and wait for nothing', () => {
    const guilty = sources
      .filter((source) => PURE.includes(source.top))
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
    const allowed = /^(?:vitest\.config\.ts|scripts\/lib\/reporter\.mjs|site\/\.vitepress\/config\.mjs)$/
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
