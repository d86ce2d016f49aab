"""What the tests with a kernel's ESP share: one topology and one guest for the whole run.

    site1-host --- server1 (Penstock) --- internet --- server2 (guest: a peer's daemon)
    10.0.1.13      192.0.2.1                           198.51.100.1; 10.0.2.24 on a dummy
    fd00:1::13     2001:db8:1::1                       2001:db8:2::1; fd00:2::24

Behind the NAT (`nat = True`) the guest is 172.16.2.1, and 198.51.100.9 for server1.
"""
import glob
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

from guest import Guest, unpacked  # noqa: E402
from iked import Iked  # noqa: E402
from netns import FaqTopology, program, sh, wait_until  # noqa: E402
from strongswan import CHARON, PLUGINS  # noqa: E402

US, PEER, NAT = "192.0.2.1", "198.51.100.1", "198.51.100.9"
US6, PEER6 = "2001:db8:1::1", "2001:db8:2::1"
BEHIND = "172.16.2.1"
SECRET = "mekmitasdigoat"
KERNEL_PLUGINS = PLUGINS.replace("kernel-libipsec ", "")
PLUGIN_DIR = "/usr/lib/ipsec/plugins"


def long_runs():
    """The whole matrices instead of a choice of them."""
    return bool(os.environ.get("PENSTOCK_INTEROP_ALL"))


def make_keys(directory):
    """{kind: (private PEM, public PEM)}"""
    keys = {}
    for kind, command in (("rsa", ("genrsa", "-traditional")), ("ecdsa256", ("prime256v1",)),
                          ("ecdsa384", ("secp384r1",)), ("ecdsa521", ("secp521r1",))):
        path = os.path.join(directory, f"{kind}.pem")
        if kind == "rsa":
            sh("openssl", *command, "-out", path, "2048", stderr=None)
        else:
            sh("openssl", "ecparam", "-name", *command, "-genkey", "-noout", "-out", path, stderr=None)
        with open(path) as f:
            keys[kind] = (f.read(), sh("openssl", "pkey", "-in", path, "-pubout", stderr=None).stdout)
    return keys


def guest_programs():
    return ("/usr/sbin/iked", "/usr/sbin/ikectl", CHARON, "/usr/sbin/swanctl", "/usr/bin/openssl",
            program("udp_numbered"), *glob.glob("/usr/lib/*/ossl-modules/legacy.so"), *glob.glob("/lib/*/libgcc_s.so.1"),
            *(f"{PLUGIN_DIR}/libstrongswan-{name}.so" for name in KERNEL_PLUGINS.split()))


def libreswan_programs():
    """The package cannot be installed beside strongSwan; nor need what it alone depends on."""
    names = sh("apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts",
               "--no-breaks", "--no-replaces", "--no-enhances", "libreswan").stdout
    installed = sh("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n").stdout.split("\n")
    missing = {name for name in names.split("\n") if re.fullmatch(r"lib[a-z0-9.+-]+", name)
               and f"{name} installed" not in installed and name != "libelogind0"}
    base = unpacked("libreswan", *sorted(missing | {"libnss3-tools"}))
    found = [path.removeprefix(base) for pattern in ("libsoftokn3.*", "libfreebl*", "nss/*") for top in ("", base)
             for path in glob.glob(f"{top}/usr/lib/*/{pattern}")]
    found += ["/usr/bin/certutil", *(f"/usr/libexec/ipsec/{name}" for name in ("pluto", "whack", "addconn"))]
    return [(base, path) for path in found]


GUEST_FILES = (
    ("/etc/passwd", "root:x:0:0::/root:/bin/sh\n_iked:x:100:100::/var/empty:/bin/false\n"),
    ("/etc/group", "root:x:0:\n_iked:x:100:\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\n"),
)


class World:
    def __init__(self):
        self.t = FaqTopology(f"interopg{os.getpid()}")
        self.guest = self.iked = self.espd = self.espd_conf = None
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self):
        t, internet = self.t, self.t.internet
        self.keys = make_keys(t.server1.dir)
        self.guest = guest = Guest(internet, "to2", f"{PEER}/24", "198.51.100.254", programs=guest_programs(),
                                   files=GUEST_FILES, unpacked_programs=libreswan_programs())
        internet.run("ip", "addr", "flush", "dev", "to2")
        internet.sysctl("net.ipv6.conf.all.forwarding=1")
        for address, dev in (("198.51.100.254/24", "gbr0"), (f"{NAT}/24", "gbr0"), ("172.16.2.254/24", "gbr0"),
                             ("2001:db8:2::fe/64", "gbr0"), ("2001:db8:1::fe/64", "to1")):
            internet.run("ip", "addr", "replace", address, "dev", dev)
        internet.run("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; "
                            "add chain ip nat pre { type nat hook prerouting priority -100; }; "
                            f"add rule ip nat post oif to1 ip saddr 172.16.2.0/24 ip protocol udp snat to {NAT}:20000-30000")
        t.site1.run("ip", "addr", "add", "fd00:1::13/64", "dev", "eth0", "nodad")
        t.site1.run("ip", "-6", "route", "add", "default", "via", "fd00:1::1")
        guest.shell("hostname server2.domain")
        guest.shell("ip link add inner type dummy && ip link set inner up")
        guest.shell("ip addr add 10.0.2.24/24 dev inner && ip addr add fd00:2::24/64 dev inner nodad")
        guest.shell(f"ip addr add {PEER6}/64 dev eth0 nodad; ip -6 route add default via 2001:db8:2::fe")
        guest.shell("ip route add 10.0.1.0/24 via 198.51.100.254 src 10.0.2.24")
        guest.shell("ip -6 route add fd00:1::/64 via 2001:db8:2::fe src fd00:2::24")
        guest.shell(f"ip addr add {BEHIND}/24 dev eth0")
        guest.shell("mkdir -p /var/empty /etc/iked/private /etc/iked/ca /etc/iked/certs /etc/iked/crls "
                    "/etc/iked/pubkeys/fqdn")

    def start_espd(self, conf=""):
        """espd with this configuration; one that runs with it already stays."""
        if self.espd and self.espd_conf == conf and self.espd.poll() is None:
            return
        server1 = self.t.server1
        if self.espd:
            server1.stop(self.espd)
        # af_packet has the kernel put fragments together, and cuts off what is too long then.
        self.espd = self.t.start_espd(server1, conf=conf, driver="af_xdp")
        self.espd_conf = conf
        server1.run("ip", "addr", "replace", "fd00:1::1/64", "dev", "lan", "nodad")
        server1.run("ip", "addr", "replace", f"{US6}/64", "dev", "wan", "nodad")
        server1.run("ip", "-6", "route", "replace", "default", "via", "2001:db8:1::fe")

    def start_iked(self, rule):
        """The rule, in an iked that runs already or is started; without SAs."""
        self.start_espd()
        if self.iked and self.iked.proc.poll() is None:
            self.load(rule)
            return self.iked
        self.iked = Iked(self.t.server1, rule)
        self.iked.start()
        return self.iked

    def load(self, rule):
        self.iked.configure(rule)
        self.iked.ikectl("reload")

    def stop_iked(self):
        if self.iked:
            self.iked.stop()
        self.iked = None

    def sas(self):
        listing = self.t.server1.run(program("penstockctl"), "show", "sa", "--json").stdout
        return json.loads(listing)

    def live(self):
        """The live ESP SAs, by direction, newest last."""
        live = [sa for sa in self.sas() if sa["state"] == "mature"]
        return {d: sorted((sa for sa in live if sa["direction"] == d),
                          key=lambda sa: (sa["installed_s"], sa["packets"])) for d in ("in", "out")}

    # ---- traffic ----

    def ping(self, v6=False, size=56, count=2, more=()):
        """Both ways, between site1 and the guest's inner address."""
        there, here = ("fd00:2::24", "fd00:1::13") if v6 else ("10.0.2.24", "10.0.1.13")
        if size > 1200:
            # An ICMP error may tell the MTU first.
            self.t.site1.run("ping", "-n", "-c", "1", "-W", "1", "-s", size, *more, there, check=False)
        out = self.t.site1.run("ping", "-n", "-c", count, "-i", "0.1", "-W", "2", "-s", size, *more, there,
                               check=False).stdout
        assert f" {count} received" in out and "DUP" not in out, out + self.state()
        out = self.guest.shell(f"ping -c 2 -s {size} -I {there} {here}", check=False)
        assert "2 packets received" in out or size > 1200 and "1 packets received" in out, out + self.state()

    def ping_hosts(self, us=US, them=PEER, size=56):
        """Both ways, between the gateways themselves."""
        out = self.t.server1.run("ping", "-n", "-c", "2", "-i", "0.1", "-W", "2", "-s", size, "-I", us, them,
                                 check=False).stdout
        assert " 2 received" in out, out + self.state()
        out = self.guest.shell(f"ping -c 1 -s {size} -I {them} {us}", check=False)
        assert "1 packets received" in out, out + self.state()

    def start_numbered(self, pps=100, seconds=5, size=400):
        name = program("udp_numbered")
        self.guest.shell("rm -f /tmp/logs/numbered")
        host = self.t.site1
        path = host.log_path("numbered")
        if os.path.exists(path):
            os.truncate(path, 0)
        return (host.start("numbered", name, "10.0.1.13", "10.0.2.24", "7000", pps, seconds, size),
                self.guest.start("numbered", name, "10.0.2.24", "10.0.1.13", "7000", pps, seconds, size))

    def no_sa(self):
        """Packets that came for an SA that is not there or has no keys yet: (at the guest, here)."""
        there = re.findall(r"Xfrm(?:InNoStates|AcquireError)\s+(\d+)", self.guest.shell("cat /proc/net/xfrm_stat"))
        here = self.t.server1.run(program("penstockctl"), "show", "drops").stdout
        here = re.search(r"reason no-sa\s+packets (\d+)", here)
        return sum(map(int, there)), int(here[1]) if here else 0

    def end_numbered(self, runs, least=100, no_sa=None):
        """Each datagram arrived once, in both directions. The guest may be too slow for its rate.

        no_sa: what no_sa() told before. OpenIKED answers a rekey before it has the new inbound SA, and uses
        the new outbound SA before we have read that answer: what came too early is missing, nothing else."""
        counts = []
        for run, host in zip(runs, (self.t.site1, self.guest)):
            wait_until("numbered datagrams", lambda r=run: r.poll() is not None, 60)
            counts.append(json.loads(host.log("numbered").splitlines()[-1]))
        self.t.site1.stop(runs[0])
        early = [after - before for before, after in zip(no_sa, self.no_sa())] if no_sa else [0, 0]
        for a, b, n in ((*counts, early[0]), (*counts[::-1], early[1])):
            assert a["sent"] >= least and a["sent"] - n <= b["unique"] <= a["sent"] and b["duplicates"] == 0, \
                f"{counts} {early}{self.state()}"
        return counts

    def state(self):
        kernel = self.guest.shell("ip -s xfrm state; ip xfrm policy; grep -v ' 0$' /proc/net/xfrm_stat", check=False)
        kernel = re.sub(r"0x[0-9a-f]{32,}", "(key)", kernel)
        ours = self.iked.log()[-3000:] if self.iked else ""
        drops = self.t.server1.run(program("penstockctl"), "show", "drops", check=False).stdout
        return f"\n--- iked\n{ours}\n--- espd\n{json.dumps(self.sas(), indent=1)}\n{drops}\n--- guest\n{kernel}"

    def close(self):
        if self.guest:
            self.guest.close()
        if self.iked and self.iked.proc and self.iked.proc.poll() is None:
            self.iked.stop()
        self.t.close()
