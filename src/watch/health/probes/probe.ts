// The daemon's prober: runs a check of any type.

import type { HealthCheck } from '../../../model/health.ts'
import type { Probe, Subject } from '../loop.ts'
import { type Result, unknown } from '../standing.ts'
import { probeDns } from './dns.ts'
import { probeExec } from './exec.ts'
import { probeGrpc } from './grpc.ts'
import { probeHttp } from './http.ts'
import { plain } from './settle.ts'
import { probeTcp } from './tcp.ts'
import { Trust } from './trust.ts'
import { probeUdp } from './udp.ts'

function start(check: HealthCheck, subject: Subject, trust: Trust, done: (result: Result) => void): () => void {
  switch (check.type) {
    case 'tcp':
      return probeTcp(check, done)
    case 'http':
    case 'https':
      return probeHttp(check, trust, done)
    case 'grpc':
    case 'grpcs':
      return probeGrpc(check, trust, done)
    case 'dns':
      return probeDns(check, done)
    case 'udp':
      return probeUdp(check, done)
    case 'exec':
      return probeExec(check, subject, done)
  }
}

/** `now`: milliseconds of a monotonic clock. */
export function makeProbe(now: () => number): Probe {
  const trust = new Trust(now)
  return (check, subject, done) => {
    try {
      return start(check, subject, trust, done)
    } catch (error) {
      // No exception may end the daemon, such as one for an invalid header or an unreadable trust store.
      done(unknown(plain(error instanceof Error ? error.message : String(error))))
      return () => undefined
    }
  }
}
