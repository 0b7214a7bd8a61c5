# Runs in the guest: creates the maps, loads and fills every policy, and sends the packets. Prints raw output for the host to
# judge. The host prepends the variables cases, instance, shared, wanted (names of programs), policies and measured (policies
# whose instructions are counted) to this script.

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

# Facts about an open program, as the kernel shows them: bpftool holds it open while it waits for its input from a pipe.
facts_of() {
	rm -f /tmp/input
	mkfifo /tmp/input
	bpftool prog run pinned "$1" data_in /tmp/input >/dev/null 2>&1 &
	holder=$!
	for try in $(seq 200); do
		grep -hs '^verified_insns' /proc/$holder/fdinfo/* && break
		usleep 20000
	done
	grep -hs '^prog_jited' /proc/$holder/fdinfo/*
	kill $holder
	wait $holder 2>/dev/null
}
# $1: the policy. Prints the instructions that the verifier has processed for each program; all must be machine code.
instructions() {
	: >/tmp/interpreted
	for pin in "$(programs "$1")"/*; do
		facts_of "$pin" >/tmp/facts
		echo "instructions $1 ${pin##*/} $(sed -n 's/^verified_insns:[^0-9]*//p' /tmp/facts)"
		grep -q '^prog_jited:[^0-9]*1' /tmp/facts || echo "${pin##*/}" >>/tmp/interpreted
	done
}
no_interpreted() {
	cat /tmp/interpreted
	[ ! -s /tmp/interpreted ]
}

about load
mkdir -p "$shared"
check "create the shared maps" bpftool batch file "$cases/shared"
# The programs of health checks through VIPs.
check "load check.bpf.o" bpftool prog loadall "$cases/check.bpf.o" "$shared/checks"
for policy in $policies; do
	about load
	mkdir -p "$instance/gen-$policy"
	check "policy $policy: create its map" bpftool batch file "$cases/$policy/create"
	# Not as a batch: bpftool 7.1 takes an errno that loadall leaves behind for a failure to read the batch.
	for load in "$cases/$policy"/load-*; do
		check "policy $policy: ${load##*/}" bpftool $(cat "$load")
	done
	check "policy $policy: programs are pinned" loaded "$policy"
	check "policy $policy: write the image" written "$policy"
	check "policy $policy: read it back" read_back "$policy"
	case " $measured " in *" $policy "*)
		instructions "$policy"
		check "policy $policy: every program is machine code" no_interpreted
		;;
	esac
	about packets
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

