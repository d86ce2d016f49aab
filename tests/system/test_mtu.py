"""Every packet size around the tunnel's MTU, with and without DF, IPv4 and IPv6 (field case B53)."""
import json

import pytest

from tunnel import Tunnel

# Echo requests of every size from one host. Prints, for each, "reply" or the MTU of the ICMP
# error that came instead. Errors are rate-limited: what stays unanswered is asked again.
PROBE = r"""
import json, socket, struct, sys, time
version, there, df, low, high = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "df", int(sys.argv[4]), int(sys.argv[5])
IP_MTU_DISCOVER, DONT, PROBE = 10, 0, 3
if version == 4:
    family, proto, head, request, reply, error = socket.AF_INET, socket.IPPROTO_ICMP, 20, 8, 0, (3, 4)
else:
    family, proto, head, request, reply, error = socket.AF_INET6, socket.IPPROTO_ICMPV6, 40, 128, 129, (2, 0)
s = socket.socket(family, socket.SOCK_RAW, proto)
if version == 4:
    s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PROBE if df else DONT)
else:
    s.setsockopt(socket.IPPROTO_IPV6, 23, PROBE)
s.settimeout(0.004)

def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff

def echo(size):
    body = bytes(range(256)) * 40
    packet = struct.pack("!BBHHH", request, 0, 0, 77, size) + body[:size - head - 8]
    return packet if version == 6 else packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]

seen = {}
def take():
    try:
        data, _ = s.recvfrom(65535)
    except (TimeoutError, socket.timeout):
        return False
    icmp = data[20:] if version == 4 else data
    if icmp[0] == reply and struct.unpack("!H", icmp[4:6])[0] == 77:
        size = struct.unpack("!H", icmp[6:8])[0]
        if icmp[8:] == echo(size)[8:]:
            seen[size] = "reply"
    elif (icmp[0], icmp[1]) == error:
        quoted = icmp[8:]
        if len(quoted) < head + 8:
            return True
        size = struct.unpack("!H", quoted[2:4])[0] if version == 4 else struct.unpack("!H", quoted[4:6])[0] + 40
        seen[size] = struct.unpack("!I", icmp[4:8])[0] & (0xffff if version == 4 else 0xffffffff)
    return True

for attempt in range(20):
    missing = [n for n in range(low, high + 1) if n not in seen]
    if not missing:
        break
    for size in missing:
        s.sendto(echo(size), (there, 0))
        while take():
            pass
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        take()
print(json.dumps(seen))
"""
V6 = {"server1": ("fd00:1::1", "fd00:1::13"), "server2": ("fd00:2::1", "fd00:2::24")}


def rules(childsa):
    """The FAQ's rules for IPv4 and IPv6 sites."""
    sites = ("from 10.0.{0}.0/24 to 10.0.{1}.0/24 from fd00:{0}::/64 to fd00:{1}::/64 "
             "local {2} peer {3} ") + childsa + " {4}\n"
    return ("ikev2 passive esp " + sites.format(1, 2, "192.0.2.1", "198.51.100.1", "srcid server1.domain rsa"),
            "ikev2 active esp " + sites.format(2, 1, "198.51.100.1", "192.0.2.1", "srcid server2.domain rsa"))


@pytest.fixture(name="topology")
def fixture_topology(request):
    with Tunnel("mtut", *rules(request.param)) as t:
        for gateway, site in ((t.server1, t.site1), (t.server2, t.site2)):
            router, host = V6[gateway.name]
            gateway.run("ip", "addr", "add", f"{router}/64", "dev", "lan", "nodad")
            site.run("ip", "addr", "add", f"{host}/64", "dev", "eth0", "nodad")
            site.run("ip", "route", "add", "default", "via", router)
        yield t


def probe(host, version, there, df):
    return {int(size): what for size, what in json.loads(host.run(
        "/usr/bin/python3", "-c", PROBE, version, there, "df" if df else "-", 1300, 1500).stdout).items()}


@pytest.mark.parametrize("topology", ["childsa enc aes-256 auth hmac-sha2-256", "childsa enc aes-256-gcm"], indirect=True)
def test_no_size_is_lost_between_the_fitting_and_the_refused(topology):
    for version, there in ((4, "10.0.2.24"), (6, "fd00:2::24")):
        seen = probe(topology.site1, version, there, True)
        assert sorted(seen) == list(range(1300, 1501)), "sizes without any answer"
        fit = [size for size, what in seen.items() if what == "reply"]
        told = {what for what in seen.values() if what != "reply"}
        assert told == {max(fit)}, "the error names the largest size that passes"
        assert sorted(fit) == list(range(1300, max(fit) + 1))
        # One byte more would not have fitted into 1,500: IV, padding, trailer, ICV, ESP, IP.
        assert 1500 - 86 <= max(fit) <= 1500 - 52
    without = probe(topology.site1, 4, "10.0.2.24", False)
    assert without == {size: "reply" for size in range(1300, 1501)}, "without DF all pass, in fragments"
