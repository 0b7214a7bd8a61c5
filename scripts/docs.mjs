// npm run docs: builds the site of the docs in build/site. `-- serve` also serves it, on http://localhost:4173.
import { existsSync, readFileSync } from 'node:fs'
import { at } from './lib/paths.mjs'
import { main, run } from './lib/run.mjs'
import { writePages } from './lib/site.mjs'

/** VitePress has a lock of its own, so that no other command has to install it. */
async function install() {
  const hidden = at('site/node_modules/.package-lock.json')
  const installed = existsSync(hidden) ? JSON.parse(readFileSync(hidden, 'utf8')).packages : {}
  const wanted = JSON.parse(readFileSync(at('site/package-lock.json'), 'utf8')).packages
  const isInstalled = Object.entries(wanted).every(
    ([path, { version, optional }]) => path === '' || optional === true || installed[path]?.version === version,
  )
  if (isInstalled) return
  console.log('docs: npm ci in site/')
  const [command, ...prefix] = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm']
  await run(command, [...prefix, 'ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: at('site') })
}

await main(async () => {
  await install()
  writePages(at('site/pages'))
  const vitepress = (...args) =>
    run(process.execPath, ['node_modules/vitepress/bin/vitepress.js', ...args], { cwd: at('site') })
  await vitepress('build')
  console.log('docs: build/site')
  if (process.argv[2] === 'serve') await vitepress('preview', '--port', '4173')
})
