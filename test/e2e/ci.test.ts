// examples/ci: the steps of the workflow on a host, with a repository. A pull request plans, and its merge applies that.

import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { EXIT } from '../../src/diagnostics.ts'
import { capture, ETH0, Lab, type Output } from '../support/hosts.ts'

const TEXT = readFileSync(fileURLToPath(new URL('../../examples/ci/xdp.yml', import.meta.url)), 'utf8')

interface Workflow {
  readonly env: Readonly<Record<string, string>>
  readonly defaults: { readonly run: { readonly shell: string } }
  readonly jobs: Readonly<Record<string, { readonly steps: readonly { readonly run?: string }[] }>>
}

const workflow = parse(TEXT) as Workflow

let lab: Lab
let repository: string

const git = (...args: readonly string[]): string =>
  execFileSync('git', ['-c', 'user.name=x', '-c', 'user.email=x@example.org', ...args], {
    cwd: repository,
    encoding: 'utf8',
  })

/** Commits a policy on the branch that is checked out. */
function commit(...blocked: readonly string[]): void {
  lab.write(
    'repository/xdp/xdp.yaml',
    'version: 1\ninterfaces: { eth0: {} }\nblocklist: [{ name: bad, file: lists/bad.txt }]\n',
  )
  lab.write('repository/xdp/lists/bad.txt', `${blocked.join('\n')}\n`)
  git('add', '-A')
  git('commit', '-qm', 'policy')
}

const path = (name: string): string => join(lab.directory, name)

/** Runs the steps of a job as the runner does: `bash -eo pipefail`, up to the first that fails. */
async function job(name: string): Promise<Output> {
  const env = {
    ...process.env,
    PATH: `${path('bin')}:${process.env['PATH']}`,
    GITHUB_STEP_SUMMARY: path('summary.md'),
    PLANS: path('plans'),
    CONFIG: path('etc'),
  }
  let output: Output = { exitCode: 0, stdout: '', stderr: '' }
  for (const { run } of workflow.jobs[name]?.steps ?? []) {
    if (run === undefined) continue
    output = await capture('bash', ['--noprofile', '--norc', '-eo', 'pipefail', '-c', run], { cwd: repository, env })
    if (output.exitCode !== 0) return output
  }
  return output
}

beforeAll(() => {
  lab = new Lab([ETH0])
  repository = path('repository')
  mkdirSync(repository)
  execFileSync('git', ['init', '-q', '-b', 'main'], { cwd: repository })
  chmodSync(lab.write('bin/sudo', '#!/bin/sh\nexec "$@"\n'), 0o755)
  chmodSync(lab.write('bin/xdp', `#!/bin/sh\nexec ${lab.argv().join(' ')} "$@"\n`), 0o755)
})
afterAll(() => lab.close())

test('names the variables that the test replaces, and a shell that stops at a failure in a pipe', () => {
  expect(Object.keys(workflow.env)).toEqual(['PLANS', 'CONFIG'])
  expect(workflow.defaults.run.shell).toBe('bash')
})

test('a merge applies the plan of its pull request, and nothing else', async () => {
  commit('192.0.2.2')
  git('switch', '-qc', 'edit')
  commit('192.0.2.2', '192.0.2.3')
  const previewed = await job('preview')
  expect(previewed).toMatchObject({ exitCode: 0, stderr: expect.not.stringContaining('error') })
  expect(readFileSync(path('summary.md'), 'utf8')).toMatch(/~ blocklist bad[\s\S]*against the config \.\.\/before/)
  const planned = await job('plan')
  expect(planned).toMatchObject({ exitCode: 0, stderr: '' })
  expect(readFileSync(path('summary.md'), 'utf8')).toMatch(/\+ blocklist bad[\s\S]*Saved to/)
  expect(lab.pins()).toEqual([])

  // A merge of other content finds no plan.
  git('switch', '-q', 'main')
  const unreviewed = await job('apply')
  expect(unreviewed.exitCode).toBe(EXIT.noInput)
  expect(lab.pins()).toEqual([])
  expect(existsSync(path('etc'))).toBe(false)

  git('merge', '-q', '--no-ff', '--no-edit', 'edit')
  expect(await job('apply')).toMatchObject({ exitCode: 0, stderr: '' })
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(0)
  expect(await lab.ok('plan', '-f', 'etc/xdp.yaml', '--detailed-exitcode')).toContain('No changes.')
})

test('a plan that another apply has made stale is refused, and the files stay as they are', async () => {
  git('switch', '-qc', 'second')
  commit('192.0.2.2')
  expect(await job('plan')).toMatchObject({ exitCode: 0 })
  lab.write('by-hand.yaml', 'version: 1\ninterfaces: { eth0: {} }\nblocklist: [203.0.113.9]\n')
  await lab.ok('apply', '-f', 'by-hand.yaml', '--auto-approve')
  const before = readFileSync(path('etc/lists/bad.txt'), 'utf8')
  const { exitCode, stderr } = await job('apply')
  expect(exitCode).toBe(EXIT.refused)
  expect(stderr).toContain('generation 2 is live, was 1')
  expect(readFileSync(path('etc/lists/bad.txt'), 'utf8')).toBe(before)
})
