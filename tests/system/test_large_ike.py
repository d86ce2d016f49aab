"""IKE datagrams of 12 KiB in shuffled IP fragments reach the engine once, whatever port and workers.

    peer (198.51.100.77, made by the test) ----- internet ----- server1 (192.0.2.1)
"""
import random

import pytest
from scapy.all import IP, UDP, Ether, Raw, fragment

from ike_peer import IKE_AUTH, RESPONSE, SA, SA_INIT, Initiator
from netns import wait_until
from tunnel import Tunnel, ipsecctl

SIZE = 12 * 1024
PEER, SECRET = "198.51.100.77", "not a secret to anybody"
RULE = f"""ikev2 "large" passive esp from 10.0.1.0/24 to 10.0.9.0/24 local 192.0.2.1 peer {PEER} \\
    srcid server1.domain dstid large.domain psk "{SECRET}"
"""


class OneGateway(Tunnel):
    """server1 alone, with two workers."""

    def __enter__(self):
        try:
            self.start_capture()
            self.run_espd(self.server1)
            self.one.start()
        except BaseException:
            self.close()
            raise
        return self


@pytest.fixture(scope="module", params=["af_packet", "af_xdp"])
def gateway(request):
    with OneGateway("sysl", rules1=RULE, conf="workers 2\n", driver=request.param) as t:
        yield t
        t.one.stop()


def send(t, message, number):
    """The message in shuffled fragments, as the last router before server1 sends them."""
    whole = IP(src=PEER, dst="192.0.2.1", id=number, ttl=63) / UDP(sport=500, dport=500) / Raw(message)
    link = Ether(src=t.internet.read("/sys/class/net/to1/address").strip(),
                 dst=t.server1.read("/sys/class/net/wan/address").strip())
    pieces = [bytes(link / piece) for piece in fragment(whole, fragsize=1400)]
    assert len(pieces) == 1 or len(pieces) >= 9
    random.shuffle(pieces)
    t.send("to1", pieces)


def answers(t, initiator, exchange):
    found = []
    for packet in map(Ether, t.captured()):
        if UDP in packet and packet[IP].src == "192.0.2.1" and packet[UDP].sport == 500:
            message = bytes(packet[UDP].payload)
            if message[:8] == initiator.spi and message[18] == exchange and message[19] & RESPONSE:
                found.append(message)
    return found


def ask(t, initiator, request, exchange, number):
    """Sends and gives the answer; one alone, and one request seen by the engine."""
    mark = len(t.one.log())
    send(t, request, number)
    wait_until(f"the answer\n{t.server1.log('espd.log')}", lambda: answers(t, initiator, exchange))
    name = {SA_INIT: "IKE_SA_INIT", IKE_AUTH: "IKE_AUTH"}[exchange]
    assert t.one.log()[mark:].count(f"ikev2_recv: {name} request") == 1, t.one.log()[mark:]
    found = answers(t, initiator, exchange)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("seed", range(3))
def test_large_requests_are_answered_once(gateway, seed):
    t = gateway
    random.seed(seed)
    initiator = Initiator("large.domain", SECRET, ("10.0.9.0", "10.0.9.255"), ("10.0.1.0", "10.0.1.255"))
    request = initiator.sa_init(SIZE)
    assert len(request) >= SIZE
    initiator.read_sa_init(ask(t, initiator, request, SA_INIT, 1000 + seed))
    request = initiator.auth(SIZE)
    assert len(request) >= SIZE
    answer = initiator.read_auth(ask(t, initiator, request, IKE_AUTH, 2000 + seed))
    assert SA in answer
    ours, theirs = answer[SA][0][8:12], initiator.esp_spi
    listing = ipsecctl(t.server1, "-ss").stdout
    for spi in (ours, theirs):
        assert f"spi 0x{spi.hex()}" in listing, listing
