"""Two FAQ gateways with espd and iked, a capture of the internet, and what they can be asked."""
import json
import re
import signal
import struct

from iked import FAQ_SERVER1, FAQ_SERVER2, Iked, exchange_keys
from netns import FaqTopology, program, wait_until

PCAP = "/run/internet.pcap"
SEND = """
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
for n, line in enumerate(sys.stdin):
    s.send(bytes.fromhex(line))
    if n % 64 == 63:
        time.sleep(0.01)
"""


class Tunnel(FaqTopology):
    """Started and established on entry. `espd` holds the data planes by the gateway's name."""

    def __init__(self, prefix, rules1=FAQ_SERVER1, rules2=FAQ_SERVER2, conf="", nat=False, driver="af_packet"):
        super().__init__(prefix, nat=nat)
        self.conf, self.driver = conf, driver
        self.capture = None
        self.espd = {}
        self.one, self.two = Iked(self.server1, rules1), Iked(self.server2, rules2)

    def __enter__(self):
        try:
            self.start_capture()
            for host in (self.server1, self.server2):
                self.run_espd(host)
            self.one.start()
            self.two.start()
            exchange_keys(self.one, "server1.domain", self.two, "server2.domain")
            self.two.ikectl("reset", "all")
            self.two.wait_established("FQDN/server1.domain", 30)
            self.one.wait_established("FQDN/server2.domain", 30)
        except BaseException:
            self.close()
            raise
        return self

    # ---- the data plane ----

    def run_espd(self, host):
        self.espd[host.name] = self.start_espd(host, conf=self.conf, driver=self.driver)

    def kill_espd(self, host):
        host.stop(self.espd.pop(host.name), signal.SIGKILL)

    # ---- the internet ----

    def start_capture(self):
        self.capture = self.internet.start("capture.log", "tcpdump", "-n", "--immediate-mode", "-U", "-B", "32768",
                                           "-i", "to1", "-w", PCAP)
        wait_until("tcpdump listens", lambda: "listening" in self.internet.log("capture.log"))

    def frames(self, expression):
        """Lines of tcpdump for the captured frames that match."""
        return self.internet.run("sh", "-c", f"tcpdump -n -r {PCAP} '{expression}' 2>/dev/null").stdout.splitlines()

    def stop_capture(self):
        """All captured frames, as bytes; fails when the capture missed one."""
        self.internet.stop(self.capture, signal.SIGINT)
        missed = re.search(r"(\d+) packets dropped by kernel", self.internet.log("capture.log"))
        assert missed and missed[1] == "0", self.internet.log("capture.log")
        return self.captured()

    def captured(self):
        """The captured frames until now, as bytes."""
        with open(f"/proc/{self.internet.holder.pid}/root{PCAP}", "rb") as f:
            return list(pcap_frames(f.read()))

    def send(self, dev, frames):
        """Puts frames on a link of the internet, paced: a burst beyond a ring would be lost unseen."""
        self.internet.run("/usr/bin/python3", "-c", SEND, dev, input="".join(f.hex() + "\n" for f in frames))


def pcap_frames(data):
    at = 24
    while at + 16 <= len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        yield data[at + 16:at + 16 + length]
        at += 16 + length


def ipsecctl(host, *words, check=True):
    return host.run(program("penstockctl"), "ipsecctl", *words, check=check)


def show(host, what):
    return json.loads(host.run(program("penstockctl"), "-j", "show", what).stdout)


def flows(host):
    return [line for line in ipsecctl(host, "-sf").stdout.splitlines() if line.startswith("flow ")]


def spis(host):
    return set(re.findall(r" spi (0x[0-9a-f]{8}) ", ipsecctl(host, "-ss").stdout))


def received(host, address, count=3, *extra):
    """How many of `count` pings were answered."""
    text = host.run("ping", "-n", "-c", count, "-i", "0.1", "-W", "2", *extra, address, check=False).stdout
    return int(re.search(r"(\d+) received", text)[1])


def reaches(host, address):
    return received(host, address, 1) == 1


def numbered(topology, rate, seconds):
    """Numbered UDP both ways between the sites: two processes that print their counts."""
    name = program("udp_numbered")
    return [host.start(f"numbered-{host.name}.log", name, here, there, "7000", rate, seconds, 100)
            for host, here, there in ((topology.site1, "10.0.1.13", "10.0.2.24"),
                                      (topology.site2, "10.0.2.24", "10.0.1.13"))]


def numbered_counts(topology, runs):
    counts = []
    for run in runs:
        run.terminate()
    for host, run in zip((topology.site1, topology.site2), runs):
        run.wait(30)
        counts.append(json.loads(host.log(run.name).splitlines()[-1]))
        host.stop(run)
    return counts
