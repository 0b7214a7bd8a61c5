// The daemon's prober: runs a check of any type.

import type { HealthCheck } from '../../../model/health.ts'
import type { Probe, Subject } from '../loop.ts'
import { type Result, unknown } from '../standing.ts'
import { probeDns } from './dns.ts'
import { probeExec } from './exec.ts'
import { probeGrpc } from './grpc.ts'
import { probeHttp } from './http.ts'
import { plain } from './settle.ts'
import type { Source } from './source.ts'
import { probeTcp } from './tcp.ts'
import { Trust } from './trust.ts'
import { probeUdp } from './udp.ts'

function start(
  check: HealthCheck,
  subject: Subject,
  trust: Trust,
  done: (result: Result) => void,
  source: Source | undefined,
): () => void {
  switch (check.type) {
    case 'tcp':
      return probeTcp(check, done, source)
    case 'http':
    case 'https':
      return probeHttp(check, trust, done, source)
    case 'grpc':
    case 'grpcs':
      return probeGrpc(check, trust, done, source)
    case 'dns':
      return probeDns(check, done, source)
    case 'udp':
      return probeUdp(check, done, source)
    case 'exec':
      return probeExec(check, subject, done)
  }
}

/** A probe that can be made to come from one address and port; not for exec checks. */
export type Prober = (...words: [...Parameters<Probe>, source?: Source]) => () => void

/** `now`: milliseconds of a monotonic clock. */
export function makeProbe(now: () => number): Prober {
  const trust = new Trust(now)
  return (check, subject, done, source) => {
    try {
      return start(check, subject, trust, done, source)
    } catch (error) {
      // No exception may end the daemon, such as one for an invalid header or an unreadable trust store.
      done(unknown(plain(error instanceof Error ? error.message : String(error))))
      return () => undefined
    }
  }
}
