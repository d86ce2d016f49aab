"""Gateways under manual SAs of ipsecctl, and what a test asks of them: no iked, no waiting for it."""
import re

from netns import FaqTopology, program, wait_until

AUTH = {1: "a1" * 32, 2: "b2" * 32}
ENC = {1: "c3" * 32, 2: "d4" * 32}
NETWORKS = {"server1": ("10.0.1.0/24", "fd00:1::/64"), "server2": ("10.0.2.0/24", "fd00:2::/64")}
OTHER = {"server1": "server2", "server2": "server1"}


def sa_rules(name, here, there, kind="tunnel"):
    """The pair of SAs; SPI 0x1001 is server1's outbound."""
    out, back = (1, 2) if name == "server1" else (2, 1)
    return (f"esp {kind} from {here} to {there} spi 0x100{out}:0x100{back} auth hmac-sha2-256 enc aes-256 "
            f"authkey 0x{AUTH[out]}:0x{AUTH[back]} enckey 0x{ENC[out]}:0x{ENC[back]}\n")


def flow_rules(name, there, more=""):
    return "".join(f"flow esp {more} from {a} to {b} peer {there} type require\n"
                   for a, b in zip(NETWORKS[name], NETWORKS[OTHER[name]]))


def ipsecctl(gateway, *args, **kw):
    return gateway.run(program("penstockctl"), "ipsecctl", *args, **kw)


def load(gateway, rules):
    gateway.write("/etc/ipsec.conf", rules, mode=0o600)
    answer = ipsecctl(gateway, "-F", "-f", "/etc/ipsec.conf", check=False)
    assert answer.returncode == 0, answer.stdout


def drops(gateway, reason):
    out = gateway.run(program("penstockctl"), "show", "drops", check=False).stdout
    m = re.search(rf"reason {reason}\s+packets (\d+)", out, re.M)
    return int(m.group(1)) if m else 0


def wait_drops(gateway, reason, more_than):
    wait_until(f"{gateway.name}: drops for {reason}", lambda: drops(gateway, reason) > more_than, 10)


def received(host, address, count=3, *extra):
    """How many of `count` pings were answered."""
    text = host.run("ping", "-n", "-c", count, "-i", "0.1", "-W", "2", *extra, address, check=False).stdout
    return int(re.search(r"(\d+) received", text)[1])


class ManualTopology(FaqTopology):
    """The FAQ's sites, with IPv6 inside as well: fd00:1::13 and fd00:2::24 behind fd00:N::1."""

    def __init__(self, prefix, **kw):
        super().__init__(prefix, **kw)
        for site, address, router in ((self.site1, "fd00:1::13/64", "fd00:1::1"),
                                      (self.site2, "fd00:2::24/64", "fd00:2::1")):
            site.run("ip", "addr", "add", address, "dev", "eth0", "nodad")
            site.run("ip", "route", "add", "default", "via", router)

    def outer(self, gateway):
        return self.wan[gateway.name]["wan"].split("/")[0]

    def start(self, gateway, conf="", **kw):
        proc = self.start_espd(gateway, conf="standalone\n" + conf, **kw)
        net = "fd00:1::1/64" if gateway is self.server1 else "fd00:2::1/64"
        gateway.run("ip", "addr", "replace", net, "dev", "lan", "nodad")
        return proc

    def protect(self, gateway, more=""):
        """The FAQ's flow and its like for IPv6, required, over a pair of manual SAs."""
        here = self.outer(gateway)
        there = self.outer(self.gateways[OTHER[gateway.name]])
        load(gateway, flow_rules(gateway.name, there, more) + sa_rules(gateway.name, here, there))
