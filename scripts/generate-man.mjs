// generate-man.mjs DIRECTORY: writes the manual pages xdp(8) and xdp.yaml(5), from the sources of --help, the schema
// and docs/.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { evaluate } from './lib/evaluate.mjs'
import { at } from './lib/paths.mjs'
import { main } from './lib/run.mjs'
import { commandsPage } from './man/commands.mjs'
import { configPage } from './man/config.mjs'

const ENTRY = `
export { COMMANDS as commands } from './src/commands/table.ts'
export { GLOBAL_FLAGS as globals } from './src/commands/cli/flags.ts'
export { INTRO as intro } from './src/commands/cli/help.ts'
`

/**
 * The day of the build, or the one set for a reproducible build
 * (https://reproducible-builds.org/specs/source-date-epoch/).
 */
function today() {
  const epoch = process.env.SOURCE_DATE_EPOCH
  return (epoch === undefined ? new Date() : new Date(Number(epoch) * 1000)).toISOString().slice(0, 10)
}

await main(async () => {
  const directory = process.argv[2]
  const text = (path) => readFileSync(at(path), 'utf8')
  const { version } = JSON.parse(text('package.json'))
  const about = { date: today(), source: `xdp ${version}` }
  const pages = {
    'xdp.8': commandsPage(await evaluate(ENTRY), text('docs/commands.md'), about),
    'xdp.yaml.5': configPage(JSON.parse(text('schemas/xdp.schema.json')), text('docs/config.md'), about),
  }
  mkdirSync(at(directory), { recursive: true })
  for (const [name, page] of Object.entries(pages)) writeFileSync(at(join(directory, name)), page)
})
