"""The profile for TRex makes the packets that it says. TRex itself is not here: its classes that
the profile uses are stood in for by what keeps their arguments; the packets are scapy's."""
import importlib.util
import os
import sys
import types

import pytest
from scapy.all import IP, UDP, Ether

PROFILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "trex", "gateway.py")
NAMES = ("STLFlowLatencyStats", "STLPktBuilder", "STLStream", "STLTXCont", "STLVmFixIpv4", "STLVmFlowVar", "STLVmWrFlowVar")


class Kept:
    def __init__(self, **kw):
        self.__dict__.update(kw)


@pytest.fixture(name="profile")
def fixture_profile(monkeypatch):
    api = types.ModuleType("trex_stl_lib.api")
    for name in NAMES:
        setattr(api, name, type(name, (Kept,), {}))
    api.IP, api.UDP, api.Ether = IP, UDP, Ether
    monkeypatch.setitem(sys.modules, "trex_stl_lib", types.ModuleType("trex_stl_lib"))
    monkeypatch.setitem(sys.modules, "trex_stl_lib.api", api)
    spec = importlib.util.spec_from_file_location("trex_gateway", PROFILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.register()


def packets(streams):
    return [Ether(bytes(s.packet.pkt)) for s in streams]


@pytest.mark.parametrize("size, lengths", [(64, [64]), (1420, [1420]), (0, [64, 570, 1420])])
def test_sizes(profile, size, lengths):
    made = packets(profile.get_streams(direction=0, tunables=["--size", str(size), "--latency", "0"]))
    assert [p[IP].len for p in made] == lengths
    assert [len(p) for p in made] == [14 + n for n in lengths]
    assert all(p[UDP].chksum == 0 and (p[IP].src, p[IP].dst) == ("10.0.1.13", "10.0.2.24") for p in made)


def test_other_direction(profile):
    p, = packets(profile.get_streams(direction=1, tunables=["--latency", "0"]))
    assert (p[IP].src, p[IP].dst) == ("10.0.2.24", "10.0.1.13")


def test_imix_shares(profile):
    streams = profile.get_streams(tunables=["--size", "0", "--latency", "0"])
    assert [s.mode.pps for s in streams] == [7, 4, 1]


def test_tunnels(profile):
    stream, = profile.get_streams(tunables=["--tunnels", "1000", "--site2", "10.1.0.0", "--latency", "0"])
    variable, write, checksum = stream.packet.vm
    assert (variable.min_value, variable.max_value, variable.size) == ("10.1.0.0", "10.1.3.231", 4)
    assert write.fv_name == variable.name and write.pkt_offset == "IP.dst" and checksum.offset == "IP"


def test_latency_stream(profile):
    load, timed = profile.get_streams(direction=1, tunables=["--tunnels", "9", "--latency", "500"])
    assert load.packet.vm and timed.packet.vm is None
    assert timed.mode.pps == 500 and timed.flow_stats.pg_id == 11


def test_size_out_of_range(profile):
    with pytest.raises(SystemExit):
        profile.get_streams(tunables=["--size", "1421"])
