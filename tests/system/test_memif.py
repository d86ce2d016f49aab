"""Gateways joined by memif instead of a wire: DPDK's thread makes and drops its connections while
the program is locked in.

    site1-host --- server1 === memif === server2 --- site2-host
"""
import os

import pytest

from manual import ManualTopology, received
from netns import program, wait_until

WAN = {"server1": {"wan": "192.0.2.1/24", "lan": "10.0.1.1/24", "router": "192.0.2.2"},
       "server2": {"wan": "192.0.2.2/24", "lan": "10.0.2.1/24", "router": "192.0.2.1"}}
ROLE = {"server1": "server", "server2": "client"}
# Else the driver makes another at each start, and neighbours send to the old one for up to half a minute.
MAC = {"server1": "02:00:00:00:00:01", "server2": "02:00:00:00:00:02"}


class Memif(ManualTopology):
    def __init__(self):
        super().__init__("tmemif")
        self.wan = WAN
        self.shared = os.path.join(self.internet.dir, "shared")
        os.mkdir(self.shared)
        for path in (self.internet.dir, self.shared):
            os.chmod(path, 0o777)  # espd has given root up when its peer comes

    def run_espd(self, gateway):
        gateway.write("/etc/penstock/espd.conf", f"""
port wan device "net_memif0,role={ROLE[gateway.name]},socket={self.shared}/wan.sock,socket-abstract=no" mac "{MAC[gateway.name]}"
port lan device "net_af_packet1,iface=int0"
standalone
""")
        before = gateway.log("espd.log").count("privileges:")
        proc = gateway.start("espd.log", program("penstock-espd"), "-d", "-v")
        wait_until("espd runs", lambda: gateway.log("espd.log").count("privileges:") > before or proc.poll() is not None)
        assert proc.poll() is None, gateway.log("espd.log")
        self.configure(gateway)
        self.protect(gateway)
        return proc


@pytest.fixture(name="memif", scope="module")
def fixture_memif():
    with Memif() as topology:
        yield topology


def test_peer_comes_goes_and_comes_back(memif):
    one = memif.run_espd(memif.server1)
    for _ in range(2):
        two = memif.run_espd(memif.server2)
        wait_until("packets pass through memif", lambda: received(memif.site1, "10.0.2.24", 1) == 1, 30)
        assert received(memif.site1, "10.0.2.24", 3) == 3
        memif.server2.stop(two)
        assert one.poll() is None, memif.server1.log("espd.log")
