"""Hosts in namespaces for the demo and the system tests.

    site1-host ----- server1 ----- internet ----- server2 ----- site2-host
    10.0.1.13      10.0.1.1          |            10.0.2.1     10.0.2.24
                   192.0.2.1   192.0.2.254
                                198.51.100.254    198.51.100.1

A Host has network, UTS and mount namespaces of its own: its own host name, /run, /var/run, /tmp
stay apart from the machine's, and /etc is an overlay without the machine's iked and ipsec files
and with the users that an installation makes.
All names begin with a prefix, so that several topologies live side by side. close() (also at
exit and on a signal that raises) ends every process started in the hosts and takes the
namespaces away.

A gateway's ports: the veth end `ext0` has no addresses; espd opens it and mirrors it as the TAP
`wan`, which carries the addresses (`lan` likewise on `int0`).
"""
import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time

BUILD = os.environ.get("PENSTOCK_BUILD") or os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "build")


def program(name):
    """Path of a built program."""
    for folder in ("dataplane", "controlplane/iked", "controlplane/cli", "tests/system"):
        path = os.path.abspath(os.path.join(BUILD, folder, name))
        if os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(f"{name} is not built under {BUILD}")


def sh(*args, check=True, **kw):
    kw.setdefault("stdout", subprocess.PIPE)
    kw.setdefault("stderr", subprocess.STDOUT)
    result = subprocess.run([str(a) for a in args], text=True, check=False, **kw)
    if check and result.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, args))}: status {result.returncode}\n{result.stdout}")
    return result


def wait_until(what, condition, seconds=20.0, step=0.05):
    """Polls; the condition's value, or an error that names what did not come."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(step)


class Host:
    """One host. run() waits for a command, start() leaves it running until stop() or close()."""

    def __init__(self, prefix, name, hostname=None):
        self.name = name
        self.ns = f"{prefix}-{name}"
        self.procs = []
        self.dir = tempfile.mkdtemp(prefix=f"{self.ns}-")
        sh("ip", "netns", "del", self.ns, check=False)
        sh("ip", "netns", "add", self.ns)
        for sub in ("layer", "logs"):
            os.mkdir(os.path.join(self.dir, sub))
        script = f"""
            set -e
            hostname {hostname or name}
            mount --make-rprivate /
            mount -t tmpfs -o mode=755 tmpfs {self.dir}/layer
            mkdir {self.dir}/layer/up {self.dir}/layer/work {self.dir}/layer/etc
            mount -t overlay overlay -o lowerdir=/etc,upperdir={self.dir}/layer/up,workdir={self.dir}/layer/work /etc
            for user in _espd:940 _penstock:941; do
                grep -q "^${{user%:*}}:" /etc/passwd ||
                    echo "${{user%:*}}:x:${{user#*:}}:${{user#*:}}::/var/empty:/usr/sbin/nologin" >> /etc/passwd
            done
            grep -q ^penstock: /etc/group || echo penstock:x:942: >> /etc/group
            rm -rf /etc/iked /etc/iked.conf /etc/ipsec.conf /etc/penstock
            mkdir -p /etc/penstock /etc/iked/private /etc/iked/pubkeys/fqdn
            echo '127.0.0.1 localhost' > /etc/hosts
            mount -t tmpfs -o mode=755 tmpfs /run
            mkdir -p /run/penstock /var/run
            echo ready
            exec sleep infinity"""
        self.holder = subprocess.Popen(
            ["ip", "netns", "exec", self.ns, "unshare", "--mount", "--uts", "sh", "-c", script],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        line = self.holder.stdout.readline()
        if line.strip() != "ready":
            raise RuntimeError(f"{self.name}: {line}{self.holder.stdout.read()}")
        self.run("ip", "link", "set", "lo", "up")
        self.sysctl("net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")

    def command(self, *args):
        # -r, -w: a mount namespace begins at the machine's root, not at that of a chroot we may be in.
        return ["nsenter", "-t", str(self.holder.pid), "-n", "-m", "-u", "-r", "-w", "--"] + [str(a) for a in args]

    def run(self, *args, check=True, **kw):
        return sh(*self.command(*args), check=check, **kw)

    def sysctl(self, *settings):
        for setting in settings:
            key, value = setting.split("=")
            path = f"/proc/sys/{key.replace('.', '/')}"
            self.run("sh", "-c", f"[ ! -e {path} ] || echo {value} > {path}")

    def log_path(self, name):
        return os.path.join(self.dir, "logs", name)

    def log(self, name):
        try:
            with open(self.log_path(name), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def start(self, name, *args, **kw):
        """A process whose output goes to the log `name` (appended)."""
        with open(self.log_path(name), "ab") as out:
            kw.setdefault("stdout", out)
            kw.setdefault("stderr", subprocess.STDOUT)
            proc = subprocess.Popen(self.command(*args), stdin=subprocess.DEVNULL, start_new_session=True, **kw)
        proc.name = name
        self.procs.append(proc)
        return proc

    def pid_of(self, proc):
        """nsenter execs, so the process is the program itself."""
        return proc.pid

    def stop(self, proc, sig=signal.SIGTERM, seconds=10):
        if proc.poll() is None:
            try:
                os.kill(proc.pid, sig)
                proc.wait(seconds)
            except ProcessLookupError:
                pass
            except subprocess.TimeoutExpired:
                os.killpg(proc.pid, signal.SIGKILL)
                proc.wait()
        if proc in self.procs:
            self.procs.remove(proc)
        return proc.returncode

    def write(self, path, text, mode=0o644):
        self.run("sh", "-c", f"umask 077; mkdir -p \"$(dirname {path})\"; cat > {path}; chmod {mode:o} {path}",
                 input=text)

    def read(self, path):
        return self.run("cat", path).stdout

    def close(self):
        for proc in list(self.procs):
            self.stop(proc)
        # What daemons left behind in this network namespace dies with it.
        pids = sh("ip", "netns", "pids", self.ns, check=False).stdout.split()
        for pid in pids:
            if pid.isdigit() and int(pid) != self.holder.pid:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        if self.holder.poll() is None:
            self.holder.kill()
            self.holder.wait()
        self.holder.stdout.close()
        sh("ip", "netns", "del", self.ns, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


def link(a, dev_a, b, dev_b):
    """A veth pair between two hosts, both ends up, without offloads that leave checksums open."""
    sh("ip", "link", "add", dev_a, "netns", a.ns, "type", "veth", "peer", "name", dev_b, "netns", b.ns)
    for host, dev in ((a, dev_a), (b, dev_b)):
        host.run("ethtool", "-K", dev, "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off",
                 check=False)
        host.run("ip", "link", "set", dev, "up")


def wire(host, dev_a, dev_b):
    """Two devices of a host as one link: what comes in by one goes out by the other."""
    for here, there in ((dev_a, dev_b), (dev_b, dev_a)):
        host.run("tc", "qdisc", "replace", "dev", here, "clsact")
        host.run("tc", "filter", "replace", "dev", here, "ingress", "protocol", "all", "prio", "1", "handle", "800::1",
                 "u32", "match", "u32", "0", "0", "action", "mirred", "egress", "redirect", "dev", there)


class Topology:
    """Hosts that are closed together, last made first."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.hosts = []
        atexit.register(self.close)

    def host(self, name, hostname=None):
        host = Host(self.prefix, name, hostname)
        self.hosts.append(host)
        return host

    def close(self):
        while self.hosts:
            self.hosts.pop().close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


GATEWAYS = {
    "server1": {"wan": "192.0.2.1/24", "lan": "10.0.1.1/24", "router": "192.0.2.254"},
    "server2": {"wan": "198.51.100.1/24", "lan": "10.0.2.1/24", "router": "198.51.100.254"},
}


class FaqTopology(Topology):
    """The FAQ's two sites. With nat, server2 stands behind a masquerading router `nat`, which
    holds 198.51.100.1, and is 172.16.2.1 itself. `plain` gateways get their addresses on the
    veth ends (for peers that use the kernel's stack) instead of ports for espd."""

    def __init__(self, prefix, nat=False, plain=()):
        super().__init__(prefix)
        self.nat_host = None
        self.internet = self.host("internet")
        self.internet.sysctl("net.ipv4.ip_forward=1")
        self.gateways = {n: self.host(n, f"{n}.domain") for n in ("server1", "server2")}
        self.server1, self.server2 = self.gateways["server1"], self.gateways["server2"]
        self.site1, self.site2 = self.host("site1-host"), self.host("site2-host")
        self.wan = {n: dict(GATEWAYS[n]) for n in GATEWAYS}
        outside = self.server2
        if nat:
            outside = self.nat_host = self.host("nat")
            self.wan["server2"].update(wan="172.16.2.1/24", router="172.16.2.254")
            link(self.nat_host, "in0", self.server2, "ext0")
        link(self.internet, "to1", self.server1, "ext0")
        link(self.internet, "to2", outside, "out0" if nat else "ext0")
        self.internet.run("ip", "addr", "add", "192.0.2.254/24", "dev", "to1")
        self.internet.run("ip", "addr", "add", "198.51.100.254/24", "dev", "to2")
        if nat:
            self._set_up_nat()
        for gateway, site, address, router in ((self.server1, self.site1, "10.0.1.13/24", "10.0.1.1"),
                                               (self.server2, self.site2, "10.0.2.24/24", "10.0.2.1")):
            link(gateway, "int0", site, "eth0")
            site.run("ip", "addr", "add", address, "dev", "eth0")
            site.run("ip", "route", "add", "default", "via", router)
            gateway.plain = gateway.name in plain
            gateway.sysctl("net.ipv4.ip_forward=1" if gateway.plain else "net.ipv4.ip_forward=0")
            if gateway.plain:
                self.configure(gateway, "ext0", "int0")

    def _set_up_nat(self):
        nat = self.nat_host
        nat.sysctl("net.ipv4.ip_forward=1")
        nat.run("ip", "addr", "add", "172.16.2.254/24", "dev", "in0")
        nat.run("ip", "addr", "add", "198.51.100.1/24", "dev", "out0")
        nat.run("ip", "route", "add", "default", "via", "198.51.100.254")
        nat.run("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; "
                       "add rule ip nat post oif out0 masquerade random")

    def configure(self, gateway, wan="wan", lan="lan"):
        """Addresses and the default route of a gateway, on its TAPs or veth ends."""
        a = self.wan[gateway.name]
        for dev, key in ((wan, "wan"), (lan, "lan")):
            gateway.run("ip", "link", "set", dev, "up")
            gateway.run("ip", "addr", "replace", a[key], "dev", dev)
        gateway.run("ip", "route", "replace", "default", "via", a["router"])

    def start_espd(self, gateway, *extra, conf="", driver="af_packet"):
        """Writes espd.conf, starts the data plane, and gives its TAPs their addresses."""
        devices = {"af_packet": "net_af_packet{n},iface={dev}", "af_xdp": "net_af_xdp{n},iface={dev}",
                   "tap": "net_tap{n},iface=dtap{n}"}[driver]
        text = "".join(f'port {tap} device "{devices.format(n=n, dev=dev)}"\n'
                       for n, (tap, dev) in enumerate((("wan", "ext0"), ("lan", "int0"))))
        gateway.write("/etc/penstock/espd.conf", text + conf)
        before = gateway.log("espd.log").count("privileges:")
        proc = gateway.start("espd.log", program("penstock-espd"), "-d", "-v", *extra)

        def running():
            # The TAPs outlive an espd that was killed: only its own word tells that it runs.
            if proc.poll() is not None:
                raise RuntimeError(f"{gateway.name}: espd ended\n{gateway.log('espd.log')}")
            return gateway.log("espd.log").count("privileges:") > before
        wait_until(f"{gateway.name}: start of espd\n{gateway.log('espd.log')}", running)
        if driver == "tap":
            wire(gateway, "ext0", "dtap0")
            wire(gateway, "int0", "dtap1")
        self.configure(gateway)
        return proc
