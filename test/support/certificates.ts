// Certificates of a test's own authorities, made by openssl in a temporary directory.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Pair {
  readonly cert: Buffer
  readonly key: Buffer
}

const openssl = (...args: readonly string[]): void => void execFileSync('openssl', [...args], { stdio: 'pipe' })

export class Certificates {
  readonly #directory = mkdtempSync(join(tmpdir(), 'xdp-certificates-'))

  file(name: string): string {
    return join(this.#directory, name)
  }

  #key(name: string): readonly string[] {
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    return [...curve, '-keyout', this.file(`${name}.key`)]
  }

  authority(name: string): void {
    const subject = ['-subj', `/CN=${name}`, '-days', '2']
    openssl('req', '-x509', ...this.#key(name), '-out', this.file(`${name}.crt`), ...subject)
  }

  /** Makes NAME.crt and NAME.key, for alternative names such as `DNS:web.example,IP:127.0.0.1`. */
  certificate(name: string, by: string, alternatives: string): void {
    const [request, extensions] = [this.file(`${name}.csr`), this.file(`${name}.ext`)]
    openssl('req', ...this.#key(name), '-out', request, '-subj', `/CN=${name}`)
    writeFileSync(extensions, `subjectAltName=${alternatives}\n`)
    const issuer = ['-CA', this.file(`${by}.crt`), '-CAkey', this.file(`${by}.key`), '-CAcreateserial', '-days', '2']
    openssl('x509', '-req', '-in', request, '-out', this.file(`${name}.crt`), ...issuer, '-extfile', extensions)
  }

  selfSigned(name: string, alternatives: string): void {
    const names = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${alternatives}`, '-days', '2']
    openssl('req', '-x509', ...this.#key(name), '-out', this.file(`${name}.crt`), ...names)
  }

  /** A certificate of the year 2020. `openssl x509` has no dates of the past; `openssl ca` has. */
  expired(name: string, by: string, alternatives: string): void {
    const [request, config] = [this.file(`${name}.csr`), this.file('ca.cnf')]
    const names = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${alternatives}`]
    openssl('req', ...this.#key(name), '-out', request, ...names)
    writeFileSync(this.file('index'), '')
    writeFileSync(this.file('serial'), '01\n')
    writeFileSync(
      config,
      [
        ...['[ca]', 'default_ca=one', '[one]', `database=${this.file('index')}`, `serial=${this.file('serial')}`],
        ...[`new_certs_dir=${this.#directory}`, 'default_md=sha256', 'policy=any', 'copy_extensions=copy'],
        ...['[any]', 'commonName=supplied', ''],
      ].join('\n'),
    )
    const signer = ['-cert', this.file(`${by}.crt`), '-keyfile', this.file(`${by}.key`)]
    const dates = ['-startdate', '20200101000000Z', '-enddate', '20200102000000Z']
    const files = ['-in', request, '-out', this.file(`${name}.crt`)]
    openssl('ca', '-batch', '-notext', '-config', config, ...signer, ...dates, ...files)
  }

  pair(name: string): Pair {
    return { cert: readFileSync(this.file(`${name}.crt`)), key: readFileSync(this.file(`${name}.key`)) }
  }

  close(): void {
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
