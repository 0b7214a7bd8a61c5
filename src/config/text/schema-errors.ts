// Violations of the schema → problems. ajv gives every reason of every branch that does not fit; here each problem is
// told once, at its place: what is deeper explains what is above. The texts are made in problems.ts.

import type { SchemaError } from '../generated/validate.js'
import * as problems from './problems.ts'
import { at } from './tree.ts'

/** One violation with its path taken apart. */
interface Violation {
  readonly error: SchemaError
  readonly path: problems.Path
}

const toPath = (pointer: string): problems.Path =>
  pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))

/** Keywords that only say that something in or below a value is wrong. */
const SUMMARIES = new Set(['anyOf', 'if', 'allOf'])

/** Whether a value is a protocol, if perhaps one without ports. */
const isProtocol = (value: unknown): boolean =>
  value === 'icmp' || (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 255)

type Told = { readonly key: string; readonly tell: () => void }

/**
 * What a violation says about a mapping or list as such, with a key that is the same for the same problem. `ignored`:
 * another violation says it. undefined: it is about the value at its path.
 */
function structural({ error, path }: Violation, context: problems.Context): Told | 'ignored' | undefined {
  const { keyword, params, schemaPath, instancePath } = error
  const told = (detail: string, tell: () => void): Told => ({ key: `${instancePath} ${keyword} ${detail}`, tell })
  if (error.propertyName !== undefined) return 'ignored'
  if (schemaPath.includes('/has_ports/')) {
    if (keyword === 'enum' && !isProtocol(at(context.root, path).value)) return 'ignored'
    const entry = path.slice(0, 2)
    return { key: `${entry.join('/')} ports`, tell: () => problems.portsWithoutProtocol(context, entry) }
  }
  switch (keyword) {
    case 'propertyNames': {
      const name = params.propertyName ?? ''
      return told(name, () => problems.badName(context, path, name))
    }
    case 'additionalProperties': {
      const key = params.additionalProperty ?? ''
      return told(key, () => problems.unknownKey(context, path, key))
    }
    case 'oneOf':
      if (at(context.root, path).fields === undefined) return 'ignored'
      return told('', () => problems.entrySource(context, path))
    case 'required': {
      if (schemaPath.includes('/oneOf/')) return 'ignored'
      const key = params.missingProperty ?? ''
      return told(key, () => problems.missingKey(context, path, key))
    }
    case 'dependencies': {
      const key = params.property ?? ''
      return told(key, () => problems.needsFile(context, path, key))
    }
    case 'minProperties':
    case 'maxProperties':
      return told('', () => problems.interfaceCount(context, path))
    case 'uniqueItems':
      return told('', () => problems.repeated(context, path, Math.max(params.i ?? 0, params.j ?? 0)))
    default:
      return undefined
  }
}

const pointerOf = (path: problems.Path): string => `/${path.join('/')}`

/**
 * Reports each problem once.
 *
 * @returns the parts of the file with an error in them: `blocklist/3`, `interfaces/eth0`, or `blocklist` where the
 *   list as such is wrong
 */
export function reportSchemaErrors(errors: readonly SchemaError[], context: problems.Context): ReadonlySet<string> {
  const violations = errors
    .filter(({ keyword }) => !SUMMARIES.has(keyword))
    .map((error) => ({ error, path: toPath(error.instancePath) }))
  const explained = new Set<string>()
  const values = new Map<string, problems.Path>()
  const told = new Set<string>()
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
    if (!told.has(problem.key)) problem.tell()
    told.add(problem.key)
  }
  for (const [pointer, path] of values) if (!explained.has(pointer)) problems.badValue(context, path)
  return new Set(violations.map(({ path }) => path.slice(0, 2).join('/')))
}
