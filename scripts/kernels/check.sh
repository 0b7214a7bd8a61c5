# Begins every script of a guest. Prints `ok NAME` or `not ok NAME` with the cause, and returns whether it succeeded.

check() {
	name=$1
	shift
	if "$@" >/tmp/log 2>&1; then
		echo "ok $name"
	else
		echo "not ok $name"
		tail -n 60 /tmp/log | sed 's/^/    /'
		return 1
	fi
}

# $1: the feature that the following checks are about.
about() {
	echo "about $1"
}
