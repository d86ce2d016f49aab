"""ICMP errors, byte by byte, against scapy's reading and its checksums."""

import os
import socket
import subprocess

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.packet import Raw

TTL, MTU, NO_ROUTE, ADMIN = range(4)
US4, US6 = "10.0.1.254", "2001:db8:1::fe"
SRC4, SRC6 = socket.inet_pton(socket.AF_INET, US4), socket.inet_pton(socket.AF_INET6, US6)


def error_about(kind, packet, mtu=0):
    data = bytes(packet)
    source = SRC4 if data[0] >> 4 == 4 else SRC6
    line = f"{kind} {mtu} {source.hex()} {data.hex()}\n"
    done = subprocess.run([os.environ["ICMP_CLI"]], input=line, text=True,
                          capture_output=True, check=True)
    text = done.stdout.strip()
    return None if text == "-" else bytes.fromhex(text)


def v4(size, **fields):
    return IP(src="10.0.1.1", dst="10.0.2.1", **fields) / UDP(sport=9, dport=53) / Raw(
        bytes(i % 251 for i in range(size - 28)))


def v6(size):
    return IPv6(src="2001:db8:1::1", dst="2001:db8:2::1") / UDP(sport=9, dport=53) / Raw(
        bytes(i % 251 for i in range(size - 48)))


def checksum(data):
    total = sum(int.from_bytes(data[i:i + 2].ljust(2, b"\0"), "big")
                for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@pytest.mark.parametrize("size", [28, 29, 100, 547, 548, 549, 1400, 1500])
@pytest.mark.parametrize("kind,icmp_type,code", [
    (TTL, 11, 0), (MTU, 3, 4), (NO_ROUTE, 3, 0), (ADMIN, 3, 13)])
def test_v4(kind, icmp_type, code, size):
    about = bytes(v4(size))
    data = error_about(kind, about, 1400)
    got = IP(data)
    assert (got.src, got.dst, got.proto, got.id) == (US4, "10.0.1.1", 1, 77)
    assert got.tos == 0xC0
    assert len(data) == got.len <= 576
    assert (got[ICMP].type, got[ICMP].code) == (icmp_type, code)
    quoted = data[28:]
    assert quoted == about[:548]
    if kind == MTU:
        assert got[ICMP].nexthopmtu == 1400
    again = IP(data[:20])
    del again.chksum
    assert bytes(again) == data[:20]
    assert checksum(data[20:]) == 0


@pytest.mark.parametrize("size", [48, 49, 100, 1232, 1233, 1500, 9000])
@pytest.mark.parametrize("kind,layer,code", [
    (TTL, ICMPv6TimeExceeded, 0), (MTU, ICMPv6PacketTooBig, 0),
    (NO_ROUTE, ICMPv6DestUnreach, 0), (ADMIN, ICMPv6DestUnreach, 1)])
def test_v6(kind, layer, code, size):
    about = bytes(v6(size))
    data = error_about(kind, about, 1400)
    got = IPv6(data)
    assert (got.src, got.dst, got.nh) == (US6, "2001:db8:1::1", 58)
    assert len(data) == 40 + got.plen <= 1280
    assert got[layer].code == code
    assert data[48:] == about[:1232]
    if kind == MTU:
        assert got[layer].mtu == 1400
    again = IPv6(data)
    del again[layer].cksum
    assert bytes(again)[:48] == data[:48]


@pytest.mark.parametrize("why,packet", [
    ("a later fragment", IP(src="10.0.1.1", dst="10.0.2.1", frag=1, proto=17) / Raw(b"x" * 8)),
    ("an error", IP(src="10.0.1.1", dst="10.0.2.1") / ICMP(type=3, code=1) / Raw(b"x" * 28)),
    ("a redirect", IP(src="10.0.1.1", dst="10.0.2.1") / ICMP(type=5, code=1) / Raw(b"x" * 28)),
    ("multicast", IP(src="10.0.1.1", dst="239.1.1.1") / UDP()),
    ("broadcast", IP(src="10.0.1.1", dst="255.255.255.255") / UDP()),
    ("an IPv6 error", IPv6(src="2001:db8::1", dst="2001:db8:2::1") / ICMPv6DestUnreach()
     / Raw(b"x" * 48)),
    ("IPv6 multicast", IPv6(src="2001:db8::1", dst="ff0e::1") / UDP()),
])
def test_none(why, packet):
    assert error_about(TTL, packet) is None, why


@pytest.mark.parametrize("why,kind,packet", [
    ("an echo request", TTL, IP(src="10.0.1.1", dst="10.0.2.1") / ICMP()),
    ("a first fragment", TTL, IP(src="10.0.1.1", dst="10.0.2.1", flags="MF") / UDP(len=80)
     / Raw(b"x" * 16)),
    ("TCP", MTU, IP(src="10.0.1.1", dst="10.0.2.1", flags="DF") / TCP()),
    ("an IPv6 echo request", TTL, IPv6(src="2001:db8::1", dst="2001:db8:2::1")
     / ICMPv6EchoRequest()),
    ("too big, to a group (RFC 4443 2.4 e.3)", MTU,
     IPv6(src="2001:db8::1", dst="ff0e::1") / UDP()),
])
def test_some(why, kind, packet):
    assert error_about(kind, packet, 1400) is not None, why
