"""Ports over the kernel's devices: what they count, how workers sleep on them, links that go and come."""
import os
import signal
import time

import pytest

from manual import ManualTopology, received
from netns import wait_until
from tunnel import show

DRIVERS = ("af_packet", "af_xdp")
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


@pytest.mark.parametrize("driver", DRIVERS)
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


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_idle_worker_sleeps_until_a_frame_comes(topology, driver):
    """On the descriptors of its queues: without them it would wake up 10,000 times a second."""
    t = topology
    t.start(t.server1, "workers 2\n", driver=driver)
    assert received(t.site1, "10.0.1.1", 3) == 3

    def sleeps():
        return next(row["value"] for row in show(t.server1, "counters") if row["counter"] == "sleeps")
    before = sleeps()
    time.sleep(3)
    assert 0 < sleeps() - before < 1000
    assert received(t.site1, "10.0.1.1", 10) == 10
