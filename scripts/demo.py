"""The demo behind scripts/demo. Shows the FAQ's site-to-site VPN and proves what it claims."""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))
from iked import FAQ_SERVER1, FAQ_SERVER2  # noqa: E402
from netns import FaqTopology, program, sh, wait_until  # noqa: E402

PREFIX = os.environ.get("PENSTOCK_DEMO_PREFIX", "penstock")
STATE = f"/run/{PREFIX}-demo.json"

# The same two rules with lifetimes of seconds, for the proof across rekeys.
FAST = "ikelifetime 12 lifetime 3"
PPS, PROOF_SECONDS, PAYLOAD = 20000, 36, 200


class Failed(Exception):
    pass


def title(text):
    print(f"\n=== {text}", flush=True)


def show(host, line, text):
    print(f"{host.name}# {line}")
    print("".join(f"{row}\n" for row in text.splitlines()), end="", flush=True)


class Demo:
    def __init__(self, args):
        self.args = args
        self.failures = []
        self.topology = None
        self.iked, self.espd = {}, {}

    def prove(self, what, good, detail=""):
        print(f"{'proved' if good else 'NOT SO'}: {what}{' -- ' + detail if detail else ''}", flush=True)
        if not good:
            self.failures.append(what)

    # ---- pieces -----------------------------------------------------------------------------

    def ctl(self, host, name, *words, check=True):
        return host.run(program("penstockctl"), name, *words, check=check)

    def start_iked(self, host):
        self.iked[host.name] = host.start("iked.log", program("penstock-iked"), "-d", "-v")

    def stop_iked(self, host, sig=signal.SIGTERM):
        host.stop(self.iked.pop(host.name), sig)

    def start_espd(self, host):
        self.espd[host.name] = self.topology.start_espd(host, driver=self.args.driver)

    def established(self, host):
        return re.search(r"-> ESTABLISHED", host.log("iked.log"))

    def ping(self, host, address, count=3):
        return host.run("ping", "-n", "-c", count, "-i", "0.2", "-W", "2", address, check=False)

    def wait_tunnel(self, seconds=20):
        def up():
            return self.topology.site1.run("ping", "-n", "-c", "1", "-W", "1", "10.0.2.24", check=False).returncode == 0
        wait_until("a ping through the tunnel", up, seconds)

    def stats(self, host):
        text = self.ctl(host, "ikectl", "show", "stats").stdout
        return {m[2]: int(m[1]) for m in re.finditer(r"^\s*(\d+) (.+)$", text, re.M)}

    def stat(self, host, *nouns):
        return sum(n for noun, n in self.stats(host).items() if noun in nouns)

    # ---- acts -------------------------------------------------------------------------------

    def build_network(self):
        title("the network")
        print("""\
    site1-host ----- server1 ----- internet ----- server2 ----- site2-host
    10.0.1.13        192.0.2.1                 198.51.100.1      10.0.2.24""")
        self.topology = t = FaqTopology(PREFIX, nat=self.args.nat)
        if self.args.nat:
            print("    server2 is 172.16.2.1 behind a NAT that holds 198.51.100.1")
        # From before the start until after the stop: nothing with an inner address may pass here.
        self.leaks = "/run/leaks.pcap"
        self.leak_capture = t.internet.start("leaks.log", "tcpdump", "-U", "-n", "-i", "any", "-w", self.leaks,
                                             "net 10.0.0.0/16")
        self.wire_capture = t.internet.start("wire.log", "tcpdump", "-l", "-n", "-i", "to1", "-c", "40",
                                             "esp or udp port 500 or udp port 4500")
        wait_until("tcpdump", lambda: "listening on" in t.internet.log("leaks.log"))

    def start_gateways(self):
        t = self.topology
        title("two gateways: data plane, keys, rules, IKE")
        for host, rules in ((t.server1, FAQ_SERVER1), (t.server2, FAQ_SERVER2)):
            self.start_espd(host)
            host.write("/etc/iked.conf", rules, 0o600)
            show(host, "cat /etc/iked.conf", rules)
        # The first start makes the key pair; then the public keys are exchanged as the FAQ says.
        for host in (t.server1, t.server2):
            self.start_iked(host)
        for host in (t.server1, t.server2):
            wait_until(f"{host.name}: /etc/iked/local.pub",
                       lambda h=host: h.run("test", "-s", "/etc/iked/local.pub", check=False).returncode == 0, 30)
        for host in (t.server1, t.server2):
            self.stop_iked(host)
        for host, peer in ((t.server1, t.server2), (t.server2, t.server1)):
            print(f"{host.name}# cp {peer.name}:/etc/iked/local.pub /etc/iked/pubkeys/fqdn/{peer.name}.domain")
            host.write(f"/etc/iked/pubkeys/fqdn/{peer.name}.domain", peer.read("/etc/iked/local.pub"))
        for host in (t.server1, t.server2):
            host.run("sh", "-c", f": > {host.log_path('iked.log')}")
            self.start_iked(host)
        for host in (t.server1, t.server2):
            wait_until(f"{host.name}: the IKE SA\n{host.log('iked.log')}", lambda h=host: self.established(h), 30)
        for host in (t.server1, t.server2):
            show(host, "penstock-iked -dv", host.log("iked.log"))

    def show_sad(self):
        t = self.topology
        title("flows and SAs, as ipsecctl shows them")
        for host, me, peer, mine, other in ((t.server1, "server1", "server2", "10.0.1.0/24", "10.0.2.0/24"),
                                            (t.server2, "server2", "server1", "10.0.2.0/24", "10.0.1.0/24")):
            text = wait_until("SAs", lambda h=host: (s := self.ctl(h, "ipsecctl", "-sa").stdout) and
                              s.count("esp tunnel") >= 2 and s)
            show(host, "ipsecctl -sa", text)
            address = "192.0.2.1" if peer == "server1" else "198.51.100.1"
            ids = f"peer {address} srcid FQDN/{me}.domain dstid FQDN/{peer}.domain"
            want = ["FLOWS:",
                    f"flow esp in from {other} to {mine} {ids} type use",
                    f"flow esp out from {mine} to {other} {ids} type require",
                    "flow esp out from ::/0 to ::/0 type deny", "", "SAD:"]
            lines = text.splitlines()
            sa = re.compile(r"esp tunnel from [0-9.]+ to [0-9.]+ spi 0x[0-9a-f]{8} auth hmac-sha2-256 enc aes-256$")
            good = lines[:6] == want and len(lines) == 8 and all(sa.match(line) for line in lines[6:])
            self.prove(f"{host.name}: the listing is the FAQ's", good)

    def traffic(self):
        t = self.topology
        title("traffic between the sites")
        self.wait_tunnel()
        for host, address in ((t.site1, "10.0.2.24"), (t.site2, "10.0.1.13")):
            result = self.ping(host, address)
            show(host, f"ping {address}", result.stdout)
            self.prove(f"{host.name} reaches {address}", result.returncode == 0)
        title("clear text, as penstockctl capture shows it to tcpdump")
        reader = t.server1.start("capture.log", "sh", "-c", '"$0" penstockctl -c 4 capture | tcpdump -nr -',
                                 program("penstockctl"))
        time.sleep(0.5)
        self.ping(t.site1, "10.0.2.24", 4)
        try:
            reader.wait(10)
        except subprocess.TimeoutExpired:
            t.server1.stop(reader)
        show(t.server1, "penstockctl capture | tcpdump -nr -", t.server1.log("capture.log"))
        self.prove("the capture shows the pings in clear", "10.0.1.13 > 10.0.2.24: ICMP echo request"
                   in t.server1.log("capture.log"))
        title("iperf3")
        server = t.site2.start("iperf.log", "iperf3", "-s", "-1")
        time.sleep(0.5)
        result = t.site1.run("iperf3", "-c", "10.0.2.24", "-t", "4", "-J", check=False)
        try:
            sent = json.loads(result.stdout)["end"]["sum_received"]
            rate = sent["bits_per_second"]
        except (ValueError, KeyError):
            rate = 0
            print(result.stdout)
        self.prove("iperf3 carried TCP through the tunnel", rate > 0, f"{rate / 1e6:.0f} Mbit/s")
        t.site2.stop(server)

    def numbered(self, seconds, pps):
        t = self.topology
        name = program("udp_numbered")
        runs = [host.start(f"numbered-{host.name}.log", name, here, there, "7000", pps, seconds, PAYLOAD,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                for host, here, there in ((t.site1, "10.0.1.13", "10.0.2.24"), (t.site2, "10.0.2.24", "10.0.1.13"))]
        return runs

    def rekeys(self):
        t = self.topology
        title(f"numbered UDP, {PPS} packets a second both ways, across rekeys ({FAST})")
        for host, rules in ((t.server1, FAQ_SERVER1.replace("      rsa", f"      {FAST} \\\n      rsa")),
                            (t.server2, FAQ_SERVER2.replace("server2.domain", f"server2.domain \\\n        {FAST}"))):
            host.write("/etc/iked-fast.conf", rules, 0o600)
            result = self.ctl(host, "ikectl", "load", "/etc/iked-fast.conf", check=False)
            if result.returncode != 0:
                raise Failed(f"{host.name}: ikectl load: {result.stdout}")
        self.ctl(t.server2, "ikectl", "reset", "all")
        time.sleep(1)
        self.wait_tunnel(30)
        before = {h.name: self.stats(h) for h in (t.server1, t.server2)}
        runs = self.numbered(PROOF_SECONDS, PPS)
        counts = []
        for run in runs:
            out, _ = run.communicate(timeout=PROOF_SECONDS + 60)
            counts.append(json.loads(out))
        for host, run in ((t.site1, runs[0]), (t.site2, runs[1])):
            host.stop(run)
        for host, count in zip((t.site1, t.site2), counts):
            print(f"{host.name}: {json.dumps(count)}")
        after = {h.name: self.stats(h) for h in (t.server1, t.server2)}

        def grown(*nouns):
            return max(sum(after[n].get(noun, 0) - before[n].get(noun, 0) for noun in nouns) for n in after)
        children, ikes = grown("Child SAs created", "Child SA created"), grown("IKE SAs rekeyed", "IKE SA rekeyed")
        for me, other, name in ((0, 1, "site1-host -> site2-host"), (1, 0, "site2-host -> site1-host")):
            self.prove(f"{name}: received = sent",
                       counts[me]["sent"] == counts[other]["unique"] and counts[other]["duplicates"] == 0 and
                       counts[me]["sent"] >= PPS * PROOF_SECONDS * 0.98,
                       f"{counts[me]['sent']} sent, {counts[other]['unique']} received")
        self.prove("at least 10 child rekeys meanwhile", children >= 10, f"{children} new child SAs")
        self.prove("at least 2 IKE rekeys meanwhile", ikes >= 2, f"{ikes}")
        errors = 0
        for host in (t.site1, t.site2):
            rows = host.read("/proc/net/snmp").splitlines()
            for names, values in zip(rows[::2], rows[1::2]):
                for key, value in zip(names.split()[1:], values.split()[1:]):
                    errors += int(value) if key in ("InCsumErrors", "InHdrErrors") else 0
        self.prove("no checksum errors at the receivers", errors == 0, f"{errors}")
        for host in (t.server1, t.server2):
            show(host, "penstockctl show drops", self.ctl(host, "penstockctl", "show", "drops").stdout)
            # What a busy machine loses before or behind the gateway is counted here.
            ports = json.loads(self.ctl(host, "penstockctl", "show", "port", "--json").stdout)
            for port in ports:
                lost = {key: port[key] for key in ("rx_missed", "rx_errors", "tx_full", "tx_errors") if port[key]}
                if lost:
                    print(f"{host.name}: port {port['port']}: {lost}", flush=True)

    def deaths(self):
        t = self.topology
        title("nothing in clear: iked killed, espd killed, tunnel down")
        runs = self.numbered(3600, 2000)
        time.sleep(1)
        for host in (t.server1, t.server2):
            print(f"{host.name}: kill -9 penstock-iked")
            self.stop_iked(host, signal.SIGKILL)
        time.sleep(1)
        for host in (t.server1, t.server2):
            print(f"{host.name}: kill -9 penstock-espd")
            host.stop(self.espd.pop(host.name), signal.SIGKILL)
        time.sleep(1.5)
        print("both start again, data planes first (no tunnel yet)")
        for host in (t.server1, t.server2):
            self.start_espd(host)
        time.sleep(1.5)
        for host in (t.server1, t.server2):
            self.start_iked(host)
        self.wait_tunnel(60)
        print("server2's data plane alone: kill -9, start again")
        t.server2.stop(self.espd.pop("server2"), signal.SIGKILL)
        time.sleep(1)
        self.start_espd(t.server2)
        self.wait_tunnel(60)
        self.prove("the tunnel came back after each death", True)
        for run in runs:
            run.terminate()
        time.sleep(3)
        for host, run in ((t.site1, runs[0]), (t.site2, runs[1])):
            host.stop(run)

    def stop(self):
        t = self.topology
        title("clean stop")
        for host in (t.server1, t.server2):
            for procs in (self.espd, self.iked):
                if host.name in procs:
                    host.stop(procs.pop(host.name))
        time.sleep(0.3)
        t.internet.stop(self.wire_capture)
        t.internet.stop(self.leak_capture, signal.SIGINT)
        frames = t.internet.run("sh", "-c", f"tcpdump -n -r {self.leaks} 2>/dev/null | wc -l").stdout.strip()
        wire = t.internet.log("wire.log")
        lost = re.search(r"(\d+) packets dropped by kernel", t.internet.log("leaks.log"))
        print("on the wire: " + (next((row for row in wire.splitlines() if "ESP" in row), "") or wire[-300:]))
        self.prove("0 frames with an inner address in the internet, from before the start until after the stop",
                   frames == "0" and lost is not None and lost[1] == "0" and "ESP" in wire,
                   f"{frames} frames, {lost[1] if lost else '?'} missed by the capture")
        if frames != "0":
            show(t.internet, "tcpdump -r leaks.pcap",
                 t.internet.run("sh", "-c", f"tcpdump -n -r {self.leaks} 2>/dev/null | head -20").stdout)
        dirs = [h.dir for h in t.hosts]
        t.close()
        left = [ns for ns in sh("ip", "netns", "list").stdout.split() if ns.startswith(PREFIX + "-")]
        left += [d for d in dirs if os.path.exists(d)]
        self.prove("nothing is left behind", not left, " ".join(left))

    def keep(self):
        t = self.topology
        with open(STATE, "w") as f:
            json.dump({"dirs": [h.dir for h in t.hosts], "ns": [h.ns for h in t.hosts]}, f)
        title("left running")
        for host in t.hosts:
            print(f"{host.name}: nsenter -t {host.holder.pid} -n -m -u -r")
        print(f"programs: {program('penstockctl')} show sa (or called as ikectl, ipsecctl)")
        print("end it: scripts/demo --stop")
        sys.stdout.flush()
        os._exit(1 if self.failures else 0)

    def run(self):
        begun = time.monotonic()
        try:
            self.build_network()
            self.start_gateways()
            self.show_sad()
            self.traffic()
            self.rekeys()
            self.deaths()
            if self.args.keep:
                self.keep()
            self.stop()
        except (Failed, TimeoutError, RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"FAILED: {error}")
            self.failures.append(str(error))
            for host in (self.topology.hosts if self.topology else []):
                for log in ("espd.log", "iked.log"):
                    if host.log(log):
                        show(host, f"tail {log}", "\n".join(host.log(log).splitlines()[-25:]))
        finally:
            if self.topology:
                self.topology.close()
        print(f"\n{'everything was seen' if not self.failures else 'NOT seen: ' + '; '.join(self.failures)}"
              f" ({time.monotonic() - begun:.0f} s)")
        return 1 if self.failures else 0


def stop_kept():
    try:
        with open(STATE) as f:
            state = json.load(f)
    except FileNotFoundError:
        print("no demo was left running")
        return 0
    for ns in state["ns"]:
        for pid in sh("ip", "netns", "pids", ns, check=False).stdout.split():
            if pid.isdigit():
                os.kill(int(pid), signal.SIGKILL)
        sh("ip", "netns", "del", ns, check=False)
    for path in state["dirs"]:
        sh("rm", "-rf", path, check=False)
    os.unlink(STATE)
    return 0


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the gateways running, with hints")
    parser.add_argument("--stop", action="store_true", help="end what --keep left")
    parser.add_argument("--nat", action="store_true", help="put server2 behind a NAT")
    parser.add_argument("--driver", choices=("af_packet", "af_xdp"), default="af_packet")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("scripts/demo must run as root")
    if args.stop:
        return stop_kept()

    def on_term(_number, _frame):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, on_term)
    try:
        return Demo(args).run()
    except KeyboardInterrupt:
        print("\ninterrupted: cleaned up")
        return 130


if __name__ == "__main__":
    sys.exit(main())
