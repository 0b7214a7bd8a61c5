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

about bond
# A bond whose members are Ethernet devices with native XDP (veth) and without it (gretap).
stacked() {
	printf 'version: 1\ninterfaces: { bond7: { mode: native } }\nblocklist: [10.97.0.66]\n' >/stacked.yaml
	/xdp --file /stacked.yaml "$@"
}
# $1: a pattern; $2…: what prints it.
says() {
	pattern=$1
	shift
	"$@" >/tmp/said 2>&1
	grep -q "$pattern" /tmp/said || { cat /tmp/said; return 1; }
}
fails_as_before() {
	! "$@" >/tmp/failed 2>&1 && ! /bin/ip link show dev bond7 | grep -q ' xdp ' && return
	cat /tmp/failed
	return 1
}
/bin/ip link add bond7 type bond mode active-backup
/bin/ip link set bond7 up
check "bond: the command gives a program to one without members" prints /tmp/bond stacked apply --auto-approve
check "bond: the command takes it off" prints /tmp/bond stacked destroy --auto-approve
/bin/ip link add veth7 type veth peer name wire7
/bin/ip link add tap7 type gretap local 10.99.0.1 remote 10.99.0.2
for member in veth7 tap7; do
	/bin/ip link set $member down
	/bin/ip link set $member master bond7
done
check "bond: plan names the member without native XDP" says 'W208.*veth7 (veth), tap7 (gretap).*tap7: a device of the kind gretap' stacked plan
check "bond: doctor does" says 'its member tap7 has no native XDP' stacked doctor
check "bond: apply fails and leaves it as it was" fails_as_before stacked apply --auto-approve
/bin/ip link del tap7
check "bond: plan warns of nothing then" sh -c '! /xdp --file /stacked.yaml plan 2>&1 | grep W208'
check "bond: apply is native" prints /tmp/bond stacked apply --auto-approve
check "bond: destroy" prints /tmp/bond stacked destroy --auto-approve
/bin/ip link del bond7
/bin/ip link add bond7 type bond mode balance-alb
/bin/ip link set bond7 up
check "bond: plan names a mode without native XDP" says 'W208.*in mode balance-alb has no native XDP' stacked plan
/bin/ip link del bond7
/bin/ip link add bond7 type bond mode balance-xor xmit_hash_policy vlan+srcmac
/bin/ip link set bond7 up
check "bond: plan names a hash without native XDP" says 'W208.*xmit_hash_policy vlan+srcmac has no native XDP' stacked plan
