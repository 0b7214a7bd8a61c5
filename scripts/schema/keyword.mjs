// `x-error`, a keyword in schemas/xdp.schema.json: the words of errors about a value. It validates nothing, and published
// schemas do not have it.

const text = { type: 'string', minLength: 1 }
const code = { type: 'string', pattern: '^E\\d{3}$' }

/** For `ajv.addKeyword`. Texts may hold `{examples}`, `{example}`, `{words}`, `{word}` and `{others}`. */
export const X_ERROR = {
  keyword: 'x-error',
  metaSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      /** Name of the value in a message; default: the key. */
      what: text,
      /** Completes "must be …". Default: derived from type, `enum` and bounds. */
      expected: text,
      /** Error for a value of the right kind that is not allowed; default E013. */
      code,
      /** Error for a value of the wrong kind; default: `code`, then E012. */
      kindCode: code,
      /** Hint for a value that is not allowed. */
      hint: text,
      /** Whether messages must not quote the value. */
      secret: { const: true },
      /** Hint for an empty value. */
      whenEmpty: text,
      /** Hint for a missing key. */
      whenMissing: text,
      /** The place of the keys of this mapping, for a misplaced one. */
      home: text,
      /** Other names that people write for this key, in lower case, for "did you mean". */
      aliases: { type: 'array', minItems: 1, items: { type: 'string', pattern: '^[a-z_]+$' } },
    },
  },
}
