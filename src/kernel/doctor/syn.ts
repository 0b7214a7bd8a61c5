// Checks the settings of TCP that the protection of ports from SYN floods depends on. Part of the report only if the config
// has one.

import type { TcpSettings } from '../../model/live.ts'
import type { State } from '../../model/state.ts'
import type { Check } from '../../report/result.ts'
import { readTcpSettings } from '../host/tcp-settings.ts'
import { bad, ok, warn } from './check.ts'

export const checkSyn = async ({ policy }: Pick<State, 'policy'>): Promise<Check[]> =>
  policy?.syn_protection ? checkTcp(readTcpSettings()) : []

export function checkTcp({ cookies, timestamps, loose }: Omit<TcpSettings, 'receiveMax'>): Check[] {
  const [ofCookies, ofOptions, ofTracking] = [
    ...['syn_protection.cookies', 'syn_protection.options', 'syn_protection.tracking'],
  ] as [string, string, string]
  if (cookies === undefined)
    return [bad(ofCookies, 'this kernel was built without SYN cookies', 'remove syn_protection')]
  const set = 'sysctl -w net.ipv4.tcp_syncookies=2'
  return [
    cookies === 0
      ? warn(ofCookies, 'net.ipv4.tcp_syncookies is 0, so no SYN is answered', set)
      : cookies === 1
        ? warn(
            ofCookies,
            'net.ipv4.tcp_syncookies is 1, so SYNs are answered only while the queue of a socket is full',
            set,
          )
        : ok(ofCookies, 'the kernel makes SYN cookies whenever it is asked'),
    timestamps === 2
      ? ok(ofOptions, 'connections by cookie keep window scaling, SACK and ECN')
      : warn(
          ofOptions,
          `net.ipv4.tcp_timestamps is ${timestamps}, so connections by cookie have neither window scaling nor SACK nor ECN`,
          'sysctl -w net.ipv4.tcp_timestamps=2',
        ),
    ...(loose === undefined
      ? []
      : [
          loose === 0
            ? warn(
                ofTracking,
                'net.netfilter.nf_conntrack_tcp_loose is 0, so a firewall that tracks connections takes those by cookie for invalid',
                'sysctl -w net.netfilter.nf_conntrack_tcp_loose=1',
              )
            : ok(ofTracking, 'connection tracking takes up connections by cookie at their acknowledgment'),
        ]),
  ]
}
