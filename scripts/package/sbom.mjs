// The contents of the executable, as a CycloneDX document (https://cyclonedx.org): Node and the bundled packages.
import { NODE_VERSION } from './node.mjs'

/** Name, version and licence at the head of each part of dist/NOTICES.txt. */
export const bundledPackages = (notices) =>
  [...notices.matchAll(/^(@?[\w./-]+) (\d\S*) \(([^)\n]+)\)$/gm)].map(([, name, version, license]) => ({
    name,
    version,
    license,
  }))

const purl = ({ name, version }) => `pkg:npm/${name.replace('@', '%40')}@${version}`

/**
 * @param seconds time of the build since the epoch
 * @param files name and SHA-256 of each file of the release
 */
export function sbomOf({ name, version, license }, notices, seconds, files) {
  const packages = bundledPackages(notices)
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      timestamp: new Date(seconds * 1000).toISOString(),
      component: {
        type: 'application',
        'bom-ref': `${name}@${version}`,
        name,
        version,
        licenses: [{ license: { id: license } }],
        components: files.map(([file, sha256]) => ({
          type: 'file',
          name: file,
          hashes: [{ alg: 'SHA-256', content: sha256 }],
        })),
      },
    },
    components: [
      {
        type: 'platform',
        'bom-ref': `node@${NODE_VERSION}`,
        name: 'node',
        version: NODE_VERSION,
        licenses: [{ license: { id: 'MIT' } }],
        purl: `pkg:generic/node@${NODE_VERSION}`,
      },
      ...packages.map((one) => ({
        type: 'library',
        'bom-ref': purl(one),
        name: one.name,
        version: one.version,
        licenses: [{ license: { id: one.license } }],
        purl: purl(one),
      })),
    ],
    dependencies: [{ ref: `${name}@${version}`, dependsOn: [`node@${NODE_VERSION}`, ...packages.map(purl)] }],
  }
}
