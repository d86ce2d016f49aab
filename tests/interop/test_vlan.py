"""VLAN interfaces over espd's TAPs: addresses, routes, neighbours, forwarding and ESP through tagged frames.

All of it runs in a guest, whose kernel has VLANs and is the ESP peer as well:

    site ---- VLAN 30 ---- espd ---- VLAN 10 ---- peer
    s0.30     int0         TAPs lan, wan   ext0         p0.10
    10.0.1.13              lan.30 10.0.1.1               192.0.2.254
                           wan.10 192.0.2.1              10.0.2.24 on a dummy device

The devices beneath have no addresses: what is not tagged reaches nobody.
"""
import glob
import os
import re
import sys
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

from guest import Guest  # noqa: E402
from netns import Topology, program  # noqa: E402

US, PEER = "192.0.2.1", "192.0.2.254"
KEYS = {"0x1001": "a1", "0x1002": "b2"}
CONF = """port wan device "net_af_packet0,iface=ext0"
port lan device "net_af_packet1,iface=int0"
standalone
max-sa 64
max-flows 64
mbufs 4096
"""
RULES = f"""flow esp from 10.0.1.0/24 to 10.0.2.0/24 peer {PEER} type require
esp tunnel from {US} to {PEER} spi 0x1001:0x1002 auth hmac-sha2-256 enc aes-256 \\
 authkey 0x{"a1" * 32}:0x{"b2" * 32} enckey 0x{"5e" * 32}:0x{"4d" * 32}
"""
# EAL loads these from their directory; ldd does not know of them.
DRIVERS = [path for name in ("net_af_packet", "bus_vdev", "mempool_ring")
           for path in glob.glob(f"/usr/lib/*/dpdk/pmds-*/librte_{name}.so.*.*")]
VLAN = "ip link add link wan name wan.10 type vlan id 10 && ip link set wan.10 up && ip addr add 192.0.2.1/24 dev wan.10"


class VlanGuest(Guest):
    def __init__(self, host):
        super().__init__(host, device="d0", address="203.0.113.1/24",
                         programs=(program("penstock-espd"), program("penstockctl"), *DRIVERS),
                         files=(("/etc/penstock/espd.conf", CONF), ("/etc/ipsec.conf", RULES),
                                ("/etc/passwd", "root:x:0:0::/root:/bin/sh\n_espd:x:940:940::/:/bin/false\n"),
                                ("/etc/group", "root:x:0:\n_espd:x:940:\npenstock:x:942:\n")),
                         more_modules=("8021q", "tun", "veth", "sch_ingress", "cls_bpf"), memory=1024)
        for line in (
                "chmod 600 /etc/ipsec.conf; mkdir -p /run/penstock /var/run/netns; ip netns add peer; ip netns add site",
                "ip link add ext0 type veth peer name p0 netns peer; ip link add int0 type veth peer name s0 netns site",
                "for n in peer site; do ip -n $n link set lo up; done; ip -n peer link set p0 up; ip -n site link set s0 up",
                "ip -n peer link add link p0 name p0.10 type vlan id 10; ip -n peer link set p0.10 up",
                f"ip -n peer addr add {PEER}/24 dev p0.10; ip -n peer link add inner type dummy",
                "ip -n peer link set inner up; ip -n peer addr add 10.0.2.24/24 dev inner",
                f"ip -n peer route add 10.0.1.0/24 via {US} src 10.0.2.24",
                "ip -n site link add link s0 name s0.30 type vlan id 30; ip -n site link set s0.30 up",
                "ip -n site addr add 10.0.1.13/24 dev s0.30; ip -n site route add default via 10.0.1.1",
                f"{program('penstock-espd')} -d -v >/run/espd.log 2>&1 &"):
            self.shell(line)
        self.wait("espd runs", "grep -c privileges: /run/espd.log")
        self.shell(VLAN)
        self.shell("ip link add link lan name lan.30 type vlan id 30 && ip link set lan.30 up")
        self.shell("ip addr add 10.0.1.1/24 dev lan.30")

    def wait(self, what, line, seconds=120):
        """Until the command prints something that is not 0."""
        end = time.monotonic() + seconds
        while self.shell(line, check=False).strip() in ("", "0"):
            if time.monotonic() > end:
                raise TimeoutError(f"{what}\n" + self.shell("tail -30 /run/espd.log", check=False))
            time.sleep(0.2)

    def pings(self, where, address, count=3, *extra):
        command = f"ip netns exec {where} ping" if where else "ping"
        out = self.shell(f"{command} -c {count} -W 3 {' '.join(extra)} {address}", check=False)
        match = re.search(r"(\d+) packets received", out)
        return int(match[1]) if match else out

    def drops(self, reason):
        out = self.shell(f"{program('penstockctl')} show drops")
        match = re.search(rf"reason {reason}\s+packets (\d+)", out)
        return int(match[1]) if match else 0


@pytest.fixture(scope="module")
def guest():
    with Topology("vlan") as t:
        host = t.host("machine")
        host.run("ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1")
        g = VlanGuest(host)
        yield g
        g.close()


def test_the_host_lives_on_its_vlans(guest):
    assert guest.pings("peer", US) == 3
    assert guest.pings("", PEER) == 3
    assert guest.pings("site", "10.0.1.1") == 3
    log = guest.shell("cat /run/espd.log")
    assert "wan.10: VLAN 10 of port wan" in log and "lan.30: VLAN 30 of port lan" in log


def test_forwarding_between_vlans(guest):
    assert guest.pings("site", PEER) == 3
    assert guest.pings("site", PEER, 2, "-s", "3000") == 2


def test_esp_through_vlans(guest):
    for src, dst, spi in ((US, PEER, "0x1001"), (PEER, US, "0x1002")):
        enc = "5e" if spi == "0x1001" else "4d"
        guest.shell(f"ip -n peer xfrm state add src {src} dst {dst} proto esp spi {spi} mode tunnel replay-window 32 "
                  f"auth-trunc 'hmac(sha256)' 0x{KEYS[spi] * 32} 128 enc 'cbc(aes)' 0x{enc * 32}")
    guest.shell(f"ip -n peer xfrm policy add src 10.0.2.0/24 dst 10.0.1.0/24 dir out tmpl src {PEER} dst {US} proto esp "
              "mode tunnel")
    guest.shell(f"ip -n peer xfrm policy add src 10.0.1.0/24 dst 10.0.2.0/24 dir in tmpl src {US} dst {PEER} proto esp "
              "mode tunnel")
    guest.shell(f"{program('penstockctl')} ipsecctl -f /etc/ipsec.conf")
    assert guest.pings("site", "10.0.2.24") == 3
    assert guest.pings("peer", "10.0.1.13", 3, "-I", "10.0.2.24") == 3
    assert guest.pings("site", "10.0.2.24", 2, "-s", "3000") == 2
    guest.shell(f"ip route add 10.0.2.0/24 via {PEER}")
    assert guest.pings("", "10.0.2.24", 2, "-I", "10.0.1.1") == 2, "the gateway itself"
    packets = re.findall(r"(\d+)\(packets\)", guest.shell("ip -n peer -s xfrm state"))
    # Ten pings. The two of 3,028 bytes come from the site in three fragments, of which espd cuts two
    # again to fit into the tunnel; the kernel encrypts whole packets and cuts afterwards.
    assert sorted(int(n) for n in packets) == [10, 18]


def test_other_vlans_are_nobodys(guest):
    before = guest.drops("vlan")
    guest.shell("ip -n peer link add link p0 name p0.20 type vlan id 20; ip -n peer link set p0.20 up")
    guest.shell("ip -n peer addr add 198.51.100.254/24 dev p0.20; ip addr add 198.51.100.1/24 dev wan.10")
    assert guest.pings("peer", "198.51.100.1", 2) == 0
    guest.wait("the drops are shown", f"test $({program('penstockctl')} show drops | grep -c 'reason vlan') = 1 && echo 1")
    assert guest.drops("vlan") > before


def test_a_vlan_that_goes_and_comes_again(guest):
    guest.shell("ip link del wan.10")
    assert guest.pings("peer", US, 2) == 0
    guest.shell(VLAN)
    assert guest.pings("peer", US) == 3
    assert guest.pings("site", "10.0.2.24") == 3
    guest.shell("ip link set wan.10 down")
    assert guest.pings("peer", US, 2) == 0
