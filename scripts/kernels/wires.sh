# Runs in the guest: a config for the command itself, between two interfaces with peers. The host prepends the MAC addresses of
# the interfaces: front and back of this host, client and server of its peers.

# Emulation makes the verifier slow.
export XDP_TOOL_TIMEOUT=5m
xdp() {
	/xdp --file /xdp.yaml "$@"
}
named() {
	for path in /sys/class/net/*; do
		[ "$(cat "$path/address")" = "$1" ] && echo "${path##*/}"
	done
}
# $1: an interface; $2: its new name.
rename() {
	/bin/ip link set "$1" down
	/bin/ip link set "$1" name "$2"
}
rename "$(named "$front_mac")" front
rename "$(named "$back_mac")" back
for side in client server; do
	/bin/ip netns add $side
	eval "mac=\$${side}_mac"
	/bin/ip link set "$(named "$mac")" netns $side name $side
	/bin/ip -n $side link set lo up
	/bin/ip -n $side link set $side up
done
/bin/ip link set lo up
/bin/ip addr add 10.99.0.1/24 dev front
/bin/ip addr add 10.98.0.1/24 dev back
/bin/ip link set front up
/bin/ip link set back up
for last in 2 66 70; do /bin/ip -n client addr add "10.99.0.$last/24" dev client; done
/bin/ip -n server addr add 10.98.0.3/24 dev server
/bin/ip -n client route add default via 10.99.0.1
/bin/ip -n server route add default via 10.98.0.1
# Addresses that only the programs answer for.
for last in 100 101; do /bin/ip -n client neigh add "10.99.0.$last" lladdr "$front_mac" dev client; done
/bin/ip -n server neigh add 10.98.0.200 lladdr "$back_mac" dev server
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 2 >/proc/sys/net/ipv4/tcp_syncookies
for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >"$file"; done
cat >/xdp.yaml <<'YAML'
version: 1
interfaces:
  front: { mode: native }
  back: { mode: native }
blocklist: [10.99.0.66]
rate_limits:
  - { name: pings, cidr: 10.99.0.70, protocol: icmp, packets_per_second: 1, burst: 2 }
syn_protection: { ports: [8443], mode: always }
services:
  plain: { vip: 10.99.0.100, port: 80, protocol: tcp, forwarding: nat, backends: [10.98.0.3] }
  full:
    vip: 10.99.0.101
    port: 80
    protocol: tcp
    forwarding: nat
    snat: true
    snat_pool: [10.98.0.200]
    backends: [10.98.0.3]
YAML

within() {
	side=$1
	shift
	nsenter --net=/run/netns/$side "$@"
}
reaches() {
	within client /bin/ping -c 3 -i 0.2 -W 2 -I "$1" 10.99.0.1
}
is_silent() {
	! reaches "$@"
}
# $1: a file for the output of the command that follows.
prints() {
	file=$1
	shift
	"$@" >"$file" 2>&1
	status=$?
	cat "$file"
	return $status
}
