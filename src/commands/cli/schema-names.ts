// Names of the schemas, as `xdp schema` takes them.

export const SCHEMA_NAMES = [
  'config',
  'plan',
  'saved-plan',
  'apply',
  'confirm',
  'history',
  'watch',
  'status',
  'state',
  'list',
  'stats',
  'why',
  'ban',
  'bans',
  'validate',
  'doctor',
  'fetch',
  'import',
  'error',
  'version',
] as const
