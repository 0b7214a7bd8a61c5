// Violations of the schema → problems. For one mistake, ajv lists a violation of every branch of the schema; this file
// reports each mistake once, at the deepest place. problems.ts has the texts.

import { WRITTEN_PROTOCOLS } from '../../model/ports.ts'
import type { SchemaError } from '../generated/validate.js'
import * as problems from './problems.ts'
import { at } from './tree.ts'

/** One violation, with its path split into steps. */
interface Violation {
  readonly error: SchemaError
  readonly path: problems.Path
}

const toPath = (pointer: string): problems.Path =>
  pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))

/** Keywords that only repeat that something in or below a value is wrong. */
const SUMMARIES = new Set(['anyOf', 'if', 'allOf'])

/** Whether a value is a valid protocol, possibly one without ports. */
const isProtocol = (value: unknown): boolean =>
  Object.hasOwn(WRITTEN_PROTOCOLS, String(value)) ||
  (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 255)

/** A problem that is not explained yet. */
interface Problem {
  readonly key: string
  /** About where it is: an offset into the text. */
  readonly from: number
  readonly report: () => void
}

/**
 * Problems explained per file, more than a report shows. Explaining one looks for similar words, so a file of 300,000
 * errors would take minutes.
 */
const EXPLAINED = 100

function offsetOf({ root }: problems.Context, path: problems.Path): number {
  const { from, key } = at(root, path)
  return key?.from ?? from
}

/**
 * The problem of a mapping or list as a whole; violations with equal keys are one problem. `ignored`: another violation
 * covers it. undefined: the problem is in the value at the path.
 */
function structural({ error, path }: Violation, context: problems.Context): Problem | 'ignored' | undefined {
  const { keyword, params, schemaPath, instancePath } = error
  const problem = (detail: string, report: () => void): Problem => ({
    key: `${instancePath} ${keyword} ${detail}`,
    from: offsetOf(context, [...path, detail]),
    report,
  })
  if (error.propertyName !== undefined) return 'ignored'
  if (schemaPath.includes('/has_ports/')) {
    if (keyword === 'enum' && !isProtocol(at(context.root, path).value)) return 'ignored'
    const entry = path.slice(0, 2)
    const from = offsetOf(context, entry)
    return { key: `${entry.join('/')} ports`, from, report: () => problems.portsWithoutProtocol(context, entry) }
  }
  const rule = problems.SOURCE_RULES.find((name) => schemaPath.includes(`/${name}/`))
  if (rule !== undefined) {
    if (keyword !== 'required') return 'ignored'
    const from = offsetOf(context, path)
    return { key: `${instancePath} ${rule}`, from, report: () => problems.needsSources(context, path, rule) }
  }
  switch (keyword) {
    case 'propertyNames': {
      const name = params.propertyName ?? ''
      return problem(name, () => problems.badName(context, path, name))
    }
    case 'additionalProperties': {
      const key = params.additionalProperty ?? ''
      return problem(key, () => problems.unknownKey(context, path, key))
    }
    case 'oneOf':
      if (at(context.root, path).fields === undefined || problems.hasMistakenSource(context, path)) return 'ignored'
      return problem('', () => problems.entrySource(context, path))
    case 'required': {
      if (schemaPath.includes('/oneOf/')) return 'ignored'
      const key = params.missingProperty ?? ''
      if (problems.isMistaken(context, path, key)) return 'ignored'
      return problem(key, () => problems.missingKey(context, path, key))
    }
    case 'dependencies': {
      const key = params.property ?? ''
      return problem(key, () => problems.needsSource(context, path, key, ['url']))
    }
    case 'minProperties':
    case 'maxProperties':
      return problem('', () =>
        path.length === 1 && path[0] === 'interfaces'
          ? problems.interfaceCount(context, path)
          : problems.emptyMapping(context, path),
      )
    case 'uniqueItems':
      return problem('', () => problems.repeated(context, path, Math.max(params.i ?? 0, params.j ?? 0)))
    default:
      return undefined
  }
}

const pointerOf = (path: problems.Path): string => `/${path.join('/')}`

/**
 * Reports each problem once.
 *
 * @returns the parts of the file with an error in them: `blocklist/3`, `interfaces/eth0`, or `blocklist` if the error
 *   is in the list as a whole
 */
export function reportSchemaErrors(errors: readonly SchemaError[], context: problems.Context): ReadonlySet<string> {
  const violations = errors
    .filter(({ keyword }) => !SUMMARIES.has(keyword))
    .map((error) => ({ error, path: toPath(error.instancePath) }))
  const explained = new Set<string>()
  const values = new Map<string, problems.Path>()
  const found = new Map<string, Problem>()
  for (const violation of violations) {
    const { path } = violation
    const problem = structural(violation, context)
    if (problem === 'ignored') continue
    for (let depth = 0; depth < path.length; depth++) explained.add(pointerOf(path.slice(0, depth)))
    if (problem === undefined) {
      values.set(pointerOf(path), path)
      continue
    }
    explained.add(pointerOf(path))
    if (!found.has(problem.key)) found.set(problem.key, problem)
  }
  const all = [...found.values()]
  for (const [pointer, path] of values) {
    if (explained.has(pointer)) continue
    all.push({ key: pointer, from: offsetOf(context, path), report: () => problems.badValue(context, path) })
  }
  all.sort((left, right) => left.from - right.from)
  for (const { report } of all.slice(0, EXPLAINED)) report()
  context.report.omit(Math.max(0, all.length - EXPLAINED))
  return new Set(violations.map(({ path }) => path.slice(0, 2).join('/')))
}
