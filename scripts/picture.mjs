// npm run picture: plays the session of the README's picture and writes docs/demo.svg.
import { writeFileSync } from 'node:fs'
import { at } from './lib/paths.mjs'
import { main, run, ScriptError } from './lib/run.mjs'
import { sessionOfPicture } from './lib/session.mjs'
import { toSvg } from './lib/svg.mjs'
import { setup } from './setup.mjs'

const COLUMNS = 94

await main(async () => {
  await setup()
  await run(process.execPath, ['scripts/build.mjs'])
  const session = await sessionOfPicture({ FORCE_COLOR: '1' })
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the session has escape sequences
  const widest = Math.max(...session.split('\n').map((line) => line.replaceAll(/\x1b\[[\d;]*m/g, '').length))
  if (widest > COLUMNS) throw new ScriptError(`a line of the session has ${widest} columns, the picture ${COLUMNS}`)
  writeFileSync(
    at('docs/demo.svg'),
    toSvg(session, { columns: COLUMNS, title: 'after xdp apply a ping gets no answer, and xdp why explains it' }),
  )
  console.log('docs/demo.svg')
})
