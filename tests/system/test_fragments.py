"""Datagrams in fragments whose flow names a port (RFC 4301 7): all of one goes the way of its first.

Fragments behind the first have no ports. By `default pass` they would go on in clear; and the peer
could not match them with the SA's selectors, so they travel whole, and ESP itself is cut.
"""
import pytest
from scapy.all import IP, Ether

from iked import FAQ_SERVER1, FAQ_SERVER2
from netns import wait_until
from tunnel import Tunnel

RULES1 = FAQ_SERVER1.replace("from 10.0.1.0/24 to 10.0.2.0/24", "proto udp from 10.0.1.0/24 to 10.0.2.0/24 port 5000")
RULES2 = FAQ_SERVER2.replace("from 10.0.2.0/24 to 10.0.1.0/24", "proto udp from 10.0.2.0/24 port 5000 to 10.0.1.0/24")
ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.0.2.24", 5000))
while True:
    data, peer = s.recvfrom(65535)
    s.sendto(data, peer)
"""
ASK = """
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 0))
s.settimeout(2)
data = os.urandom(int(sys.argv[2]))
for n in range(6):  # a datagram with DF that is too long teaches its sender the path's MTU
    s.sendto(data, ("10.0.2.24", 5000))
    try:
        print("same" if s.recv(65535) == data else "different")
        break
    except TimeoutError:
        pass
"""


@pytest.fixture(scope="module", params=[1, 2])
def tunnel(request):
    with Tunnel("frag", rules1=RULES1, rules2=RULES2, conf=f"workers {request.param}\n") as t:
        t.site2.start("echo", "/usr/bin/python3", "-c", ECHO)
        wait_until("the echo listens", lambda: ":5000" in t.site2.run("ss", "-lun").stdout)
        yield t


@pytest.mark.parametrize("size", [100, 1450, 4000, 20000, 50000])
@pytest.mark.parametrize("name, address", [("site1", "10.0.1.13"), ("server1", "10.0.1.1")])
def test_echo(tunnel, name, address, size):
    """From a host behind the gateway, and from the gateway itself."""
    t = tunnel
    answer = getattr(t, name).run("/usr/bin/python3", "-c", ASK, address, size, check=False).stdout
    assert answer.strip() == "same", answer


def test_nothing_went_in_clear(tunnel):
    inner = [p for p in map(Ether, tunnel.captured())
             if IP in p and (p[IP].src.startswith("10.0.") or p[IP].dst.startswith("10.0."))]
    assert inner == []
