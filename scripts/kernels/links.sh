# Runs in the guest behind policies.sh: filters and balances on links, with ping and nc. The host prepends the variables peer,
# chain, bonded and those of the bond to this script.

pings() {
	/bin/ip netns exec peer /bin/ping -c 2 -i 0.2 -W 1 10.99.0.1
}

silence() {
	! pings
}

about veth
check "make a veth pair" /bin/ip link add test0 type veth peer name test1
/bin/ip netns add peer
/bin/ip link set test1 netns peer
/bin/ip addr add 10.99.0.1/24 dev test0
/bin/ip link set test0 up
/bin/ip -n peer addr add "$peer/24" dev test1
/bin/ip -n peer link set test1 up
index=$(cat /sys/class/net/test0/ifindex)
check "name the interface in the index" bpftool map update pinned "$shared/interface_index" \
	key "$index" 0 0 0 value "$index" 0 0 0 1 0 0 0
check "a ping before" pings
check "attach natively" bpftool net attach xdpdrv pinned "$(programs 4)/xdp_filter" dev test0
check "the mode is native" sh -c '/bin/ip link show dev test0 | grep -q " xdp "'
check "a blocked ping is not answered" silence
# Interface slot 1, reason 7 (BLOCKLIST): key 71, a struct counter that starts with the packets.
counted() {
	bpftool map lookup pinned "$shared/verdict_stats" key 71 0 0 0 | tee /tmp/counter | grep -q 'CPU 00): 0[1-9]' ||
		{ cat /tmp/counter; return 1; }
}
check "it is counted" counted
# The answer: 64 bytes of request, then one struct counter per reason.
summed() {
	bpftool -j prog run pinned "$(programs 4)/stats_read" data_in "$cases/stats" data_out /tmp/stats \
		data_size_out 65536 repeat 1 | grep -q '"retval":2,' &&
		[ "$(hexdump -s 176 -n 1 -v -e '/1 "%u"' /tmp/stats)" -gt 0 ]
}
check "its counters are summed" summed
check "replace the program in place" bpftool net attach xdpdrv pinned "$(programs 5)/xdp_filter" dev test0 overwrite
check "the ping is back" pings
check "detach" bpftool net detach xdpdrv dev test0
check "no program is left" sh -c '! /bin/ip link show dev test0 | grep -q xdp'
check "a ping after" pings

within_peer() {
	nsenter --net=/run/netns/peer "$@"
}
index_of() {
	cat "/sys/class/net/$1/ifindex"
}
# An entry of the index: ifindex, slot, flags (1: a member, 2: no Ethernet header).
enter() {
	bpftool map update pinned "$shared/interface_index" key "$1" 0 0 0 value "$1" 0 0 0 "$2" 0 "$3" 0
}
# Packets of a slot with a reason below 64 (REASON_SLOTS), as counted on CPU 0. Of one byte: enough for these tests.
packets() {
	bpftool map lookup pinned "$shared/verdict_stats" key $((($1 * 64 + $2) % 256)) $((($1 * 64 + $2) / 256)) 0 0 |
		sed -n 's/.*CPU 00): \([0-9a-f]*\).*/\1/p'
}
counts() {
	found=$(packets "$1" "$2")
	[ -n "$found" ] && [ "$found" != 00 ] || { echo "slot $1, reason $2: $found"; return 1; }
}
counts_nothing() {
	found=$(packets "$1" "$2")
	[ "$found" = 00 ] || { echo "slot $1, reason $2: $found"; return 1; }
}
reaches() {
	within_peer /bin/ping -c 2 -i 0.2 -W 1 -I "$1" "$2"
}
is_silent() {
	! reaches "$@"
}

# xdp-filter behind ours: by libxdp's dispatcher, where the kernel lets a program call one that others extend, else alone.
attached() {
	bpftool net show dev test0 | sed -n 's/.*id \([0-9]*\).*/\1/p'
}
dispatched() {
	bpftool prog show id "$(attached)" | grep -q xdp_dispatcher
}
# $1: the slot; $2: the pin of the program.
enter_program() {
	bpftool map update pinned "$chain/programs" key "$1" 0 0 0 value pinned "$2"
}
refused_program() {
	! enter_program "$@"
}
is_busy() {
	cat /tmp/refusal
	grep -q busy /tmp/refusal
}
filter_address() {
	xdp-filter ip -m src "$1"
}
make_chain() {
	rm -rf "$chain"
	mkdir -p "$chain" && bpftool prog pin id "$(attached)" "$chain/theirs" &&
		bpftool map create "$chain/programs" type prog_array key 4 value 4 entries 64 name chain
}
behind() {
	for last in 3 4; do /bin/ip -n peer addr add "10.99.0.$last/24" dev test1; done
	check "chain: load xdp-filter" xdp-filter load -m native -f ipv4 test0
	check "chain: libxdp attached its dispatcher" dispatched
	check "chain: make the map of programs" make_chain
	# Kernels that permit it do not run what extends it: so the plan refuses a dispatcher (E255), whatever the kernel.
	if ! enter_program 1 "$chain/theirs" >/tmp/refusal 2>&1; then
		check "chain: the kernel refuses a program that others extend" is_busy
	fi
	check "chain: unload xdp-filter" xdp-filter unload test0
	export LIBXDP_SKIP_DISPATCHER=1
	check "chain: load xdp-filter without the dispatcher" xdp-filter load -m native -f ipv4 test0
	check "chain: make the map again" make_chain
	check "chain: enter xdp-filter" enter_program 1 "$chain/theirs"
	check "chain: xdp-filter blocks an address" filter_address 10.99.0.3
	bpftool prog loadall "$cases/kinds.bpf.o" "$chain/kinds"
	check "chain: it is not of the kind xdp.frags" refused_program 0 "$chain/kinds/kind_frags"
	check "chain: but of the kind for one buffer" enter_program 0 "$chain/kinds/kind_linear"
	bpftool map delete pinned "$chain/programs" key 0 0 0 0
	check "chain: load ours for one buffer" bpftool $(cat "$cases/4/linear")
	check "chain: put ours before it" bpftool net attach xdpdrv pinned "$chain/own/xdp_filter" dev test0 overwrite
	check "chain: ours blocks its address" silence
	check "chain: xdp-filter behind it blocks another" is_silent 10.99.0.3 10.99.0.1
	check "chain: a third passes both" reaches 10.99.0.4 10.99.0.1
	check "chain: xdp-filter takes a new address meanwhile" filter_address 10.99.0.4
	check "chain: and blocks it" is_silent 10.99.0.4 10.99.0.1
	check "chain: give it back" bpftool net attach xdpdrv pinned "$chain/theirs" dev test0 overwrite
	check "chain: ours blocks nothing any more" pings
	check "chain: xdp-filter still does" is_silent 10.99.0.3 10.99.0.1
	bpftool net detach xdpdrv dev test0
}
if command -v xdp-filter >/dev/null; then
	about chain
	behind
fi

about bond
# A bond in active-backup mode over two veths; client and backend behind it. Slot 2.
# The module makes one by itself, in another mode.
/bin/ip link del bond0 2>/dev/null
check "bond: make it" /bin/ip link add bond0 index "$bond_index" address "$bond_mac" type bond mode active-backup miimon 100
for n in 0 1; do
	/bin/ip link add "slave$n" type veth peer name "wire$n"
	/bin/ip link set "wire$n" netns peer
	/bin/ip link set "slave$n" master bond0
	/bin/ip link set "slave$n" up
	/bin/ip -n peer link set "wire$n" up
done
/bin/ip -n peer link set wire0 down
/bin/ip -n peer link set wire0 address "$bond_peer_mac"
/bin/ip -n peer link set wire0 up
/bin/ip link set bond0 address "$bond_mac"
/bin/ip link set bond0 up
/bin/ip addr add 10.98.0.1/24 dev bond0
for last in 2 3 66; do /bin/ip -n peer addr add "10.98.0.$last/24" dev wire0; done
for last in 100 200; do /bin/ip -n peer neigh add "10.98.0.$last" lladdr "$bond_mac" dev wire0; done
echo slave0 >/sys/class/net/bond0/bonding/active_slave
# Frames of a local sender reach XDP unfinished otherwise; native XDP_TX needs a program on the peer.
within_peer ethtool -K wire0 tx off gso off tso off >/dev/null
# The bond looks for a carrier every 100 ms.
for try in 1 2 3 4 5 6 7 8 9 10; do reaches 10.98.0.66 10.98.0.1 >/dev/null 2>&1 && break; done
check "bond: the peer answers before" reaches 10.98.0.66 10.98.0.1
check "bond: attach natively" bpftool net attach xdpdrv pinned "$(programs "$bonded")/xdp_filter" dev bond0
check "bond: a program on the peer" within_peer bpftool net attach xdpdrv pinned "$(programs 5)/xdp_filter" dev wire0
check "bond: a blocked ping is not answered" is_silent 10.98.0.66 10.98.0.1
check "bond: without entries of its members it counts as unknown" counts 0 7
bpftool map update pinned "$shared/attachments" key 2 0 0 0 value \
	98 111 110 100 48 0 0 0 0 0 0 0 0 0 0 0 "$bond_index" 0 0 0 1 0 0 0 0 0 0 0 0 0 0 0
enter "$bond_index" 2 0
for n in 0 1; do enter "$(index_of "slave$n")" 2 1; done
check "bond: nothing is counted for it yet" counts_nothing 2 7
check "bond: with entries a blocked ping is not answered" is_silent 10.98.0.66 10.98.0.1
check "bond: it is counted for the bond" counts 2 7
check "bond: another address passes" reaches 10.98.0.2 10.98.0.1
(while true; do echo served | within_peer nc -l -p 80; done) >/dev/null 2>&1 &
server=$!
until within_peer netstat -tln 2>/dev/null | grep -q ':80 '; do :; done
asks() {
	within_peer sh -c 'echo asked | nc -w 5 10.98.0.100 80' | tee /tmp/answer | grep -q served || {
		cat /tmp/answer
		within_peer grep -E "^(Tcp|Ip):" /proc/net/snmp
		return 1
	}
}
check "bond: a connection through full NAT" asks
# Reason 11: BALANCED, which leaves through the bond, not by redirection to another interface; 13: REPLY.
check "bond: its packets leave through the bond" counts 2 11
check "bond: its answers return to the client" counts 2 13
kill $server
bpftool net detach xdpdrv dev bond0

about tunnels
# Devices without Ethernet header, over the veth pair. Slot 3, flag 2: packets begin with the IP header.
# $1: the device; $2: its address; $3 and $4: addresses of the peer, blocked and not, all with the prefix length $5.
bare() {
	/bin/ip link set "$1" up
	/bin/ip -n peer link set "$1" up
	/bin/ip addr add "$2/$5" dev "$1" nodad 2>/dev/null || /bin/ip addr add "$2/$5" dev "$1"
	for one in "$3" "$4"; do
		/bin/ip -n peer addr add "$one/$5" dev "$1" nodad 2>/dev/null || /bin/ip -n peer addr add "$one/$5" dev "$1"
	done
	check "$1: the peer answers before" reaches "$3" "$2"
	enter "$(index_of "$1")" 3 2
	bpftool map update pinned "$shared/verdict_stats" key 103 0 0 0 value 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
	check "$1: attach" bpftool net attach xdpgeneric pinned "$(programs 4)/xdp_filter" dev "$1"
	check "$1: a blocked ping is not answered" is_silent "$3" "$2"
	check "$1: it is counted" counts 3 7
	check "$1: another address passes" reaches "$4" "$2"
	bpftool net detach xdpgeneric dev "$1"
	/bin/ip link del "$1"
	/bin/ip -n peer link del "$1"
}
tunnel() {
	tunnel=$1
	shift
	/bin/ip link add "$tunnel" "$@" local 10.99.0.1 remote "$peer"
	/bin/ip -n peer link add "$tunnel" "$@" local "$peer" remote 10.99.0.1
}
for kind in ipip gre; do
	check "make $kind" tunnel "${kind}9" type "$kind"
	bare "${kind}9" 10.97.0.1 10.97.0.66 10.97.0.2 24
done
check "make sit" tunnel sit9 type sit
bare sit9 2001:db8:97::1 2001:db8:97::66 2001:db8:97::2 64

tunnel6() {
	/bin/ip addr add fd99::1/64 dev test0 nodad
	/bin/ip -n peer addr add fd99::2/64 dev test1 nodad
	/bin/ip link add tnl9 type ip6tnl mode any local fd99::1 remote fd99::2
	/bin/ip -n peer link add tnl9 type ip6tnl mode any local fd99::2 remote fd99::1
}
check "make ip6tnl" tunnel6
bare tnl9 10.97.0.1 10.97.0.66 10.97.0.2 24

wireguard() {
	near=$(wg genkey)
	far=$(wg genkey)
	echo "$near" >/tmp/near
	echo "$far" >/tmp/far
	/bin/ip link add wg9 type wireguard
	/bin/ip -n peer link add wg9 type wireguard
	wg set wg9 listen-port 5000 private-key /tmp/near peer "$(echo "$far" | wg pubkey)" \
		endpoint "$peer:5000" allowed-ips 10.97.0.0/24
	within_peer wg set wg9 listen-port 5000 private-key /tmp/far peer "$(echo "$near" | wg pubkey)" \
		endpoint 10.99.0.1:5000 allowed-ips 10.97.0.0/24
}
check "make wireguard" wireguard
bare wg9 10.97.0.1 10.97.0.66 10.97.0.2 24
