// Compares two checks field by field, because every load of the config makes new objects.

import type { HealthCheck } from '../../model/health.ts'

type Value = HealthCheck | object | string | number | boolean | undefined

function isSame(a: Value, b: Value): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object') return false
  const keys = Object.keys(a) as (keyof typeof a)[]
  return keys.length === Object.keys(b).length && keys.every((key) => key in b && isSame(a[key], b[key]))
}

export const isSameCheck = (a: HealthCheck | undefined, b: HealthCheck | undefined): boolean => isSame(a, b)
