# Runs in the guest behind wires.sh: the command filters and balances in native mode. The host prepends the variable feature:
# what the interfaces are a test of.

# $1 and $2: address and port of a server that answers every connection.
asks() {
	within client sh -c "echo asked | nc -w 10 $1 $2" | tee /tmp/answer | grep -q served || {
		cat /tmp/answer
		within client grep -E '^(Tcp|Ip):' /proc/net/snmp
		/xdp --file /xdp.yaml status
		return 1
	}
}
asks_often() {
	for try in 1 2 3 4 5 6 7 8; do asks "$@" || return 1; done
}
is_native() {
	for link in front back; do
		/bin/ip link show dev $link | grep -q ' xdp ' || { /bin/ip link show dev $link; return 1; }
	done
}
# A field of `xdp status --json` or `xdp stats --json` is a number above zero.
positive() {
	grep -q "\"$2\": *[1-9]" "$1" || { cat "$1"; return 1; }
}

about command
check "the command: its version" prints /tmp/version /xdp --version
for try in 1 2 3 4 5 6 7 8 9 10; do reaches 10.99.0.66 >/dev/null && break; done
check "the command: a ping before" reaches 10.99.0.66
check "the command: doctor finds no obstacle" prints /tmp/doctor xdp doctor
# Without it, nothing else works.
check "the command: apply" prints /tmp/apply xdp apply --auto-approve || exit
check "the command: nothing is left to do" prints /tmp/plan xdp plan --detailed-exitcode

about "$feature"
check "$feature: both programs are native" is_native
check "$feature: a blocked ping is not answered" is_silent 10.99.0.66
check "$feature: another address passes" reaches 10.99.0.2
(within server sh -c 'while true; do echo served | nc -l -p 80 >/dev/null; done') >/dev/null 2>&1 &
(while true; do echo served | nc -l -p 8443 >/dev/null; done) >/dev/null 2>&1 &
until within server netstat -tln 2>/dev/null | grep -q ':80 '; do usleep 50000; done
until netstat -tln 2>/dev/null | grep -q ':8443 '; do usleep 50000; done
about nat
check "NAT: connections are redirected to the server" asks_often 10.99.0.100 80
check "NAT: and with the source translated too" asks_often 10.99.0.101 80
about syn
check "SYN cookies: connections to a protected port" asks_often 10.99.0.1 8443
about rates
some_pass() {
	within client /bin/ping -c 12 -i 0.1 -W 1 -I 10.99.0.70 10.99.0.1 >/tmp/pings
	received=$(sed -n 's/.* \([0-9]*\) received.*/\1/p' /tmp/pings)
	[ "$received" -ge 2 ] && [ "$received" -le 9 ] || { cat /tmp/pings; return 1; }
}
check "rate limits: the pings beyond the rate are dropped" some_pass
about command
check "the command: status" prints /tmp/status xdp status --json
check "the command: stats" prints /tmp/stats xdp stats --json
check "the command: pings of the blocked address were counted" positive /tmp/stats drop
about syn
check "SYN cookies: they were counted" positive /tmp/stats answered
if [ "$feature" = virtio ]; then
	about virtio
	# Receive queues of an interface whose programs got packets.
	used() {
		ethtool -S "$1" >/tmp/queues
		[ "$(grep -c 'rx.*xdp_packets: [1-9]' /tmp/queues)" -ge 2 ] || { cat /tmp/queues; return 1; }
	}
	check "virtio: several queues of front got packets" used front
	check "virtio: several queues of back got packets" used back
fi
about command
check "the command: destroy" prints /tmp/destroy xdp destroy --auto-approve
check "the command: no program is left" sh -c '! /bin/ip link show | grep -q " xdp "'
check "the command: a ping after" reaches 10.99.0.66
