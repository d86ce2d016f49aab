"""An IKE datagram of 12 KiB in shuffled IP fragments reaches the engine once, whatever the workers.

The ports are af_xdp's: DPDK's af_packet driver has the kernel reassemble IPv4 fragments (a fanout
group with defragmentation) and cuts off what is then longer than a frame of its ring.
"""
import random
import struct

import pytest
from scapy.all import IP, UDP, Ether, Raw, fragment

from netns import wait_until
from tunnel import Tunnel

SIZE = 12 * 1024
SA_INIT, RESPONSE, VENDOR_ID = 34, 0x20, 43


@pytest.fixture(scope="module")
def tunnel():
    with Tunnel("sysl", conf="workers 2\n", driver="af_xdp") as t:
        yield t
        for daemon in (t.two, t.one):
            daemon.stop()


def ike_messages(frames):
    """(frame, IKE message) of each whole datagram of port 500."""
    for frame in frames:
        packet = Ether(frame)
        if UDP in packet and 500 in (packet[UDP].sport, packet[UDP].dport):
            message = bytes(packet[UDP].payload)
            if len(message) >= 28:
                yield packet, message


def padded(message, spi):
    """The IKE_SA_INIT request under another SPI, with vendor IDs behind its last payload."""
    out = bytearray(spi + message[8:])
    at = 16
    pos = 28
    while out[at]:
        at, pos = pos, pos + struct.unpack_from(">H", out, pos + 2)[0]
    while len(out) < SIZE:
        length = min(1004, max(20, SIZE - len(out)))
        out[at] = VENDOR_ID
        at = len(out)
        out += struct.pack(">BBH", 0, 0, length) + bytes(random.randrange(256) for _ in range(length - 4))
    struct.pack_into(">I", out, 24, len(out))
    return bytes(out)


def answers(t, spi):
    return [m for p, m in ike_messages(t.captured())
            if m[:8] == spi and m[18] == SA_INIT and m[19] & RESPONSE and p[IP].src == "192.0.2.1"]


@pytest.mark.parametrize("seed", range(4))
def test_a_shuffled_request_is_answered_once(tunnel, seed):
    t = tunnel
    random.seed(seed)
    packet, message = next((p, m) for p, m in ike_messages(t.captured())
                           if m[18] == SA_INIT and not m[19] & RESPONSE and p[IP].src == "198.51.100.1")
    spi = bytes(random.randrange(1, 256) for _ in range(8))
    request = padded(message, spi)
    assert len(request) >= SIZE
    whole = IP(src="198.51.100.1", dst="192.0.2.1", id=1000 + seed, ttl=63) / UDP(sport=500, dport=500) / Raw(request)
    pieces = [bytes(Ether(src=packet[Ether].src, dst=packet[Ether].dst) / piece)
              for piece in fragment(whole, fragsize=1400)]
    assert len(pieces) >= 9
    random.shuffle(pieces)
    mark = len(t.one.log())
    t.send("to1", pieces)
    wait_until("the answer", lambda: answers(t, spi))
    log = t.one.log()[mark:]
    assert log.count("ikev2_recv: IKE_SA_INIT request") == 1, log
    assert len(answers(t, spi)) == 1


def test_the_tunnel_did_not_mind(tunnel):
    assert tunnel.one.is_established("FQDN/server2.domain") and tunnel.two.is_established("FQDN/server1.domain")
