#!/usr/bin/python3
"""Throughput with no loss and latency under load, by TRex (stateless) through a gateway.

Bisects the packets a second of port 0 until the highest at which at most --loss of them is missing
at port 1, then measures latency at 10, 50 and 90 per cent of it. Run it with TRex's Python path
(automation/trex_control_plane/interactive) beside a TRex server (t-rex-64 -i); the profile
gateway.py, in this directory, makes the packets."""
import argparse
import json
import os
import statistics
import sys
import time

from trex_stl_lib.api import STLClient, STLProfile  # pylint: disable=import-error

PROFILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gateway.py")
LATENCY_ID = 10


class Generator:
    """Two ports of a TRex server."""

    def __init__(self, args):
        self.args = args
        self.client = STLClient(server=args.server)
        self.client.connect()
        self.client.reset(ports=[0, 1])

    def load(self, size, latency):
        """The streams of port 0 for packets of this size."""
        tunables = ["--size", str(size), "--tunnels", str(self.args.tunnels), "--site1", self.args.site1,
                    "--site2", self.args.site2, "--latency", str(latency)]
        self.client.remove_all_streams(ports=[0])
        self.client.add_streams(STLProfile.load_py(PROFILE, direction=0, tunables=tunables).get_streams(), ports=[0])

    def run(self, pps, seconds):
        """Share lost, and TRex's latency record if there is a stream for it."""
        self.client.clear_stats()
        self.client.start(ports=[0], mult=f"{pps}pps", duration=seconds, force=True)
        self.client.wait_on_traffic(ports=[0], rx_delay_ms=500)
        stats = self.client.get_stats()
        sent, received = stats[0]["opackets"], stats[1]["ipackets"]
        if sent == 0:
            sys.exit("TRex sent nothing: are the links up?")
        pgid = self.client.get_pgid_stats([LATENCY_ID]).get("latency", {}).get(LATENCY_ID)
        return {"pps": pps, "sent": sent, "received": received, "loss": max(0.0, 1 - received / sent), "latency": pgid}


def search(generator, size, args):
    """Packets a second, to within --precision."""
    low, high = 0, args.highest
    generator.load(size, 0)
    while high - low > args.precision * high:
        pps = (low + high) // 2
        if pps == low:
            break
        if generator.run(pps, args.seconds)["loss"] <= args.loss:
            low = pps
        else:
            high = pps
        time.sleep(1)
    return low


def latency_rows(generator, size, full, args):
    generator.load(size, args.latency)
    for load in (0.1, 0.5, 0.9):
        pps = max(2 * args.latency, int(full * load))
        found = generator.run(pps, args.seconds)
        record = found["latency"]["latency"]
        yield {"size": size, "load": load, "pps": pps, "loss": found["loss"], "average_us": record["average"],
               "jitter_us": record["jitter"], "max_us": record["total_max"], "histogram": record["histogram"],
               "errors": found["latency"]["err_cntrs"]}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--server", default="127.0.0.1")
    p.add_argument("--sizes", default="64,512,1420", help="inner IP packet lengths; 0 is IMIX")
    p.add_argument("--tunnels", type=int, default=1)
    p.add_argument("--site1", default="10.0.1.13")
    p.add_argument("--site2", default="10.0.2.24")
    p.add_argument("--highest", type=int, default=30000000, help="packets a second")
    p.add_argument("--loss", type=float, default=0, help="tolerated share")
    p.add_argument("--precision", type=float, default=0.005)
    p.add_argument("--seconds", type=float, default=10)
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--latency", type=int, default=1000, help="packets a second with a time stamp")
    p.add_argument("--json", metavar="FILE")
    args = p.parse_args()
    generator, rows = Generator(args), []
    try:
        for size in map(int, args.sizes.split(",")):
            found = [search(generator, size, args) for _ in range(args.repeat)]
            full = statistics.median(found)
            rows.append({"size": size, "pps": full, "pps_min": min(found), "pps_max": max(found), "loss": args.loss})
            print(f"{size} bytes: {full:.0f} packets/s ({min(found)}..{max(found)}), loss at most {args.loss:g}", flush=True)
            for row in latency_rows(generator, size, full, args):
                rows.append(row)
                print(f"  at {row['load']:.0%}: average {row['average_us']:.0f} us, jitter {row['jitter_us']:.0f}, "
                      f"most {row['max_us']:.0f}, loss {100 * row['loss']:.4f} %", flush=True)
    finally:
        generator.client.disconnect()
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump({"bench": "trex", "rows": rows}, f, indent=1)


if __name__ == "__main__":
    main()
