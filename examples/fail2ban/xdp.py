# fail2ban action: drops packets in the driver, before the network stack sees them.
# Install as /etc/fail2ban/action.d/xdp.py and use it in a jail: `action = xdp.py`.
#
# Bans go through the control socket of `xdp watch`, or through the command `xdp` if no daemon runs. A thread sends them,
# all that wait at once, so restoring 20,000 bans takes seconds. Failures are logged by fail2ban as errors of this action.

import json
import os
import shlex
import socket
import subprocess
import threading
import time

from fail2ban.server.action import ActionBase

AUTHOR = "fail2ban"
# Bytes of the longest reason, and requests of one message.
LONGEST_REASON = 55
MOST = 1000
# Seconds to wait for the daemon. It ignores a request that is older than LATE, so that it cannot take effect later.
PATIENCE = 10
LATE = 5


class Unreachable(Exception):
    """No daemon answers."""


class Daemon:
    """The control socket of `xdp watch`."""

    def __init__(self, bpffs, instance):
        self.bpffs = bpffs
        self.instance = instance
        self.stream = None

    def ask(self, requests, reason):
        """Returns the results of the requests. Raises Unreachable, and RuntimeError with the error of the daemon."""
        message = {
            "version": 1,
            "netns": os.readlink("/proc/self/ns/net").strip("net:[]"),
            "until": int((time.monotonic() + LATE) * 1000),
            "by": AUTHOR,
            "reason": reason,
            "requests": requests,
        }
        try:
            if self.stream is None:
                self.stream = self.connect()
            self.stream.write(json.dumps(message).encode() + b"\n")
            self.stream.flush()
            line = self.stream.readline()
            answer = json.loads(line) if line else None
        except (OSError, ValueError) as error:
            self.close()
            raise Unreachable(str(error))
        if not isinstance(answer, dict) or answer.get("version") != 1:
            self.close()
            raise Unreachable("no answer")
        if "error" in answer:
            raise RuntimeError("%(code)s %(message)s" % answer["error"])
        return answer["results"]

    def connect(self):
        path = "/run/xdp/%s.%d.control.sock" % (self.instance, os.stat(self.bpffs).st_dev)
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(PATIENCE)
        client.connect(path)
        return client.makefile("rwb")

    def close(self):
        if self.stream is not None:
            try:
                self.stream.close()
            except OSError:
                pass
            self.stream = None


class XdpAction(ActionBase):
    """Bans and unbans with xdp. A jail lifts only its own bans."""

    # A longer ban replaces the time of a shorter one (bantime.increment).
    _prolongable = True

    def __init__(self, jail, name, xdp="xdp", instance="default", bpffs="/sys/fs/bpf"):
        """`xdp`: the command, with flags if needed. `instance`, `bpffs`: as in its flags --instance and --bpffs."""
        super(XdpAction, self).__init__(jail, name)
        self.command = shlex.split(xdp) + ["--instance", instance, "--bpffs", bpffs]
        self.reason = ("jail %s" % jail.name).encode()[:LONGEST_REASON].decode("utf-8", "ignore")
        self.daemon = Daemon(bpffs, instance)
        self.condition = threading.Condition()
        self.waiting = []
        self.is_busy = False
        self.is_stopping = False
        self.thread = None

    # Called by fail2ban.

    def start(self):
        self.is_stopping = False
        self.thread = threading.Thread(target=self.work, name="xdp %s" % self.reason, daemon=True)
        self.thread.start()

    def stop(self):
        with self.condition:
            self.is_stopping = True
            self.condition.notify_all()
        if self.thread is not None:
            self.thread.join()
        self.daemon.close()

    def ban(self, aInfo):
        bantime = int(aInfo["bantime"])
        if bantime < 0:
            self.add("ban", aInfo["ip"], None)
        else:
            # A restored ban began earlier.
            self.add("ban", aInfo["ip"], float(aInfo["time"]) + bantime)

    reban = ban
    prolong = ban

    def unban(self, aInfo):
        self.add("unban", aInfo["ip"], None)

    def flush(self):
        """Lifts all bans of the jail."""
        with self.condition:
            self.condition.wait_for(lambda: not self.waiting and not self.is_busy)
        self.run("unban")
        return True

    # The thread.

    def add(self, op, address, end):
        with self.condition:
            self.waiting.append((op, str(address), end))
            self.condition.notify_all()

    def work(self):
        while True:
            with self.condition:
                self.is_busy = False
                self.condition.notify_all()
                self.condition.wait_for(lambda: self.waiting or self.is_stopping)
                if not self.waiting:
                    return
                taken, self.waiting = self.waiting[:MOST], self.waiting[MOST:]
                self.is_busy = True
            try:
                self.send(taken)
            except Exception as error:
                self._logSys.error("xdp: %s of %s failed: %s", taken[0][0], taken[0][1], error)

    def send(self, taken):
        now = time.time()
        requests = []
        for op, address, end in taken:
            if end is not None and end <= now:
                continue
            requests.append({"op": op, "prefix": address, **({} if end is None else {"ttl": end - now})})
        if not requests:
            return
        try:
            results = self.daemon.ask(requests, self.reason)
        except Unreachable:
            self.send_to_command(requests)
            return
        for request, result in zip(requests, results):
            if result["result"] in ("refused", "full", "no-memory"):
                why = ", ".join(result.get("protects", [])) or result["result"]
                self._logSys.error("xdp: %s of %s failed: %s", request["op"], request["prefix"], why)

    def send_to_command(self, requests):
        """One run of the command for each sequence of bans or unbans."""
        while requests:
            op = requests[0]["op"]
            count = next((i for i, one in enumerate(requests) if one["op"] != op), len(requests))
            lines = ["%s %dms" % (one["prefix"], one["ttl"] * 1000 + 1) if "ttl" in one else one["prefix"] for one in requests[:count]]
            requests = requests[count:]
            self.run(op, "--stdin", lines=lines)

    def run(self, verb, *flags, lines=()):
        argv = [*self.command, verb, "--by", AUTHOR, "--reason", self.reason, *flags]
        done = subprocess.run(argv, input="\n".join(lines), capture_output=True, text=True)
        if done.returncode != 0:
            self._logSys.error("xdp %s exited with %d: %s", verb, done.returncode, done.stderr.strip())


Action = XdpAction
