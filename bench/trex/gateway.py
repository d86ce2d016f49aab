"""TRex profile (stateless): clear UDP from the hosts of one site to those of the other, for a
gateway, or two back to back, between TRex's ports 0 and 1.

Tunables, last on the line (console: start -f gateway.py -m 1mpps -t --size 64 --tunnels 1000):
  --size BYTES     inner IP packet length 64 to 1420, or 0 for IMIX (7 of 64, 4 of 570, 1 of 1420)
  --tunnels N      destinations, one host behind each tunnel; their order is TRex's random one
  --site1 --site2  first host of each site
  --latency PPS    packets a second that carry a time stamp and a number; 0: none

Link addresses are those of TRex's own configuration file. docs/benchmarking.md says how the
gateway is told who is behind the generator."""
import argparse
import ipaddress

from trex_stl_lib.api import (  # pylint: disable=import-error
    IP, UDP, Ether, STLFlowLatencyStats, STLPktBuilder, STLStream, STLTXCont, STLVmFixIpv4, STLVmFlowVar,
    STLVmWrFlowVar)

IMIX = ((64, 7), (570, 4), (1420, 1))
LATENCY_ID = 10  # and 11 for the other direction


def packet(size, src, dst):
    """An Ethernet frame around `size` bytes of IP."""
    head = IP(src=str(src), dst=str(dst)) / UDP(sport=5000, dport=5001, chksum=0)  # TRex changes what it would cover
    return Ether() / head / (b"\x55" * (size - len(head)))


def spread_over(dst, n):
    """Instructions that give each packet one of n destinations."""
    if n == 1:
        return None
    return [STLVmFlowVar(name="dst", min_value=str(dst), max_value=str(dst + n - 1), size=4, op="random"),
            STLVmWrFlowVar(fv_name="dst", pkt_offset="IP.dst"),
            STLVmFixIpv4(offset="IP")]


class Gateway:
    """What register() returns: TRex asks it for the streams of each direction."""

    def get_streams(self, direction=0, tunables=(), **_):
        p = argparse.ArgumentParser()
        p.add_argument("--size", type=int, default=64)
        p.add_argument("--tunnels", type=int, default=1)
        p.add_argument("--site1", type=ipaddress.IPv4Address, default="10.0.1.13")
        p.add_argument("--site2", type=ipaddress.IPv4Address, default="10.0.2.24")
        p.add_argument("--latency", type=int, default=1000)
        args = p.parse_args(tunables)
        if args.size != 0 and not 64 <= args.size <= 1420:
            p.error("--size is 0 or 64 to 1420")
        ends = (args.site1, args.site2) if direction == 0 else (args.site2, args.site1)
        sizes = ((args.size, 1),) if args.size else IMIX
        streams = [STLStream(packet=STLPktBuilder(pkt=packet(size, *ends), vm=spread_over(ends[1], args.tunnels)),
                             mode=STLTXCont(pps=share))
                   for size, share in sizes]
        if args.latency:
            # One destination: the receiver would call another one's packets reordered.
            streams.append(STLStream(packet=STLPktBuilder(pkt=packet(args.size or 64, *ends), vm=None),
                                     mode=STLTXCont(pps=args.latency),
                                     flow_stats=STLFlowLatencyStats(pg_id=LATENCY_ID + direction)))
        return streams


def register():
    return Gateway()
