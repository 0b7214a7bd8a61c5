# Runs in the guest: creates the maps, loads and fills every policy, sends the packets, then filters a real link. Prints
# `ok NAME` or `not ok NAME` with the cause, and raw output for the host to judge. The host prepends the variables
# cases, instance, shared, peer, wanted (names of programs) and policies to this script.

check() {
	name=$1
	shift
	if "$@" >/tmp/log 2>&1; then
		echo "ok $name"
	else
		echo "not ok $name"
		tail -n 60 /tmp/log
	fi
}

programs() {
	echo "$instance/gen-$1/programs"
}

loaded() {
	for program in $wanted; do
		[ -e "$(programs "$1")/$program" ] || { echo "$program is not pinned"; return 1; }
	done
}

# The exit status of bpftool does not include the return values of programs: every run must return XDP_PASS.
written() {
	bpftool -j batch file "$cases/$1/write" >/tmp/written || { cat /tmp/written; return 1; }
	! grep -o '"retval":[0-9]*' /tmp/written | grep -v '"retval":2$'
}

read_back() {
	bpftool -j batch file "$cases/$1/read" && cmp /tmp/read "$cases/$1/read-expected"
}

pings() {
	/bin/ip netns exec peer /bin/ping -c 2 -i 0.2 -W 1 10.99.0.1
}

silence() {
	! pings
}

mkdir -p "$shared"
check "create the shared maps" bpftool batch file "$cases/shared"
for policy in $policies; do
	mkdir -p "$instance/gen-$policy"
	check "policy $policy: create its map" bpftool batch file "$cases/$policy/create"
	# Not as a batch: bpftool 7.1 takes an errno that loadall leaves behind for a failure to read the batch.
	for load in "$cases/$policy"/load-*; do
		check "policy $policy: ${load##*/}" bpftool $(cat "$load")
	done
	check "policy $policy: programs are pinned" loaded "$policy"
	check "policy $policy: write the image" written "$policy"
	check "policy $policy: read it back" read_back "$policy"
	[ -s "$cases/$policy/packet-0" ] || continue
	bpftool -j batch file "$cases/$policy/packets" >/tmp/results 2>&1
	echo "results $policy $(tr -d '\n' </tmp/results)"
	for file in /tmp/explained-"$policy"-*; do
		echo "explained $policy ${file##*-} $(head -c 24 "$file" | hexdump -v -e '/1 "%02x"')"
	done
	for file in /tmp/went-"$policy"-*; do
		[ -e "$file" ] && echo "went $policy ${file##*-} $(hexdump -v -e '/1 "%02x"' "$file")"
	done
done

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
# Interface slot 1, reason 7 (BLOCKLIST): key 39, a struct counter that starts with the packets.
counted() {
	bpftool map lookup pinned "$shared/verdict_stats" key 39 0 0 0 | tee /tmp/counter | grep -q 'CPU 00): 0[1-9]' ||
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
