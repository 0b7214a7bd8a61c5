// node scripts/picture.mjs: plays the short demo in a terminal and writes its screen to docs/demo.svg.
import { mkdirSync, writeFileSync } from 'node:fs'
import { install } from './lib/host.mjs'
import { at } from './lib/paths.mjs'
import { main, run, ScriptError, which } from './lib/run.mjs'
import { toSvg } from './lib/svg.mjs'
import { setup } from './setup.mjs'

const COLUMNS = 100
/** More lines than the session prints, so that none scrolls away. */
const ROWS = 150

await main(async () => {
  await setup()
  await install([{ name: 'tmux', present: () => which('tmux') !== undefined, packages: ['tmux'] }])
  await run(process.execPath, ['scripts/build.mjs'])
  const tmux = (...args) => run('tmux', ['-L', `xdp-picture-${process.pid}`, '-f', '/dev/null', ...args])
  const session = `'${process.execPath}' scripts/demo.mjs --short; tmux wait-for -S played; read hold`
  await tmux('new-session', '-d', '-x', COLUMNS, '-y', ROWS, session)
  try {
    await tmux('wait-for', 'played')
    const { stdout } = await tmux('capture-pane', '-p', '-e')
    if (/^error:/m.test(stdout)) throw new ScriptError(`the demo failed:\n${stdout.trim()}`)
    mkdirSync(at('docs'), { recursive: true })
    writeFileSync(at('docs/demo.svg'), toSvg(stdout, { columns: COLUMNS, title: 'xdp plan, apply and the effect' }))
    console.log('docs/demo.svg')
  } finally {
    await tmux('kill-server')
  }
})
