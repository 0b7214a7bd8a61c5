// npm run release [-- --prepare]: what a release of the version in package.json has beside the packages of `npm run package`, in
// build/package: SHA256SUMS, sbom.cdx.json, NOTICES.txt and notes.md, the section of CHANGELOG.md. --prepare comes before
// `npm run package`: it turns "Unreleased" of CHANGELOG.md into that section, commits and tags. Publishes nothing.
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import manifest from '../package.json' with { type: 'json' }
import { at } from './lib/paths.mjs'
import { main, run, ScriptError } from './lib/run.mjs'
import { sbomOf } from './package/sbom.mjs'
import { sourceDate } from './package/tree.mjs'

const DIRECTORY = at('build/package')
const CHANGELOG = at('CHANGELOG.md')
const UNRELEASED = '## Unreleased\n'
const { version } = manifest

/** Names of packages of this version: executables, Debian packages, RPMs and images. */
const isPackage = (name) =>
  [`-${version}-linux-`, `_${version}_`, `-${version}.`, `-${version}-oci-`].some((part) => name.includes(part))

/** The section of a version in the changelog. Throws ScriptError without one. */
function notesOf(changelog) {
  const start = changelog.search(new RegExp(`^## ${version.replaceAll('.', '\\.')}\\b`, 'm'))
  if (start < 0) throw new ScriptError(`CHANGELOG.md has no section "## ${version}": npm run release -- --prepare`)
  const rest = changelog.slice(changelog.indexOf('\n', start) + 1)
  const end = rest.search(/^## /m)
  return rest.slice(0, end < 0 ? undefined : end).trim()
}

/** Seconds since the epoch in the first header of a Debian package, an archive of ar(5): the time of its commit. */
const timeOf = (deb) => Number(readFileSync(deb).subarray(24, 36).toString('latin1'))

/** Throws ScriptError if a package was built from another commit. All are built by one command, and each Debian package has the time. */
async function requireRecent(packages) {
  const time = await sourceDate()
  const old = packages.find((name) => name.endsWith('.deb') && timeOf(join(DIRECTORY, name)) !== time)
  if (old !== undefined) throw new ScriptError(`${old} was built from another commit: npm run package`)
}

async function requireClean() {
  const { stdout: changed } = await run('git', ['status', '--porcelain'])
  if (changed !== '') throw new ScriptError(`a release is made from a commit, but there are changes:\n${changed}`)
}

/** Names the section of the changelog, commits it, and tags the commit with the notes. */
async function prepare() {
  await requireClean()
  const text = readFileSync(CHANGELOG, 'utf8')
  if (!text.includes(UNRELEASED)) throw new ScriptError('CHANGELOG.md has no section "## Unreleased"')
  const day = new Date().toISOString().slice(0, 10)
  const named = text.replace(UNRELEASED, `${UNRELEASED}\n## ${version} (${day})\n`)
  const notes = notesOf(named)
  if (notes === '') throw new ScriptError('the section "## Unreleased" of CHANGELOG.md is empty')
  writeFileSync(CHANGELOG, named)
  await run('git', ['commit', '--quiet', '--message', `release: ${version}`, CHANGELOG])
  await run('git', ['tag', '--annotate', '--cleanup=verbatim', `v${version}`, '--message', `${notes}\n`])
  console.log(`release: tag v${version}; next: npm run package, npm run release, git push --follow-tags`)
}

async function release() {
  const notes = notesOf(readFileSync(CHANGELOG, 'utf8'))
  await requireClean()
  const packages = existsSync(DIRECTORY) ? readdirSync(DIRECTORY).filter(isPackage) : []
  if (packages.length === 0) throw new ScriptError('there are no packages of this version: npm run package')
  await requireRecent(packages)
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
  console.log(`release: ${DIRECTORY}: ${sums.map(([name]) => name).join(', ')}`)
}

await main(async () => {
  const { values } = parseArgs({ options: { prepare: { type: 'boolean', default: false } } })
  await (values.prepare ? prepare() : release())
})
