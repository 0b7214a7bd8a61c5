// The Debian package of one architecture. Equal sources give equal bytes.
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import manifest from '../../package.json' with { type: 'json' }
import { at } from '../lib/paths.mjs'
import { run } from '../lib/run.mjs'
import { ARCHITECTURES } from './node.mjs'
import { CONFIG, NAME, packed, settle, sourceDate, walk, writeTree } from './tree.mjs'

const MAINTAINER = 'The authors of xdp-as-code <xdp-as-code@users.noreply.github.com>'
const DEPENDS = [
  ...['libc6 (>= 2.28)', 'libgcc-s1', 'libstdc++6 (>= 5.2)'],
  // Ubuntu has bpftool in packages of the kernel.
  ...['bpftool | linux-tools-common', 'iproute2'],
]
const SCRIPTS = ['postinst', 'prerm', 'postrm']

const control = (arch, version, kibibytes) => `Package: ${NAME}
Version: ${version}
Architecture: ${ARCHITECTURES[arch].deb}
Maintainer: ${MAINTAINER}
Installed-Size: ${kibibytes}
Depends: ${DEPENDS.join(', ')}
Recommends: ethtool
Section: net
Priority: optional
Description: packet filter and load balancer in XDP, from one YAML file
 xdp filters and balances packets in XDP, the earliest and fastest place in the
 kernel. One YAML file describes the policy: plan shows the difference to the
 live kernel, apply makes the change so that every packet meets the old policy
 or the new one, verifies it with test packets, and rolls back on a failure.
 .
 The package needs neither Node nor a compiler. It enables no unit and names no
 interface until /etc/xdp/xdp.yaml does.
`

const changelog = (version, seconds) => `${NAME} (${version}) unstable; urgency=medium

  * CHANGELOG.md.gz in this directory lists the changes of each version.

 -- ${MAINTAINER}  ${new Date(seconds * 1000).toUTCString().replace('GMT', '+0000')}
`

/**
 * Builds the package from an executable, and returns its path.
 *
 * @param quick compresses nothing, for tests
 */
export async function makeDeb(arch, executable, directory, { quick = false, version = manifest.version } = {}) {
  const seconds = await sourceDate()
  const root = mkdtempSync(join(tmpdir(), 'xdp-deb-'))
  try {
    await writeTree(root, arch, executable)
    const doc = join(root, 'usr/share/doc', NAME)
    copyFileSync(at('packaging/debian/copyright'), join(doc, 'copyright'))
    writeFileSync(join(doc, 'changelog.gz'), packed(changelog(version, seconds)))
    const overrides = join(root, 'usr/share/lintian/overrides')
    mkdirSync(overrides, { recursive: true })
    copyFileSync(at('packaging/debian/lintian-overrides'), join(overrides, NAME))
    const files = walk(root)
    const kibibytes = files.reduce((sum, path) => sum + Math.ceil(statSync(join(root, path)).size / 1024), 0)
    const sums = files
      .filter((path) => path !== CONFIG)
      .map(
        (path) =>
          `${createHash('md5')
            .update(readFileSync(join(root, path)))
            .digest('hex')}  ${path}\n`,
      )
    mkdirSync(join(root, 'DEBIAN'))
    const put = (name, text, mode) => writeFileSync(join(root, 'DEBIAN', name), text, { mode })
    put('control', control(arch, version, kibibytes), 0o644)
    put('conffiles', `/${CONFIG}\n`, 0o644)
    put('md5sums', sums.join(''), 0o644)
    for (const name of SCRIPTS) put(name, readFileSync(at('packaging/debian', name)), 0o755)
    settle(root, seconds)
    const target = join(directory, `${NAME}_${version}_${ARCHITECTURES[arch].deb}.deb`)
    // The bytes of xz depend on the number of threads.
    const options = ['--root-owner-group', ...(quick ? ['-Znone'] : ['-Zxz', '--threads-max=1'])]
    await run('dpkg-deb', [...options, '--build', root, target], {
      env: { ...process.env, SOURCE_DATE_EPOCH: String(seconds) },
    })
    return target
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}
