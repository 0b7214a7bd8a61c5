# Runs in the guest: keepalived balances web servers by IPVS, clients connect, servers die. Prints the kernel's table
# between `begin NAME` and `end NAME`, for the host to judge.

show() {
	echo "begin $1"
	shift
	"$@"
	echo "end"
}

# $1: a command that must succeed; up to a minute.
await() {
	for try in $(seq 300); do
		"$@" && return 0
		sleep 0.2
	done
	echo "gave up: $*"
}

for name in clients servers; do
	/bin/ip netns add "$name"
	/bin/ip -n "$name" link set lo up
	/bin/ip link add "to-$name" type veth peer name eth0
	/bin/ip link set eth0 netns "$name"
	/bin/ip link set "to-$name" up
	/bin/ip -n "$name" link set eth0 up
done
/bin/ip link set lo up
/bin/ip addr add 10.94.0.1/24 dev to-clients
/bin/ip addr add 10.95.0.1/24 dev to-servers
/bin/ip addr add 192.0.2.10/32 dev lo
for last in $(seq 2 49); do /bin/ip -n clients addr add "10.94.0.$last/24" dev eth0; done
for last in 11 12 13 99; do /bin/ip -n servers addr add "10.95.0.$last/24" dev eth0; done
/bin/ip -n clients route add default via 10.94.0.1
/bin/ip -n servers route add default via 10.95.0.1
echo 1 >/proc/sys/net/ipv4/ip_forward
for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >"$file"; done

mkdir -p /www /var/log /etc
echo served >/www/index.html
for last in 11 12 13 99; do
	for port in 8080 8081 8082 8083; do
		nsenter --net=/run/netns/servers httpd -f -p "10.95.0.$last:$port" -h /www &
		echo $! >"/tmp/httpd-$last-$port"
	done
done

# Without a daemon for its log, keepalived writes to the console.
syslogd -O /tmp/keepalived.log
keepalived -f /keepalived.conf --check --dont-fork >/dev/null 2>&1 &
has() {
	[ "$(ipvsadm -S -n | grep -c -- "$1")" -eq "$2" ]
}
await has '-r' 11
show saved ipvsadm -S -n
show listed ipvsadm -L -n

# Two connections of each client to each service; the nc of busybox takes its address from the route.
asks='for port in 80 81 82 83 80 81 82 83; do
	printf "GET / HTTP/1.0\r\n\r\n" | nc -w 20 192.0.2.10 $port | grep -c served
done'
for last in $(seq 2 49); do
	/bin/ip -n clients route replace 192.0.2.10 via 10.94.0.1 src "10.94.0.$last"
	nsenter --net=/run/netns/clients sh -c "$asks"
done | sort | uniq -c | sed 's/^ */served /'
show statistics ipvsadm -L -n --stats --exact

# One server of the first service dies, then all.
kill "$(cat /tmp/httpd-12-8080)"
await has '-r 10.95.0.12:8080' 0
show "one-down" ipvsadm -S -n
for last in 11 13; do kill "$(cat /tmp/httpd-$last-8080)"; done
await has '-r 10.95.0.99:8080' 1
await has '-r 10.95.0.1[123]:8080' 0
show "all-down" ipvsadm -S -n
cat /tmp/keepalived.log
