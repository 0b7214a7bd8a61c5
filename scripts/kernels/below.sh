# Runs in the guest behind wires.sh, on a kernel below the floor: the command refuses, says for each feature what is missing,
# and leaves everything as it was.

# $1: a file; the rest: texts that it must contain.
says() {
	file=$1
	shift
	for text in "$@"; do
		grep -qF -- "$text" "$file" || { echo "without: $text"; cat "$file"; return 1; }
	done
}
# $1: the exit status that the command must have.
ends_with() {
	wanted=$1
	shift
	prints "$@"
	status=$?
	[ "$status" = "$wanted" ] || { echo "status $status"; return 1; }
}
nothing_is_left() {
	! /bin/ip link show | grep xdp && [ -z "$(bpftool prog show | grep xdp)" ] && ! find /sys/fs/bpf -mindepth 2 | grep .
}

about refused
for try in 1 2 3 4 5 6 7 8 9 10; do reaches 10.99.0.66 >/dev/null && break; done
check "below the floor: a ping before" reaches 10.99.0.66
check "below the floor: doctor fails" ends_with 1 /tmp/doctor xdp doctor
check "below the floor: doctor says what each feature lacks" says /tmp/doctor kernel.needs.filter kernel.needs.bans \
	kernel.needs.syn bpf_loop xdp.frags bpf_xdp_load_bytes bpf_for_each_map_elem bpf_check_mtu
check "below the floor: plan" ends_with 0 /tmp/plan xdp plan
check "below the floor: plan warns, and says what each feature lacks" says /tmp/plan W282 "for filter: " "For bans: " \
	"For syn: " bpf_loop
check "below the floor: apply is refused" ends_with 69 /tmp/apply xdp apply --auto-approve
check "below the floor: apply says what each feature lacks" says /tmp/apply E107 "for filter: " "For bans: " bpf_loop
check "below the floor: nothing is left of it" nothing_is_left
check "below the floor: a ping after" reaches 10.99.0.66
sed 's/^/    /' /tmp/doctor /tmp/plan /tmp/apply
