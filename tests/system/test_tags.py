"""Tagged frames at a port without VLAN interfaces (those that have some: tests/interop/test_vlan.py)."""
import pytest
from scapy.all import ICMP, IP, Dot1AD, Dot1Q, Ether, Raw

from manual import ManualTopology, drops
from netns import wait_until

SEND = ("import socket, sys\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\ns.bind(('to1', 0))\n"
        "for line in sys.stdin: s.send(bytes.fromhex(line))")


@pytest.fixture(scope="module", params=["af_packet", "af_xdp"])
def topology(request):
    with ManualTopology("tags") as t:
        t.start(t.server1, driver=request.param)
        yield t


def test_only_tags_of_no_vlan_are_let_in(topology):
    t = topology
    t.internet.run("ethtool", "-K", "to1", "txvlan", "off", check=False)
    macs = {"dst": t.server1.read("/sys/class/net/wan/address").strip(),
            "src": t.internet.read("/sys/class/net/to1/address").strip()}
    seen = t.internet.start("seen", "tcpdump", "-l", "-n", "--immediate-mode", "-i", "to1", "icmp")
    wait_until("tcpdump listens", lambda: "listening" in t.internet.log("seen"))

    def send(tag, number):
        packet = IP(src="192.0.2.254", dst="192.0.2.1") / ICMP(id=77, seq=number) / Raw(b"tagged")
        t.internet.run("/usr/bin/python3", "-c", SEND, input=bytes(Ether(**macs) / tag / packet).hex() + "\n")

    def answered(number):
        return f"192.0.2.1 > 192.0.2.254: ICMP echo reply, id 77, seq {number}," in t.internet.log("seen")
    before = drops(t.server1, "vlan")
    for number, vlan in enumerate((1, 20, 4095)):
        send(Dot1Q(vlan=vlan), number)
    wait_until("the three are dropped", lambda: drops(t.server1, "vlan") == before + 3, 10)
    send(Dot1AD(vlan=7) / Dot1Q(vlan=8), 10)  # a provider's tag: the host has no interface for it
    send(Dot1Q(vlan=0, prio=5), 11)           # a priority alone (IEEE 802.1Q 9.6)
    wait_until("the last is answered", lambda: answered(11))
    assert not any(answered(n) for n in (0, 1, 2, 10))
    t.internet.stop(seen)
