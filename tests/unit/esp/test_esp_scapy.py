"""ESP against scapy's implementation of it, which shares no line with ours: what one side
encapsulates the other must read, in tunnel and transport mode, over IPv4 and IPv6, in UDP or
not, with and without extended sequence numbers."""

import hmac
import os
import struct
import subprocess

import pytest
from scapy.all import IP, IPv6, TCP, UDP, Raw, raw
from scapy.layers.ipsec import ESP, SecurityAssociation

CBC, CTR, GCM, CHACHA, DES3, NULL = 12, 13, 20, 28, 3, 11
HMACS = {"HMAC-SHA1-96": (2, 20), "SHA2-256-128": (12, 32), "SHA2-384-192": (13, 48),
         "SHA2-512-256": (14, 64)}
# ours, bytes of key, scapy's name, bytes of salt
CIPHERS = [(CBC, 16, "AES-CBC", 0), (CBC, 24, "AES-CBC", 0), (CBC, 32, "AES-CBC", 0),
           (CTR, 16, "AES-CTR", 4), (CTR, 32, "AES-CTR", 4), (DES3, 24, "3DES", 0),
           (NULL, 0, "NULL", 0)]
AEADS = [(GCM, 16, "AES-GCM", 4), (GCM, 24, "AES-GCM", 4), (GCM, 32, "AES-GCM", 4),
         (CHACHA, 32, "CHACHA20-POLY1305", 4)]
SUITES = [c + (h,) for c in CIPHERS for h in HMACS] + [a + (None,) for a in AEADS]
SIZES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 31, 63, 64, 65, 100, 511, 1200, 1380]
SPI = 0x12345678
FAMILIES = [(4, 4), (4, 6), (6, 4), (6, 6)]
ESN_STARTS = [1, 0xfffffff0, 0x100000000, 0x2fffffff5]
if os.environ.get("ESP_ARCH", "auto") != "auto":
    # The other code paths of the cipher library: what differs there is the ciphers alone.
    SIZES, FAMILIES, ESN_STARTS = [0, 5, 16, 65, 511, 1380], FAMILIES[:1], ESN_STARTS[1:2]


def name(suite):
    return f"{suite[2]}-{suite[1] * 8}-{suite[4]}"


class Cli:
    def __init__(self):
        self.p = subprocess.Popen([os.environ["ESP_CLI"], os.environ.get("ESP_ARCH", "auto")],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        return self.p.stdout.readline().strip()

    def packet(self, verb, data):
        answer = self.ask(f"{verb} {bytes(data).hex()}").split()
        assert answer[0] == "pkt", answer
        return bytes.fromhex(answer[1])


@pytest.fixture(scope="module")
def cli():
    c = Cli()
    if c.ask("hello") == "" and c.p.wait() == 77:
        pytest.skip("the CPU does not have these instructions")
    yield c
    c.p.stdin.close()
    assert c.p.wait() == 0


def keys(suite):
    key = bytes((7 * i + 3) & 255 for i in range(suite[1] + suite[3]))
    if suite[0] == DES3:
        key = bytes(range(1, 25))
    integ = bytes((5 * i + 1) & 255 for i in range(HMACS[suite[4]][1])) if suite[4] else b""
    return key, integ


OUTER = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
INNER = {4: ("10.0.1.2", "10.0.2.2"), 6: ("fd01::2", "fd02::2")}


def both(cli, direction, suite, outer, mode="tunnel", udp=False, esn=False, seq=1):
    """An SA on our side for this direction, and scapy's of the same."""
    key, integ = keys(suite)
    local, remote = OUTER[outer] if direction == "out" else OUTER[outer][::-1]
    ports = (4500, 61507) if udp and direction == "out" else (4500, 4500) if udp else (0, 0)
    assert cli.ask(f"sa {direction} {mode} {suite[0]} {suite[1]} "
                   f"{HMACS[suite[4]][0] if suite[4] else 0} {key.hex() or '-'} "
                   f"{integ.hex() or '-'} {SPI} {'esn' if esn else 'noesn'} {local} {ports[0]} "
                   f"{remote} {ports[1]} 1600 {seq}") == "ok"
    a, b = OUTER[outer]
    ip = IP(src=a, dst=b) if outer == 4 else IPv6(src=a, dst=b)
    sa = SecurityAssociation(
        ESP, spi=SPI, seq_num=seq & 0xffffffff, crypt_algo=suite[2], crypt_key=key,
        auth_algo=suite[4] or "NULL", auth_key=integ or None,
        tunnel_header=ip if mode == "tunnel" else None, esn_en=esn, esn=seq >> 32)
    if esn and suite[4]:
        sa.auth_algo = EsnHmac(sa, suite[4])
    return sa


class EsnHmac:
    """scapy leaves the high half of the number out of ESP's HMAC; RFC 4303 2.2.1 has it. From
    2.6 on scapy hands the number over too; the SA has it already."""

    def __init__(self, sa, algorithm):
        self.sa = sa
        self.digest, self.icv_size = {"HMAC-SHA1-96": ("sha1", 12), "SHA2-256-128": ("sha256", 16),
                                      "SHA2-384-192": ("sha384", 24),
                                      "SHA2-512-256": ("sha512", 32)}[algorithm]

    def icv(self, esp, key):
        covered = raw(esp) + self.sa.esn.to_bytes(4, "big")
        return hmac.new(key, covered, self.digest).digest()[:self.icv_size]

    def sign(self, esp, key, **_number):
        esp.data += self.icv(esp, key)

    def verify(self, esp, key, **_number):
        esp = esp.copy()
        got, esp.data = esp.data[-self.icv_size:], esp.data[:-self.icv_size]
        assert got == self.icv(esp, key)


def in_udp(packet, sport, dport):
    """Puts a UDP header between the IP header and ESP, byte by byte."""
    data, at = raw(packet), 20 if packet.version == 4 else 40
    udp = struct.pack("!HHHH", sport, dport, len(data) - at + 8, 0)
    ip = (IP if packet.version == 4 else IPv6)(data[:at])
    if packet.version == 4:
        ip.proto, ip.len = 17, len(data) + 8
        del ip.chksum
    else:
        ip.nh, ip.plen = 17, len(data) - at + 8
    return raw(ip) + udp + data[at:]


def out_of_udp(data):
    """The opposite, for scapy to read."""
    at = 20 if data[0] >> 4 == 4 else 40
    ip = (IP if at == 20 else IPv6)(data[:at])
    if at == 20:
        ip.proto, ip.len = 50, len(data) - 8
        del ip.chksum
    else:
        ip.nh, ip.plen = 50, len(data) - at - 8
    return raw(ip) + data[at + 8:]


def inner(family, size, addrs=INNER, proto=UDP):
    a, b = addrs[family]
    ip = IP(src=a, dst=b, ttl=63, id=77) if family == 4 else IPv6(src=a, dst=b, hlim=63)
    data = bytes((i * 11) & 255 for i in range(size))
    return (IP if family == 4 else IPv6)(raw(ip / proto(sport=5001, dport=5002) / Raw(data)))


def outer_is_right(packet, data, udp):
    """Lengths and checksums of the outer headers as a strict reader sees them."""
    again = packet.copy()
    if packet.version == 4:
        del again.chksum
        assert packet.len == len(data)
    else:
        assert packet.plen == len(data) - 40
    fresh = type(packet)(raw(again))
    if packet.version == 4:
        assert fresh.chksum == packet.chksum
    if udp:
        u = packet[UDP]
        assert (u.sport, u.dport) == (4500, 61507)
        assert u.len == len(data) - (packet.ihl * 4 if packet.version == 4 else 40)
        if packet.version == 4:
            assert u.chksum == 0
        else:
            del again[UDP].chksum
            assert type(packet)(raw(again))[UDP].chksum == u.chksum
    else:
        assert packet.proto == 50 if packet.version == 4 else packet.nh == 50


def scapy_reads(sa, data, outer, udp, mode, esn):
    cls = IP if outer == 4 else IPv6
    outer_is_right(cls(data), data, udp)
    esp = cls(out_of_udp(data) if udp else data)
    return sa.decrypt(esp, verify=True, esn_en=esn or None, esn=sa.esn if esn else None)


def same_inner(got, want):
    """Byte for byte; the fields that transport mode leaves to the outer header are recomputed."""
    assert bytes(got) == bytes(want)


@pytest.mark.parametrize("suite", SUITES, ids=name)
@pytest.mark.parametrize("outer,inside", FAMILIES)
def test_tunnel(cli, suite, outer, inside):
    theirs = both(cli, "out", suite, outer)
    for size in SIZES:
        want = inner(inside, size)
        got = scapy_reads(theirs, cli.packet("enc", want), outer, False, "tunnel", False)
        same_inner(got, want)
    theirs = both(cli, "in", suite, outer)
    for size in SIZES:
        want = inner(inside, size)
        assert cli.packet("dec", raw(theirs.encrypt(want))) == raw(want)


@pytest.mark.parametrize("suite", SUITES, ids=name)
@pytest.mark.parametrize("outer", [4, 6])
def test_transport(cli, suite, outer):
    theirs = both(cli, "out", suite, outer, mode="transport")
    for size in SIZES[::2]:
        want = inner(outer, size, OUTER)
        got = scapy_reads(theirs, cli.packet("enc", want), outer, False, "transport", False)
        same_inner(got, want)
    theirs = both(cli, "in", suite, outer, mode="transport")
    for size in SIZES[::2]:
        want = inner(outer, size, OUTER)
        assert cli.packet("dec", raw(theirs.encrypt(want))) == raw(want)


@pytest.mark.parametrize("suite", [SUITES[9], SUITES[-2], SUITES[-1]], ids=name)
@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("mode", ["tunnel", "transport"])
def test_udp_encapsulation(cli, suite, outer, mode):
    """B34: the peer's port is 61507, whose bytes differ when they are swapped."""
    addrs = INNER if mode == "tunnel" else OUTER
    theirs = both(cli, "out", suite, outer, mode=mode, udp=True)
    for size in range(0, 65):
        want = inner(outer, size, addrs)
        got = scapy_reads(theirs, cli.packet("enc", want), outer, True, mode, False)
        same_inner(got, want)
    theirs = both(cli, "in", suite, outer, mode=mode, udp=True)
    for size in range(0, 65):
        want = inner(outer, size, addrs, TCP if size & 1 else UDP)
        packet = in_udp(theirs.encrypt(want), 61507, 4500)
        assert cli.packet("dec", packet) == raw(want)


@pytest.mark.parametrize("suite", [s for s in SUITES if s[0] not in (DES3, NULL)], ids=name)
@pytest.mark.parametrize("start", ESN_STARTS, ids=hex)
def test_esn(cli, suite, start):
    """The high half is in the ICV but not on the wire, also where the low half wraps."""
    theirs = both(cli, "out", suite, 4, esn=True, seq=start)
    for k in range(24):
        theirs.esn = (start + k) >> 32
        want = inner(4, 40 + k)
        got = scapy_reads(theirs, cli.packet("enc", want), 4, False, "tunnel", True)
        same_inner(got, want)
    theirs = both(cli, "in", suite, 4, esn=True, seq=start)
    for k in range(24):
        want = inner(4, 40 + k)
        n = start + k
        theirs.esn, theirs.seq_num = n >> 32, n & 0xffffffff
        packet = theirs.encrypt(want)
        assert cli.packet("dec", raw(packet)) == raw(want)


@pytest.mark.parametrize("suite", SUITES, ids=name)
def test_flipped_bits_are_refused(cli, suite):
    """A bit anywhere behind the IP header: never accepted (the SPI's: no such SA)."""
    theirs = both(cli, "in", suite, 4)
    good = raw(theirs.encrypt(inner(4, 50)))
    for at in list(range(20, len(good), 9)) + [len(good) - 1]:
        bad = bytearray(good)
        bad[at] ^= 1 << (at & 7)
        answer = cli.ask(f"dec {bytes(bad).hex()}")
        assert answer in ("drop bad-icv", "drop no-sa"), (at, answer)
    assert cli.packet("dec", good) == raw(inner(4, 50))
    assert cli.ask(f"dec {good.hex()}") == "drop replay"


@pytest.mark.parametrize("suite", [SUITES[0], SUITES[8]], ids=name)
def test_cbc_iv_is_fresh(cli, suite):
    """B59: IVs of equal packets differ and are no earlier cipher block."""
    both(cli, "out", suite, 4)
    seen, blocks, last, differences = set(), set(), None, set()
    for _ in range(500):
        data = cli.packet("enc", inner(4, 64))
        iv, rest = data[28:44], data[44:]
        assert iv not in seen and iv not in blocks
        seen.add(iv)
        if last:
            differences.add(int.from_bytes(iv, "big") ^ int.from_bytes(last, "big"))
        last = iv
        blocks.update(rest[i:i + 16] for i in range(0, len(rest) - 15, 16))
    assert len(differences) == 499
