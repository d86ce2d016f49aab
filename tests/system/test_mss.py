"""The MSS of TCP handshakes through a tunnel is what the SA's inner MTU leaves, to the byte."""
import re

import pytest

from manual import ManualTopology
from netns import wait_until

# Outer 1500: 20 IP, 8 ESP, 16 IV, 16 ICV leave 1440, whole blocks; 2 of the trailer: 1438 inside.
INNER = 1438
SERVER = """
import socket
s = socket.create_server(("::", 8000), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    s.accept()[0].close()
"""
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 8000), 5).close()"
FAMILIES = {4: (INNER - 40, "10.0.2.24"), 6: (INNER - 60, "fd00:2::24")}
WITHOUT = {4: 1460, 6: 1440}


@pytest.fixture(scope="module")
def topology():
    with ManualTopology("mss") as t:
        t.site2.start("server", "/usr/bin/python3", "-c", SERVER)
        yield t


def handshake(t, address):
    """The MSS in the SYN as site2 got it, and in the SYN-ACK as site1 got it."""
    logs = {}
    for site in (t.site1, t.site2):
        logs[site.name] = site.start(f"tcp-{site.name}", "tcpdump", "-l", "-n", "--immediate-mode", "-i", "eth0", "tcp")
        wait_until("tcpdump listens", lambda s=site: "listening" in s.log(f"tcp-{s.name}"))

    def seen(site, flags):
        return re.findall(rf"Flags \[{flags}\].*?mss (\d+)", site.log(f"tcp-{site.name}"))
    counts = [len(seen(t.site2, "S")), len(seen(t.site1, "S\\."))]
    answer = t.site1.run("/usr/bin/python3", "-c", CONNECT, address, check=False)
    assert answer.returncode == 0, answer.stdout
    wait_until("both were captured",
               lambda: len(seen(t.site2, "S")) > counts[0] and len(seen(t.site1, "S\\.")) > counts[1])
    for site in (t.site1, t.site2):
        site.stop(logs[site.name])
    return int(seen(t.site2, "S")[-1]), int(seen(t.site1, "S\\.")[-1])


def run(t, conf1, conf2):
    procs = [t.start(g, conf) for g, conf in ((t.server1, conf1), (t.server2, conf2))]
    for g in (t.server1, t.server2):
        t.protect(g)
    result = {family: handshake(t, address) for family, (_, address) in FAMILIES.items()}
    for g, proc in zip((t.server1, t.server2), procs):
        g.stop(proc)
    return result


def test_one_side_clamps_what_goes_in_and_what_comes_out(topology):
    """server2 alone: the SYN as it leaves the SA, the SYN-ACK before it goes into one."""
    seen = run(topology, "mss-clamp no\n", "")
    assert seen == {family: (mss, mss) for family, (mss, _) in FAMILIES.items()}


def test_off_and_a_limit_of_the_administrator(topology):
    assert run(topology, "mss-clamp no\n", "mss-clamp no\n") == {f: (m, m) for f, m in WITHOUT.items()}
    assert run(topology, "mss-clamp no\n", "mss-clamp 1300\n") == {4: (1300, 1300), 6: (1300, 1300)}
