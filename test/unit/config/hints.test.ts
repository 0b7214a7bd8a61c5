// Every error of a config says how to mend it.

import { expect, test } from 'vitest'
import type { Diagnostic } from '../../../src/diagnostics.ts'
import { errorsOf, HEAD, writeFiles } from '../../support/config.ts'

const firstOf = async (text: string): Promise<Diagnostic | undefined> =>
  (await errorsOf(`${writeFiles({ 'xdp.yaml': HEAD + text })}/xdp.yaml`))[0]

const limit = (keys: string): string => `rate_limits: [{ name: a, packets_per_second: 9, ${keys} }]\n`
const rate = (keys: string): string => `rate_limits: [{ name: a, ${keys} }]\n`

test.each([
  [rate('bits_per_second: 0.5k'), 'E133', 'write at least 1k; units are decimal, and a byte has 8 bits'],
  [rate('bits_per_second: 11T'), 'E133', 'write at most 10T'],
  [rate('bits_per_second: 1.0001k'), 'E133', 'for example 64k, 500M or 1.5G'],
  [rate('bits_per_second: 1M, burst_bits: 12111'), 'E133', /^write at least 12112, or leave the key out/],
  [limit('protocol: tcp, destination_port: "22-"'), 'E028', 'write both ends, for example "22-65535"'],
  [limit('protocol: tcp, destination_port: ssh'), 'E028', 'write its number, which `getent services ssh` shows'],
  [limit('destination: []'), 'E128', 'name at least one, for example `destination: 192.0.2.80`'],
  [limit('dscp: 64'), 'E127', 'for example `dscp: ef`'],
  [limit('dscp: []'), 'E127', 'name at least one, for example `dscp: ef`'],
  [limit('protocol: tcp, tcp_flags: []'), 'E127', 'name at least one, for example `tcp_flags: [syn, "!ack"]`'],
  [limit('prefix: { v4: 33 }'), 'E013', 'for example `v4: 24`'],
  [limit('prefix: {}'), 'E014', 'write a mapping, for example `{ v4: 24, v6: 56 }`, or remove the key'],
  [limit('per: 5'), 'E013', 'write source, destination, service or all'],
  [limit('ban: { for: 10m, after: 0s }'), 'E013', 'for example 3s'],
  [limit('ban: { for: 0s }'), 'E013', 'for example 10m'],
  [limit('ban: {}'), 'E011', 'for example `ban: {for: 10m}`'],
  ['rate_limits: [{ name: "rate_limit:x", packets_per_second: 9 }]\n', 'E030', 'for example `name: dns`'],
  ['geo: {}\n', 'E014', /^write a mapping, for example `\{ country: .*\}`, or remove the key$/],
  ['limits: { rate_buckets: 5 }\n', 'E013', 'for example `rate_buckets: 262144`'],
  ['limits: { bans: 5 }\n', 'E013', 'for example `bans: 1048576`'],
  ['limits: { widest: {} }\n', 'E014', /^write a mapping/],
  ['limits: 5\n', 'E012', /^its keys are prefixes, max_removed/],
  ['bans: { persist: /etc/passwd }\n', 'E012', 'for example true or /var/lib/xdp/bans/edge.jsonl'],
  ['syn_protection: {}\n', 'E011', 'for example `ports: [443, "8000-8099"]`'],
  ['syn_protection: { ports: [443], threshold: 0 }\n', 'E013', 'for example `threshold: 2000`'],
  [limit('exclude_private: 7, file: x.txt'), 'E013', 'write true or false, without quotes'],
])('%s', async (text, code, hint) => {
  expect(await firstOf(text)).toMatchObject({
    code,
    hint: typeof hint === 'string' ? hint : expect.stringMatching(hint),
  })
})

test.each([
  [limit('established: pass'), '"established" is a key of policy and an entry of a list: write it in one of them'],
  [
    limit('protocol: tcp, source_port: [1, 3, 5, 7, 9, 11, 13, 15, 17], destination_port: [1, 3, 5, 7, 9, 11, 13, 15]'),
    'name fewer port ranges, or write several limits',
  ],
  [
    limit(`protocol: icmp, icmp_type: [0, 3, 4, 5, 8, 9, 10, 11], dscp: [0, 1, 2, 3, 4, 5, 6, 7, 8]`),
    'name fewer ICMP types or code points, or write several limits',
  ],
])('a hint is about keys that are written: %s', async (text, hint) => {
  expect((await firstOf(text))?.hint).toBe(hint)
})

test.each([
  [limit('dscp: 64'), 'dscp must be a code point by name, or a number from 0 to 63, or a list of them, not 64'],
  [limit('protocol: tcp, tcp_flags: []'), /^tcp_flags must be flags of TCP/],
  [
    limit('ban: { for: 10m, after: 0s }'),
    'after must be a time from 1s to 10m: a whole number with its unit s or m, not "0s"',
  ],
  [limit('prefix: {}'), 'prefix is empty'],
])('a message says which key has which bounds: %s', async (text, message) => {
  expect((await firstOf(text))?.message).toMatch(message)
})
