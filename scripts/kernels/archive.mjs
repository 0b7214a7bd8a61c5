// Debian's package archive: searched and downloaded from with lists of its own under build/kernels/apt, so that the packages,
// suites and architectures of this machine stay as they are. Nothing is installed.
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { at } from '../lib/paths.mjs'
import { attempt } from '../lib/run.mjs'

/** A missing tool or package on this machine: a reason to skip, not to fail. */
export class Unavailable extends Error {}

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
const MIRROR = 'http://deb.debian.org/debian'

/** Suites with a suite of security updates beside them. */
const RELEASED = ['bullseye', 'bookworm', 'trixie']

/** Milliseconds for which lists are taken for current. */
const FRESH = 24 * 3600 * 1000

/** The mirror that this machine uses, if it is a Debian. */
async function mirror() {
  const { stdout } = await attempt('apt-get', ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages'])
  return (
    stdout
      .split('\n')
      .find((uri) => /\/debian\/?$/.test(uri))
      ?.replace(/\/$/, '') ?? MIRROR
  )
}

/** One suite of the archive, for an architecture in Debian's words: `amd64`, `arm64`. */
export class Archive {
  #directory
  #suite
  #architecture

  constructor(suite, architecture) {
    this.#suite = suite
    this.#architecture = architecture
    this.#directory = at('build/kernels/apt', `${suite}-${architecture}`)
  }

  #apt(tool, args, options = {}) {
    const env = { ...process.env, APT_CONFIG: join(this.#directory, 'apt.conf') }
    return attempt(tool, args, { ...options, env })
  }

  async #configure() {
    const directory = this.#directory
    for (const path of ['state/lists/partial', 'cache/archives/partial', 'etc']) {
      mkdirSync(join(directory, path), { recursive: true })
    }
    const from = await mirror()
    const suites = [[from, this.#suite]]
    if (RELEASED.includes(this.#suite)) suites.push([`${from}-security`, `${this.#suite}-security`])
    const sources = suites.map(([uri, suite]) => `deb [signed-by=${KEYRING}] ${uri} ${suite} main\n`)
    writeFileSync(join(directory, 'etc/sources.list'), sources.join(''))
    writeFileSync(join(directory, 'state/status'), '')
    const settings = {
      'Dir::State': 'state',
      'Dir::State::status': 'state/status',
      'Dir::Cache': 'cache',
      'Dir::Etc': 'etc',
      'Dir::Etc::sourcelist': 'etc/sources.list',
    }
    const lines = Object.entries(settings).map(([key, path]) => `${key} "${join(directory, path)}";\n`)
    const others = `APT::Architecture "${this.#architecture}"; APT::Architectures { "${this.#architecture}"; };
Acquire::Languages "none"; APT::Sandbox::User "root"; Acquire::Check-Valid-Until "false";
`
    writeFileSync(join(directory, 'apt.conf'), lines.join('') + others)
  }

  /** Downloads the lists of the suite unless they are a day old at most. Throws Unavailable. */
  async update() {
    const stamp = join(this.#directory, 'updated')
    if (existsSync(stamp) && Date.now() - statSync(stamp).mtimeMs < FRESH) return
    if (!existsSync(KEYRING)) throw new Unavailable(`${KEYRING} is missing (package debian-archive-keyring)`)
    await this.#configure()
    const { status, output } = await this.#apt('apt-get', ['-qq', 'update'])
    if (status !== 0) throw new Unavailable(`the lists of Debian's ${this.#suite}: ${output.trim().split('\n')[0]}`)
    writeFileSync(stamp, '')
  }

  /** The names of packages that match a regular expression. */
  async names(pattern) {
    const { stdout } = await this.#apt('apt-cache', ['search', '--names-only', pattern])
    return stdout.split('\n').flatMap((line) => line.split(' ')[0] || [])
  }

  /** Packages, with all that they depend on. */
  async withDependencies(names) {
    const no = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map((word) => `--no-${word}`)
    const { stdout } = await this.#apt('apt-cache', ['depends', '--recurse', ...no, ...names])
    return [...new Set(stdout.split('\n').filter((line) => /^[a-z0-9]/.test(line)))]
  }

  /** Downloads packages into a directory and returns the paths of their files. Throws Unavailable. */
  async download(names, directory) {
    mkdirSync(directory, { recursive: true })
    const { status, output } = await this.#apt('apt-get', ['-qq', 'download', ...names], { cwd: directory })
    if (status !== 0) throw new Unavailable(`downloading ${names.join(' ')} failed: ${output.trim()}`)
    return readdirSync(directory).flatMap((file) => (file.endsWith('.deb') ? [join(directory, file)] : []))
  }
}

/** Unpacks the members of a package that match patterns of tar into a directory. Throws Unavailable. */
export async function unpack(file, directory, members) {
  // A pattern that matches nothing is no error: packages differ in the paths of the same files.
  const script =
    'dpkg-deb --fsys-tarfile "$0" | tar -x --wildcards "$@" 2>&1 | grep -v "Not found in archive\\|Exiting with failure" >&2; true'
  const { status, stderr } = await attempt('sh', ['-c', script, file, ...members], { cwd: directory })
  if (status !== 0 || stderr.trim() !== '') throw new Unavailable(`unpacking ${file} failed: ${stderr.trim()}`)
}
