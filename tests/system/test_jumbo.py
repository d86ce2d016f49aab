"""Jumbo frames on af_packet ports, in clear and through a tunnel, to the last byte."""
import pytest

from manual import ManualTopology, received
from netns import wait_until

MTU = 9000
# 20 IP, 8 ESP, 16 IV, 16 ICV leave 8940: 558 whole blocks, of which the trailer has 2 bytes.
INNER = 8926


@pytest.fixture(scope="module")
def topology():
    with ManualTopology("jumbo") as t:
        for host, devices in ((t.site1, ["eth0"]), (t.server1, ["int0", "ext0"]), (t.internet, ["to1", "to2"]),
                              (t.server2, ["int0", "ext0"]), (t.site2, ["eth0"])):
            for dev in devices:
                host.run("ip", "link", "set", dev, "mtu", MTU)
        for g in (t.server1, t.server2):
            t.start(g, "workers 2\n")
        yield t


def test_in_clear(topology):
    t = topology
    t.internet.run("ip", "route", "add", "10.0.1.0/24", "via", "192.0.2.1")
    for size in (MTU - 28, 8000, 3000):
        assert received(t.site1, "192.0.2.254", 3, "-M", "do", "-s", size) == 3, size
    assert received(t.site1, "192.0.2.254", 3, "-s", 30000) == 3
    t.internet.run("ip", "route", "del", "10.0.1.0/24")


def test_through_the_tunnel(topology):
    t = topology
    for g in (t.server1, t.server2):
        t.protect(g)
    for size in (INNER - 28, INNER - 29, 5000, 56):
        assert received(t.site1, "10.0.2.24", 3, "-M", "do", "-s", size) == 3, size
    text = t.site2.run("ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", INNER - 27, "10.0.1.13", check=False).stdout
    assert f"mtu = {INNER}" in text or f"mtu={INNER}" in text, text
    assert received(t.site1, "10.0.2.24", 3, "-s", 30000) == 3
    # Fragments of IPv6 are the sender's: it learns first what fits.
    wait_until("the sender knows the MTU", lambda: received(t.site1, "fd00:2::24", 1, "-s", 30000) == 1)
    assert received(t.site1, "fd00:2::24", 3, "-s", 30000) == 3
