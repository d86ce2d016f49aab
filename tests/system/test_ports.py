"""Ports over the kernel's devices: what they count, how workers sleep on them, links that go and come."""
import os
import signal
import time

import pytest

from manual import ManualTopology, drops, received
from netns import program, wait_until
from tunnel import show

SOCKETS = ("af_packet", "af_xdp")
DRIVERS = SOCKETS + ("tap",)
FLOOD = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(20000):
    s.sendto(b"", ("10.0.1.1", 9))
"""


@pytest.fixture(name="topology")
def fixture_topology():
    with ManualTopology("ports") as t:
        yield t


def port(gateway, tap):
    found = [p for p in show(gateway, "port") if p["tap"] == tap]
    return found[0] if found else None


def frames(gateway, tap):
    """Of the port: received, missed."""
    p = port(gateway, tap)
    return p and (p["rx_packets"], p["rx_missed"])


@pytest.mark.parametrize("driver", SOCKETS)
def test_frames_that_a_stopped_espd_could_not_take_are_counted(topology, driver):
    t = topology
    espd = t.start(t.server1, driver=driver)
    assert received(t.site1, "10.0.1.1", 1) == 1
    before = wait_until("the port's first counters", lambda: frames(t.server1, "lan"))
    os.kill(t.server1.pid_of(espd), signal.SIGSTOP)
    try:
        t.site1.run("/usr/bin/python3", "-c", FLOOD)
    finally:
        os.kill(t.server1.pid_of(espd), signal.SIGCONT)
    wait_until("each frame is counted", lambda: sum(frames(t.server1, "lan")) - sum(before) >= 20000)
    got, missed = frames(t.server1, "lan")
    assert got - before[0] >= (4000 if driver == "af_packet" else 2000), "the ring's"
    assert missed > before[1]
    assert got + missed - sum(before) < 20100, "counted once"


def counter(gateway, name):
    return next(row["value"] for row in show(gateway, "counters") if row["counter"] == name)


def turns_while_idle(gateway):
    """What the workers look in vain in three seconds."""
    before = counter(gateway, "loops")
    time.sleep(3)
    return counter(gateway, "loops") - before


# Asleep for 200 ms at a time they look a few hundred times; awake, or asleep blindly for 100 us,
# some hundred thousand times.
IDLE_TURNS = 50000


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_idle_worker_sleeps_until_a_frame_comes(topology, driver):
    t = topology
    t.start(t.server1, "workers 2\n", driver=driver)
    assert received(t.site1, "10.0.1.1", 3) == 3
    assert turns_while_idle(t.server1) < IDLE_TURNS
    assert received(t.site1, "10.0.1.1", 10) == 10
    assert "EAL" not in t.server1.log("espd.log"), t.server1.log("espd.log")


def has_carrier(host, dev):
    return "LOWER_UP" in host.run("ip", "-o", "link", "show", dev).stdout


def link_is(gateway, up, changes):
    """The link as the port, its TAP and the counter say."""
    p = port(gateway, "lan")
    return p and (p["up"], p["link_changes"], has_carrier(gateway, "lan")) == (up, changes, up)


@pytest.mark.parametrize("driver", SOCKETS)
@pytest.mark.parametrize("end", ["peer", "device"])
def test_the_link_of_a_device_is_followed(topology, driver, end):
    """Either end of the cable is set down: the host sees it, and the worker does not spin meanwhile."""
    t = topology
    t.start(t.server1, driver=driver)
    host, dev = (t.site1, "eth0") if end == "peer" else (t.server1, "int0")
    wait_until("the link is up", lambda: link_is(t.server1, True, 0))
    for n in (1, 3):
        host.run("ip", "link", "set", dev, "down")
        wait_until("the link is down", lambda n=n: link_is(t.server1, False, n))
        assert "linkdown" in t.server1.run("ip", "route", "show", "dev", "lan").stdout
        assert turns_while_idle(t.server1) < IDLE_TURNS
        host.run("ip", "link", "set", dev, "up")
        wait_until("the link is up again", lambda n=n: link_is(t.server1, True, n + 1))
        assert "linkdown" not in t.server1.run("ip", "route", "show", "dev", "lan").stdout
        wait_until("a ping", lambda: received(t.site1, "10.0.1.1", 1) == 1)


def test_the_link_of_a_driver_is_followed(topology):
    """Without a device of the kernel's beneath, the driver says how its link is."""
    t = topology
    t.start(t.server1, driver="tap")
    assert received(t.site1, "10.0.1.1", 3) == 3
    begin = wait_until("the port's first counters", lambda: port(t.server1, "lan"))["link_changes"]
    t.server1.run("ip", "link", "set", "dtap1", "down")
    wait_until("the link is down", lambda: link_is(t.server1, False, begin + 1))
    t.server1.run("ip", "link", "set", "dtap1", "up")
    wait_until("the link is up again", lambda: link_is(t.server1, True, begin + 2))
    wait_until("a ping", lambda: received(t.site1, "10.0.1.1", 1) == 1)
    assert port(t.server1, "lan")["speed_mbps"] > 0


def test_a_device_that_is_taken_away_is_a_link_down(topology):
    t = topology
    t.start(t.server1)
    assert received(t.site1, "10.0.1.1", 1) == 1
    t.site1.run("ip", "link", "del", "eth0")
    wait_until("the link is down", lambda: link_is(t.server1, False, 1))
    assert turns_while_idle(t.server1) < IDLE_TURNS
    assert received(t.internet, "192.0.2.1", 3) == 3, "the other port goes on"


def test_a_port_whose_tap_is_set_down_takes_nothing(topology):
    """As an interface of the kernel's: neither to the host nor onward."""
    t = topology
    t.start(t.server1)
    t.internet.run("ip", "route", "add", "10.0.1.0/24", "via", "192.0.2.1")
    assert received(t.site1, "192.0.2.254", 3) == 3
    t.server1.run("ip", "link", "set", "lan", "down")
    wait_until("frames are refused", lambda: received(t.site1, "192.0.2.254", 1) == 0 and
               drops(t.server1, "port-down") > 0)
    t.server1.run("ip", "link", "set", "lan", "up")
    wait_until("frames pass again", lambda: received(t.site1, "192.0.2.254", 1) == 1)


def test_an_mtu_that_an_xdp_socket_cannot_have_is_an_error(topology):
    """Its frames lie in one page each."""
    t = topology
    t.server1.run("ip", "link", "set", "int0", "mtu", 9000)
    with pytest.raises(RuntimeError, match="the largest MTU of all ports"):
        t.start(t.server1, driver="af_xdp")


def test_a_worker_that_nothing_tells_of_frames_sleeps_too(topology):
    t = topology
    t.server1.write("/etc/penstock/espd.conf", 'port wan device "net_ring0"\nstandalone\n')
    t.server1.start("espd.log", program("penstock-espd"), "-d", "-v")
    wait_until("espd runs", lambda: "privileges:" in t.server1.log("espd.log"))
    assert 0 < turns_while_idle(t.server1) < IDLE_TURNS
