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

# Instructions that the verifier has processed, as the kernel shows them of an open program: bpftool holds it open while it
# waits for its input from a pipe.
instructions() {
	rm -f /tmp/input
	mkfifo /tmp/input
	for pin in "$(programs "$1")"/*; do
		bpftool prog run pinned "$pin" data_in /tmp/input >/dev/null 2>&1 &
		holder=$!
		for try in $(seq 200); do
			number=$(cat /proc/$holder/fdinfo/* 2>/dev/null | sed -n 's/^verified_insns:[^0-9]*//p')
			[ -n "$number" ] && break
			usleep 20000
		done
		jited=$(cat /proc/$holder/fdinfo/* 2>/dev/null | sed -n 's/^prog_jited:[^0-9]*//p')
		echo "instructions $1 ${pin##*/} $number $jited"
		kill $holder
		wait $holder 2>/dev/null
	done
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
	case " $measured " in *" $policy "*) instructions "$policy" ;; esac
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

