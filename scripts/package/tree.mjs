// The files that a package installs, as a tree in a directory: the same for Debian and for RPM.
import {
  chmodSync,
  copyFileSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { at } from '../lib/paths.mjs'
import { run } from '../lib/run.mjs'
import { nodeFor } from './node.mjs'

export const NAME = 'xdp-as-code'

/** Path of the file that an administrator edits. */
export const CONFIG = 'etc/xdp/xdp.yaml'

const DOC = `usr/share/doc/${NAME}`
const SHARED = `usr/share/${NAME}`
const COMPLETIONS = {
  bash: 'usr/share/bash-completion/completions/xdp',
  zsh: 'usr/share/zsh/vendor-completions/_xdp',
  fish: 'usr/share/fish/vendor_completions.d/xdp.fish',
}

/** gzip without a name and a time, so that the same text gives the same bytes. */
export const packed = (content) => gzipSync(content, { level: 9 })

/** Seconds since the epoch that every file of a package has as its time: SOURCE_DATE_EPOCH, or that of the commit. */
export async function sourceDate() {
  const given = process.env.SOURCE_DATE_EPOCH
  return Number(given ?? (await run('git', ['log', '-1', '--format=%ct'])).stdout)
}

/** Files of a directory, with their paths in it. */
export const walk = (directory, inner = '') =>
  readdirSync(join(directory, inner), { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(inner, entry.name)
      return entry.isDirectory() ? walk(directory, path) : [path]
    })
    .sort()

/** Gives everything in a directory the same time, and modes that do not depend on the umask. */
export function settle(directory, seconds) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) settle(path, seconds)
    else chmodSync(path, statSync(path).mode & 0o100 ? 0o755 : 0o644)
    lutimesSync(path, seconds, seconds)
  }
  chmodSync(directory, 0o755)
  lutimesSync(directory, seconds, seconds)
}

/** A line for editors: where the schema of a config is on this host. */
const withSchema = (text) =>
  text.replace(/^# yaml-language-server: .*\n/, `# yaml-language-server: $schema=/${SHARED}/xdp.schema.json\n`)

/** A unit that runs the executable of the package, whatever program of its name is in /usr/local. */
const withPath = (unit) => unit.replace(/^(Exec\w+=-?)xdp /gm, '$1/usr/bin/xdp ')

/** Writes the tree of an architecture, with the executable at a path. */
export async function writeTree(root, arch, executable) {
  const put = (path, content, mode = 0o644) => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), content, { mode })
  }
  const read = (path) => readFileSync(at(path))
  mkdirSync(join(root, 'usr/bin'), { recursive: true })
  copyFileSync(executable, join(root, 'usr/bin/xdp'))
  chmodSync(join(root, 'usr/bin/xdp'), 0o755)
  put(CONFIG, read('packaging/debian/xdp.yaml'))
  for (const unit of ['xdp.service', 'xdp-watch.service']) {
    put(`usr/lib/systemd/system/${unit}`, withPath(read(`examples/systemd/${unit}`).toString()))
  }
  for (const page of ['xdp.8', 'xdp.yaml.5']) {
    put(`usr/share/man/man${page.at(-1)}/${page}.gz`, packed(read(`dist/man/${page}`)))
  }
  for (const [shell, path] of Object.entries(COMPLETIONS)) {
    put(path, (await run(process.execPath, [at('dist/xdp.js'), 'completion', shell])).stdout)
  }
  put(`${SHARED}/xdp.schema.json`, read('dist/schemas/xdp.schema.json'))
  for (const page of walk(at('docs')).filter((name) => /\.(?:md|svg)$/.test(name))) {
    put(`${DOC}/docs/${page}`, read(`docs/${page}`))
  }
  for (const page of ['README.md', 'CONTRIBUTING.md', 'SECURITY.md']) put(`${DOC}/${page}`, read(page))
  put(`${DOC}/CHANGELOG.md.gz`, packed(read('CHANGELOG.md')))
  put(`${DOC}/NOTICES.txt.gz`, packed(read('dist/NOTICES.txt')))
  put(`${DOC}/NODE-LICENSE.gz`, packed(readFileSync(join(await nodeFor(arch), 'LICENSE'))))
  for (const path of walk(at('examples'))) {
    const content = readFileSync(at('examples', path))
    put(`${DOC}/examples/${path}`, path.endsWith('.yaml') ? withSchema(content.toString()) : content)
  }
  put(`${DOC}/examples/xdp.yaml.example`, withSchema(read('xdp.yaml.example').toString()))
}
