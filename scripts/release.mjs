// npm run release: what a release of the version in package.json has beside the packages of `npm run package`, in
// build/package: SHA256SUMS, sbom.cdx.json, NOTICES.txt and notes.md, the section of CHANGELOG.md. Publishes nothing.
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import manifest from '../package.json' with { type: 'json' }
import { at } from './lib/paths.mjs'
import { main, run, ScriptError } from './lib/run.mjs'
import { sbomOf } from './package/sbom.mjs'
import { sourceDate } from './package/tree.mjs'

const DIRECTORY = at('build/package')
const { version } = manifest

/** The section of a version in the changelog. Throws ScriptError without one. */
function notesOf(changelog) {
  const start = changelog.search(new RegExp(`^## ${version.replaceAll('.', '\\.')}\\b`, 'm'))
  if (start < 0) throw new ScriptError(`CHANGELOG.md has no section "## ${version}": rename "## Unreleased"`)
  const rest = changelog.slice(changelog.indexOf('\n', start) + 1)
  const end = rest.search(/^## /m)
  return rest.slice(0, end < 0 ? undefined : end).trim()
}

await main(async () => {
  const notes = notesOf(readFileSync(at('CHANGELOG.md'), 'utf8'))
  const { stdout: changed } = await run('git', ['status', '--porcelain'])
  if (changed !== '') throw new ScriptError(`a release is made from a commit, but there are changes:\n${changed}`)
  const packages = existsSync(DIRECTORY)
    ? readdirSync(DIRECTORY).filter((name) => name.includes(`${version}-linux-`) || name.includes(`_${version}_`))
    : []
  if (packages.length === 0) throw new ScriptError('there are no packages of this version: npm run package')
  const sums = packages.sort().map((name) => [
    name,
    createHash('sha256')
      .update(readFileSync(join(DIRECTORY, name)))
      .digest('hex'),
  ])
  const notices = readFileSync(at('dist/NOTICES.txt'), 'utf8')
  const write = (name, text) => writeFileSync(join(DIRECTORY, name), text)
  write('SHA256SUMS', sums.map(([name, sum]) => `${sum}  ${name}\n`).join(''))
  write('sbom.cdx.json', `${JSON.stringify(sbomOf(manifest, notices, await sourceDate(), sums), null, 2)}\n`)
  write('notes.md', `${notes}\n`)
  copyFileSync(at('dist/NOTICES.txt'), join(DIRECTORY, 'NOTICES.txt'))
  console.log(`release: ${DIRECTORY}\nrelease: git tag --sign v${version} --file ${join(DIRECTORY, 'notes.md')}`)
})
