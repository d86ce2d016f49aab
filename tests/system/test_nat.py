"""server2 behind a NAT: port 4500, ESP in UDP, a mapping that moves, keepalives."""
import re

import pytest

from netns import wait_until
from tunnel import Tunnel, reaches, received, show, spis

# A ctnetlink request that deletes without naming an entry: the NAT forgets all its mappings.
FORGET = """
import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.sendto(struct.pack("=IHHIIBBH", 20, 0x102, 5, 1, 0, 0, 0, 0), (0, 0))
error = struct.unpack_from("=i", s.recv(4096), 16)[0]
assert error == 0, error
"""
PORT = re.compile(r"198\.51\.100\.1\.(\d+) > 192\.0\.2\.1\.4500: UDP-encap: ESP")


@pytest.fixture(scope="module")
def tunnel():
    with Tunnel("sysn", nat=True) as t:
        wait_until("a ping between the sites", lambda: reaches(t.site2, "10.0.1.13"))
        yield t
        for daemon in (t.two, t.one):
            daemon.stop()


def outside_ports(t):
    """The ports from which server2's ESP came, in order."""
    ports = []
    for line in t.frames("udp port 4500"):
        match = PORT.search(line)
        if match and (not ports or ports[-1] != match[1]):
            ports.append(match[1])
    return ports


def test_established_in_udp_on_4500(tunnel):
    t = tunnel
    assert received(t.site2, "10.0.1.13", 5) == 5
    assert received(t.site1, "10.0.2.24", 5) == 5
    for daemon in (t.one, t.two):
        assert any(":4500" in line for line in daemon.sas()), daemon.ikectl("show", "sa").stdout
    assert t.frames("ip proto 50") == [], "no ESP without UDP"
    assert len(outside_ports(t)) == 1
    assert all(row["udp_port"] for row in show(t.server1, "sa")), show(t.server1, "sa")


def test_the_mapping_moves(tunnel):
    """Field case B30: ESP and IKE follow to the new port."""
    t = tunnel
    before, sas = outside_ports(t), spis(t.server1)
    t.nat_host.run("nft", "flush chain ip nat post; add rule ip nat post oif out0 udp sport 4500 "
                   "masquerade to :40000-40009; add rule ip nat post oif out0 masquerade random")
    t.nat_host.run("/usr/bin/python3", "-c", FORGET)
    wait_until("pings of the client, which tell the new port", lambda: reaches(t.site2, "10.0.1.13"))
    wait_until("pings to the client", lambda: reaches(t.site1, "10.0.2.24"))
    after = outside_ports(t)
    assert len(after) == len(before) + 1 and 40000 <= int(after[-1]) <= 40009, after
    assert received(t.site1, "10.0.2.24", 3) == 3 and received(t.site2, "10.0.1.13", 3) == 3
    assert spis(t.server1) == sas, "the same SAs"
    assert t.frames("net 10.0.0.0/16") == []


def test_keepalives_while_idle(tunnel):
    t = tunnel

    def keepalives():
        return [line for line in t.frames("udp port 4500") if "isakmp-nat-keep-alive" in line]
    count = len(keepalives())
    wait_until("a keepalive", lambda: len(keepalives()) > count, 60, 0.5)
    assert "198.51.100.1" in keepalives()[-1].split(">")[0], "from the side behind the NAT"
