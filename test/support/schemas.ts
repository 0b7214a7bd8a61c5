// The published schemas, and validation against them.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv, type ValidateFunction } from 'ajv'
import { expect } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

/** Directory in which the build puts the schemas, each with all that it refers to. */
export const SCHEMAS = join(ROOT, 'build/schemas')

/** A schema, as far as tests look into one. */
export interface Schema {
  readonly [keyword: string]: unknown
  readonly $ref?: string
  readonly description?: string
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema | false
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly allOf?: readonly Schema[]
  readonly definitions?: Readonly<Record<string, Schema>>
}

export const readSchema = (name: string): Schema =>
  JSON.parse(readFileSync(join(SCHEMAS, `${name}.schema.json`), 'utf8'))

/** The schema with every object closed: published ones are open, so that readers survive a new minor version. */
function close(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(close)
  if (typeof schema !== 'object' || schema === null) return schema
  const closed = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, close(value)]))
  return 'properties' in closed && !('additionalProperties' in closed)
    ? { ...closed, additionalProperties: false }
    : closed
}

const validators = new Map<string, ValidateFunction>()

/** Validates a document against its closed schema, so that every field is described; returns its content. */
export function check(name: string, document: string): unknown {
  const known = validators.get(name) ?? new Ajv({ allowUnionTypes: true }).compile(close(readSchema(name)) as object)
  validators.set(name, known)
  expect(Object.keys(JSON.parse(document))[0]).toBe('format_version')
  known(JSON.parse(document))
  expect(known.errors ?? []).toEqual([])
  return JSON.parse(document)
}

/** The names of all keys of a schema, with those of the definitions. */
export function keyNames(schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return []
  return Object.entries(schema).flatMap(([word, value]) => [
    ...(word === 'properties' ? Object.keys(value as object) : []),
    ...keyNames(value),
  ])
}
