"""penstock-espd alone, with manual SAs of ipsecctl, between the FAQ's two sites."""
import os
import re
import signal
import time

import pytest

from netns import FaqTopology, program, wait_until

AUTH = {1: "a1" * 32, 2: "b2" * 32}
ENC = {1: "c3" * 32, 2: "d4" * 32}
INNER = re.compile(r"\b10\.0\.[12]\.\d+")


def ipsecctl(gateway, *args, **kw):
    link = os.path.join(gateway.dir, "ipsecctl")
    if not os.path.exists(link):
        os.symlink(program("penstockctl"), link)
    return gateway.run(link, *args, **kw)


def rules(name):
    """The FAQ's two networks under manual keys; SPI 0x1001 is server1's outbound."""
    a, b = ("10.0.1.0/24", "192.0.2.1"), ("10.0.2.0/24", "198.51.100.1")
    out, back = 1, 2
    if name == "server2":
        a, b, out, back = b, a, back, out
    return (f"flow esp from {a[0]} to {b[0]} peer {b[1]} type require\n"
            f"esp tunnel from {a[1]} to {b[1]} spi 0x100{out}:0x100{back} "
            f"auth hmac-sha2-256 enc aes-256 "
            f"authkey 0x{AUTH[out]}:0x{AUTH[back]} enckey 0x{ENC[out]}:0x{ENC[back]}\n")


def load(gateway):
    gateway.write("/etc/ipsec.conf", rules(gateway.name), mode=0o600)
    return ipsecctl(gateway, "-f", "/etc/ipsec.conf")


class Capture:
    """What passes in the internet, from before the first packet."""

    def __init__(self, topology):
        self.t = topology
        self.proc = topology.internet.start("capture", "tcpdump", "-i", "to1", "-n", "--immediate-mode", "-U",
                                            "-w", "/tmp/capture.pcap")
        wait_until("tcpdump listens", lambda: "listening" in topology.internet.log("capture"))

    def frames(self, expression=""):
        return self.t.internet.run("sh", "-c", f"tcpdump -n -r /tmp/capture.pcap {expression} 2>/dev/null"
                                   ).stdout.splitlines()

    def leaks(self):
        return [line for line in self.frames() if INNER.search(line)]


def pings(host, address, n=5, *extra):
    out = host.run("ping", "-n", "-c", n, "-i", "0.05", "-W", "1", *extra, address, check=False).stdout
    received = int(re.search(r"(\d+) received", out).group(1))
    return received, out


@pytest.fixture
def topology(request):
    with FaqTopology("espdt") as t:
        yield t


def drops(gateway, reason):
    out = gateway.run(program("penstockctl"), "show", "drops", check=False).stdout
    m = re.search(rf"reason {reason}\s+packets (\d+)", out, re.M)
    return int(m.group(1)) if m else 0


@pytest.mark.parametrize("workers", [1, 2])
def test_manual_tunnel(topology, workers):
    t = topology
    for g in (t.server1, t.server2):
        t.start_espd(g, conf=f"standalone\nworkers {workers}\n")
        assert load(g).returncode == 0
    capture = Capture(t)
    received, out = pings(t.site1, "10.0.2.24", 20)
    assert received == 20, out + t.server1.log("espd.log")
    assert "DUP" not in out
    received, out = pings(t.site2, "10.0.1.13", 20, "-s", "1300")
    assert received == 20, out
    # The FAQ's words of warning: the gateways themselves reach the remote network.
    received, out = pings(t.server1, "10.0.2.24", 5, "-I", "10.0.1.1")
    assert received == 5, out
    wait_until("all are captured", lambda: len(capture.frames("esp")) >= 90, 5)
    assert capture.leaks() == []


def test_clear_packets_of_a_protected_pair_are_dropped(topology):
    t = topology
    for g in (t.server1, t.server2):
        t.start_espd(g, conf="standalone\n")
    load(t.server1)
    t.internet.run("ip", "addr", "add", "10.0.2.99/24", "dev", "to2")
    t.internet.run("ip", "route", "add", "10.0.1.0/24", "via", "192.0.2.1", "src", "10.0.2.99")
    received, out = pings(t.internet, "10.0.1.13", 5, "-I", "10.0.2.99")
    assert received == 0, out
    wait_until("the drops are counted", lambda: drops(t.server1, "clear-but-protected") == 5, 5)


def test_nothing_is_forwarded_before_the_owner_has_resynced(topology):
    t = topology
    t.start_espd(t.server1, conf="")
    received, out = pings(t.site1, "192.0.2.254", 3)
    assert received == 0, out
    received, out = pings(t.site1, "10.0.1.1", 3)
    assert received == 3, "the host itself answers: " + out
    wait_until("the drops are counted", lambda: drops(t.server1, "not-ready") >= 3, 5)


def test_plain_forwarding_answers_each_ping_once(topology):
    t = topology
    for g in (t.server1, t.server2):
        g.sysctl("net.ipv4.ip_forward=1")
        t.start_espd(g, conf="standalone\n")
    t.internet.run("ip", "route", "add", "10.0.1.0/24", "via", "192.0.2.1")
    t.internet.run("ip", "route", "add", "10.0.2.0/24", "via", "198.51.100.1")
    received, out = pings(t.site1, "10.0.2.24", 20)
    assert received == 20, out
    assert "DUP" not in out


def test_a_killed_espd_leaks_nothing_and_comes_back(topology):
    t = topology
    procs = {}
    for g in (t.server1, t.server2):
        g.sysctl("net.ipv4.ip_forward=1")
        procs[g.name] = t.start_espd(g, conf="standalone\n")
        load(g)
    capture = Capture(t)
    flood = t.site1.start("flood", "ping", "-q", "-i", "0.002", "-c", "3000", "10.0.2.24")
    time.sleep(1)
    for _ in range(3):
        t.server1.stop(procs["server1"], signal.SIGKILL)
        time.sleep(0.3)
        procs["server1"] = t.start_espd(t.server1, conf="standalone\n")
    wait_until("traffic flows again", lambda: pings(t.site1, "10.0.2.24", 1)[0] == 1, 15)
    t.site1.stop(flood, signal.SIGINT)
    assert capture.leaks() == []
    t.server1.stop(procs["server1"])
    pings(t.site1, "10.0.2.24", 5)
    assert capture.leaks() == []


def test_a_forward_chain_of_nftables_is_warned_of(topology):
    t = topology
    t.server1.run("nft", "add table inet guard; "
                  "add chain inet guard onward { type filter hook forward priority 0; }; "
                  "add chain inet guard inward { type filter hook input priority 0; }")
    t.start_espd(t.server1, conf="standalone\n")
    warnings = [line for line in t.server1.log("espd.log").splitlines() if "nftables" in line]
    assert len(warnings) == 1 and "chain onward of table guard" in warnings[0], warnings
