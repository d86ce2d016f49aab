"""Whose the ports of IKE are while its daemon is away (espd.conf's punt)."""
import pytest

from iked import FAQ_SERVER1, Iked
from netns import FaqTopology, wait_until
from tunnel import Tunnel, reaches, received

# Is a datagram to the port answered with an error (by a host that has no such port)?
ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.5)
s.connect((sys.argv[1], int(sys.argv[2])))
for _ in range(4):
    try:
        s.send(bytes(32))
        s.recv(100)
    except ConnectionRefusedError:
        print("refused")
    except TimeoutError:
        print("silent")
"""


def answers(t, port):
    return set(t.internet.run("/usr/bin/python3", "-c", ASK, "192.0.2.1", port).stdout.split())


@pytest.mark.parametrize("conf,of_host", [("", False), ("punt yes\n", False), ("punt no\n", True)])
def test_ports_while_iked_is_away(conf, of_host):
    with FaqTopology("punts") as t:
        t.start_espd(t.server1, conf=conf)
        iked = Iked(t.server1, FAQ_SERVER1).start()
        wait_until("IKE's ports are registered", lambda: answers(t, 500) == {"silent"})
        iked.kill("parent")
        wait_until("iked is gone", lambda: "owner iked 0 is gone" in t.server1.log("espd.log"))
        assert ("refused" in answers(t, 500)) == of_host
        # Registered again, and taken back at a clean stop.
        iked = Iked(t.server1, FAQ_SERVER1).start()
        wait_until("IKE's ports are registered", lambda: answers(t, 500) == {"silent"})
        iked.stop()
        wait_until("the host has its ports back", lambda: "refused" in answers(t, 500))


def test_esp_in_udp_goes_on_without_iked():
    with Tunnel("puntn", nat=True) as t:
        wait_until("a ping between the sites", lambda: reaches(t.site2, "10.0.1.13"))
        t.one.kill("parent")
        wait_until("iked is gone", lambda: "owner iked 0 is gone" in t.server1.log("espd.log"))
        assert received(t.site2, "10.0.1.13", 5) == 5
        assert received(t.site1, "10.0.2.24", 5) == 5
