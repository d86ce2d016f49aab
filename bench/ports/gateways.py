"""Two gateways between two sites on virtual ports, a probe through them, and how to report."""
import argparse
import json
import os
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
os.environ.setdefault("PENSTOCK_BUILD", os.path.join(ROOT, "build"))

from iked import FAQ_SERVER1, FAQ_SERVER2  # noqa: E402
from netns import Topology, link, sh  # noqa: E402
from tunnel import Tunnel, received  # noqa: E402

PROBE = os.path.join(os.environ["PENSTOCK_BUILD"], "bench", "ports", "probe")
SITE1, SITE2 = "10.0.1.13", "10.0.2.24"


def suite(rule, childsa):
    """The FAQ's rule with a `childsa`, which the grammar wants before the identities."""
    head, _, tail = rule.partition("srcid" if "srcid" in rule else "dstid")
    return head + childsa + " \\\n      " + ("srcid" if "srcid" in rule else "dstid") + tail


class Gateways(Tunnel):
    """Established on entry. No capture: it would cost what is measured."""

    def __init__(self, prefix, childsa, **kw):
        super().__init__(prefix, suite(FAQ_SERVER1, childsa), suite(FAQ_SERVER2, childsa), **kw)

    def start_capture(self):
        pass

    def __enter__(self):
        super().__enter__()
        if received(self.site1, SITE2, 3) == 0:
            self.close()
            raise RuntimeError("the tunnel is up, but no ping passes")
        return self

    def probe(self, rate, seconds, size, back_to_back=False):
        return probe(self.site1, self.site2, rate, seconds, size, back_to_back)

    def cpu_seconds(self):
        """CPU time that the two data planes took until now."""
        tick = os.sysconf("SC_CLK_TCK")
        total = 0
        for host in (self.server1, self.server2):
            with open(f"/proc/{host.pid_of(self.espd[host.name])}/stat") as f:
                fields = f.read().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / tick
        return total


class Wire(Topology):
    """The two sites joined by one link: what the probe itself can do."""

    def __init__(self, prefix):
        super().__init__(prefix)
        self.site1, self.site2 = self.host("site1-host"), self.host("site2-host")
        link(self.site1, "eth0", self.site2, "eth0")
        for host, address, there in ((self.site1, SITE1, SITE2), (self.site2, SITE2, SITE1)):
            host.run("ip", "addr", "add", address + "/32", "dev", "eth0")
            host.run("ip", "route", "add", there + "/32", "dev", "eth0")
        received(self.site1, SITE2, 3)

    def probe(self, rate, seconds, size, back_to_back=False):
        return probe(self.site1, self.site2, rate, seconds, size, back_to_back)


def steal_ticks():
    with open("/proc/stat") as f:
        return int(f.readline().split()[8])


def probe(one, two, rate, seconds, size, back_to_back=False):
    """The probe's counts, with the machine's stolen time meanwhile."""
    args = [f"/proc/{one.holder.pid}/ns/net", f"/proc/{two.holder.pid}/ns/net", SITE1, SITE2, rate, seconds, size]
    before = steal_ticks()
    result = json.loads(sh(PROBE, *(["-b"] if back_to_back else []), *args).stdout)
    result["steal_ticks"] = steal_ticks() - before
    result["loss"] = 1 - result["received"] / result["sent"]
    return result


def capacity(target, size, args):
    """Packets a second that come through when more are sent than can: the best of three."""
    best = 0
    for _ in range(1 if args.quick else 3):
        r = target.probe(2e6, 0.2 if args.quick else 1, size)
        best = max(best, r["received"] / r["sending_s"])
    return best


def cpu_name():
    with open("/proc/cpuinfo") as f:
        return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))


def median_spread(values):
    """Median, smallest, largest."""
    return statistics.median(values), min(values), max(values)


def table(head, rows):
    text = [[str(c) for c in row] for row in [head] + rows]
    widths = [max(len(row[i]) for row in text) for i in range(len(head))]
    for row in text:
        print("  ".join(c.rjust(w) for c, w in zip(row, widths)))


def arguments(description, **defaults):
    """The options that all of these measurements have."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--driver", choices=("af_packet", "af_xdp", "tap"), default="af_packet")
    p.add_argument("--childsa", default="childsa enc aes-256-gcm", help="as in iked.conf")
    p.add_argument("--sizes", default=defaults.get("sizes", "64,512,1420"),
                   help="inner IP packet lengths (default %(default)s)")
    p.add_argument("--repeat", type=int, default=defaults.get("repeat", 5))
    p.add_argument("--seconds", type=float, default=defaults.get("seconds", 10))
    p.add_argument("--json", metavar="FILE")
    p.add_argument("--quick", action="store_true", help="seconds only, to see that it works")
    args = p.parse_args()
    if os.geteuid() != 0:
        p.error("namespaces and ports need root")
    args.sizes = [int(s) for s in args.sizes.split(",")]
    if args.quick:
        args.sizes, args.repeat, args.seconds = args.sizes[:1], 1, 0.3
    return args


def finish(args, bench, rows, **more):
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"bench": bench, "cpu": cpu_name(), **more, "rows": rows}, f, indent=1)
