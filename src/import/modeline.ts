// The first lines of a config for editors.

/** The line by which yaml-language-server finds the schema; without its path, also the command that writes it. */
export const modeline = (schema: string | undefined): readonly string[] =>
  schema === undefined
    ? [
        '# yaml-language-server: $schema=./xdp.schema.json',
        '# For editors, in this directory: xdp schema > xdp.schema.json',
      ]
    : [`# yaml-language-server: $schema=${schema}`]
