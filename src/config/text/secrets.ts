// Secrets in lines of a config, which errors quote.

/** A value behind its key, in YAML of any style; or a key of 32 hex digits without its name. */
const SECRETS = /(?<=\bhash_key["']?\s*:\s*)[^\s,}]+|\b[0-9a-f]{32}\b/gi

/** The line with stars in place of secrets, so that columns stay. */
export const withoutSecrets = (line: string): string => line.replace(SECRETS, (secret) => '*'.repeat(secret.length))
