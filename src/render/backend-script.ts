// The shell script that checks a machine as a backend of one service (`xdp doctor --backend-script`). It needs a POSIX
// shell, ip, awk and grep, changes nothing, and prints its findings like doctor.

import { FORWARDING_MODES } from '../features/forwarding/forwarding.ts'
import { backendKey, isAnyPort, onlyPort, type Service } from '../model/service.ts'
import { formatAddress } from '../model/text.ts'

/** A word of shell. Addresses, names and numbers contain no quote. */
const quoted = (word: string | number): string => `'${word}'`

/** `10.0.0.11,80`; the port is `-` if the service has several. */
function placesOf({ backends, ports }: Service): string {
  return backends
    .map(
      ({ address: { family, words }, port }) => `${formatAddress(family, words)},${port ?? onlyPort({ ports }) ?? '-'}`,
    )
    .join(' ')
}

/** Ports that are named one by one; ranges are left out. */
const portsOf = (service: Service): string =>
  isAnyPort(service) ? '' : service.ports.flatMap(({ first, last }) => (first === last ? [first] : [])).join(' ')

/** The facts of the service, as assignments. */
function facts(service: Service): string {
  const { vip, forwarding, snatPool, protocols, guePort } = service
  const kind = FORWARDING_MODES[forwarding].translatesReplies && snatPool.length > 0 ? 'full-nat' : forwarding
  const values: Readonly<Record<string, string | number>> = {
    SERVICE: service.name,
    FORWARDING: kind,
    VIP: formatAddress(vip.family, vip.words),
    FAMILY: vip.family,
    BITS: vip.family === 4 ? 32 : 128,
    PORTS: portsOf(service),
    PROTOCOLS: protocols.join(' '),
    GUE_PORT: guePort,
    BACKENDS: placesOf(service),
  }
  return Object.entries(values)
    .map(([name, value]) => `${name}=${quoted(value)}`)
    .join('\n')
}

const BODY = String.raw`
oks=0 warns=0 fails=0

# id, message, fix
ok() { oks=$((oks + 1)); printf 'ok    %-20s  %s\n' "$1" "$2"; }
warn() { warns=$((warns + 1)); printf 'warn  %-20s  %s\n      fix: %s\n' "$1" "$2" "$3"; }
bad() { fails=$((fails + 1)); printf 'fail  %-20s  %s\n      fix: %s\n' "$1" "$2" "$3"; }
# A packet of DSR comes from the balancer's own network, where announcing the VIP takes clients away from it.
bad_for_dsr() { if [ "$FORWARDING" = dsr ]; then bad "$@"; else warn "$@"; fi; }

finish() {
	printf '\n%s ok, %s warn, %s fail\n' "$oks" "$warns" "$fails"
	[ "$fails" -eq 0 ]
	exit
}

# Devices that have exactly this address.
devices_with() {
	case $1 in *:*) bits=128 ;; *) bits=32 ;; esac
	ip -o addr show to "$1/$bits" 2>/dev/null | awk '{ print $2 }'
}

# Names of interfaces that are up, of one kind if there is an argument.
devices_up() { ip -o link show up "$@" 2>/dev/null | awk '{ sub(/[@:].*/, "", $2); print $2 }'; }

# Those that announce addresses to neighbours.
announcing() { ip -o link show up 2>/dev/null | grep -v -e LOOPBACK -e NOARP | awk '{ sub(/[@:].*/, "", $2); print $2 }'; }

read_number() { cat "/proc/sys/net/ipv4/conf/$1/$2" 2>/dev/null || echo 0; }

# A setting of an IPv4 interface, as the kernel takes it: the greater of its own value and that of "all".
effective() {
	own=$(read_number "$1" "$2") all=$(read_number all "$2")
	if [ "$own" -gt "$all" ]; then echo "$own"; else echo "$all"; fi
}

check_backend() {
	here='' port='' device=''
	for place in $BACKENDS; do
		address=${'$'}{place%,*}
		found=$(devices_with "$address" | head -n 1)
		if [ -n "$found" ]; then here="$here $address" port=${'$'}{place#*,} device=$found; fi
	done
	if [ -n "$here" ]; then
		ok backend.address "this machine is the backend$here"
	else
		warn backend.address "this machine has no address of a backend of $SERVICE" 'run this script on a backend'
	fi
}

check_vip() {
	holders=$(devices_with "$VIP")
	if [ -z "$holders" ]; then
		bad backend.vip "this machine does not have the VIP $VIP, so it drops the packets of $SERVICE" \
			"ip addr add $VIP/$BITS dev lo"
		return
	fi
	for holder in $holders; do
		if announcing | grep -qx -e "$holder"; then
			bad_for_dsr backend.vip "the VIP $VIP is on $holder, which announces it to neighbours" \
				"ip addr add $VIP/$BITS dev lo, and remove it from $holder"
			return
		fi
	done
	ok backend.vip "the VIP $VIP is on $(echo $holders), which does not announce it"
}

# Linux answers an ARP request on any interface for any of its addresses, unless told otherwise. IPv6 does not.
check_arp() {
	[ "$FAMILY" = 4 ] || return 0
	for setting in arp_ignore:1 arp_announce:2; do
		name=${'$'}{setting%:*} least=${'$'}{setting#*:} low=''
		for one in $(announcing); do
			[ "$(effective "$one" "$name")" -lt "$least" ] && low="$low $one"
		done
		if [ -z "$low" ]; then
			ok "backend.$name" "$name is at least $least"
		elif [ "$name" = arp_ignore ]; then
			bad_for_dsr backend.arp_ignore "$(echo $low): this machine answers ARP requests for the VIP" \
				'sysctl -w net.ipv4.conf.all.arp_ignore=1'
		else
			bad_for_dsr backend.arp_announce "$(echo $low): this machine names the VIP as the sender of ARP requests" \
				'sysctl -w net.ipv4.conf.all.arp_announce=2'
		fi
	done
}

# Where an XDP program runs, it may decapsulate.
has_xdp() { ip -o link show up 2>/dev/null | grep -q ' mtu [0-9]* xdp'; }

lacks_decapsulation() {
	if has_xdp; then
		warn "$1" "$2; an XDP program on this machine may do it" "$3"
	else
		bad "$1" "$2" "$3"
	fi
}

# Families of the outer header: those of this machine's addresses among the backends, else of all backends.
outer_families() {
	for address in ${'$'}{here:-$BACKENDS}; do
		case $address in *:*) echo 6 ;; *) echo 4 ;; esac
	done | sort -u
}

check_tunnel() {
	tunnels=''
	for outer in $(outer_families); do
		case $FAMILY$outer in
		44) kind=ipip fix='ip link add name tun0 type ipip external && ip link set tun0 up' ;;
		64) kind=sit fix='modprobe sit && ip link set sit0 up' ;;
		*) kind=ip6tnl fix='ip link add name tun6 type ip6tnl external && ip link set tun6 up' ;;
		esac
		found=$(devices_up type "$kind")
		if [ -n "$found" ]; then
			ok backend.tunnel "$(echo $found) removes outer headers of IPv$outer"
			tunnels="$tunnels $found"
		else
			lacks_decapsulation backend.tunnel "no device of type $kind is up, which removes outer headers of IPv$outer" \
				"$fix"
		fi
		[ "$FORWARDING" = gue ] || continue
		if ip "-$outer" fou show 2>/dev/null | grep -q "port $GUE_PORT "; then
			ok backend.gue "UDP port $GUE_PORT decapsulates on IPv$outer"
		else
			module=fou flag=''
			[ "$outer" = 6 ] && module=fou6 flag='-6 '
			lacks_decapsulation backend.gue "UDP port $GUE_PORT does not decapsulate on IPv$outer" \
				"modprobe $module && ip ${'$'}{flag}fou add port $GUE_PORT gue"
		fi
	done
}

# The word behind "dev" or "via" in the default route of a family.
default_route() {
	ip "-$1" -o route show default 2>/dev/null | sed -n "s/.* $2 \([^ ]*\).*/\1/p" | head -n 1
}

# A strict rp_filter drops packets of clients that arrive elsewhere than the route to the client leads.
check_rp_filter() {
	[ "$FAMILY" = 4 ] || return 0
	route=$(default_route 4 dev)
	strict=''
	for one in $tunnels $device; do
		[ "$one" = "$route" ] && continue
		[ "$(effective "$one" rp_filter)" = 1 ] && strict="$strict $one"
	done
	if [ -z "$strict" ]; then
		ok backend.rp_filter 'rp_filter lets the packets of clients pass'
		return
	fi
	fix='sysctl -w net.ipv4.conf.all.rp_filter=0'
	for one in $strict; do fix="$fix net.ipv4.conf.$one.rp_filter=0"; done
	bad backend.rp_filter "$(echo $strict): rp_filter is strict, and drops packets of clients" "$fix"
}

check_route() {
	gateway=$(default_route "$FAMILY" via)
	if [ -n "$gateway" ]; then
		ok backend.route "answers to clients leave through $gateway, which must be the balancer"
	else
		warn backend.route 'this machine has no default route, so answers may not pass the balancer' \
			"ip -$FAMILY route replace default via BALANCER"
	fi
}

# protocol, address, port
check_listener() {
	case $1 in tcp) flag=t ;; *) flag=u ;; esac
	if ss -Hln$flag 2>/dev/null | awk '{ print $4 }' | grep -qxF -e "$2:$3" -e "[$2]:$3" -e "*:$3" -e "0.0.0.0:$3" -e "[::]:$3"; then
		ok backend.listener "a server listens on $2, $1 port $3"
	else
		warn backend.listener "no server listens on $2, $1 port $3" 'start it, on this address or on all addresses'
	fi
}

check_listeners() {
	command -v ss >/dev/null 2>&1 || return 0
	for protocol in $PROTOCOLS; do
		case $FORWARDING in
		*nat)
			[ -n "$here" ] && [ "$port" != - ] && check_listener "$protocol" "$(echo $here | awk '{ print $NF }')" "$port"
			;;
		*) for one in $PORTS; do check_listener "$protocol" "$VIP" "$one"; done ;;
		esac
	done
	return 0
}

if ! command -v ip >/dev/null 2>&1; then
	bad backend.tools 'ip is not installed' 'install iproute2'
	finish
fi
tunnels=''
check_backend
case $FORWARDING in
full-nat) ok backend.setup 'backends of full NAT need no setup' ;;
nat) check_route ;;
*)
	check_vip
	check_arp
	[ "$FORWARDING" = dsr ] || check_tunnel
	check_rp_filter
	;;
esac
check_listeners
finish
`

/** The script for a service. */
export function renderBackendScript(service: Service): string {
  const keys = service.backends.map(backendKey).join(', ')
  const head = [
    '#!/bin/sh',
    `# Checks this machine as a backend of service ${service.name} (${keys}).`,
    '# Made by `xdp doctor --backend-script`. It needs ip of iproute2, changes nothing, and exits 1 if a check fails.',
    'set -u',
    'export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"',
  ]
  return `${head.join('\n')}\n\n${facts(service)}\n${BODY}`
}
