"""penstock-iked on a Host, for tests. PENSTOCK_ENGINES: how many engines each has that does not say (1)."""
import os
import re
import signal

from netns import program, wait_until

ENGINES = os.environ.get("PENSTOCK_ENGINES", "1")

# The FAQ's rules, as the FAQ writes them.
FAQ_SERVER1 = """\
ikev2 'server1_rsa' passive esp \\
      from 10.0.1.0/24 to 10.0.2.0/24 \\
      local 192.0.2.1 peer 198.51.100.1 \\
      srcid server1.domain \\
      rsa
"""
FAQ_SERVER2 = """\
ikev2 'server2_rsa' active esp \\
        from 10.0.2.0/24 to 10.0.1.0/24 \\
        peer 192.0.2.1 \\
        dstid server2.domain
"""


def singular(text):
    return re.sub(r"s\b", "", text)


class Iked:
    def __init__(self, host, conf, *args):
        self.host = host
        self.args = args if "-E" in args or ENGINES == "1" else ("-E", ENGINES, *args)
        self.proc = None
        self.engine = 0
        self.configure(conf)

    def configure(self, conf, path="/etc/iked.conf"):
        self.host.write(path, conf, 0o600)

    def start(self):
        before = len(self.log())
        self.proc = self.host.start("iked.log", program("penstock-iked"), "-dv", *self.args)

        def ready():
            if self.proc.poll() is not None:
                raise RuntimeError(f"iked ended with {self.proc.returncode}\n{self.log()}")
            return ": loaded, " in self.log()[before:]
        wait_until(f"{self.host.name}: a loaded configuration", ready)
        return self

    def ikectl(self, *words, check=True):
        return self.host.run(program("penstockctl"), "ikectl", *words, check=check)

    def log(self):
        return self.host.log("iked.log")

    def local_pub(self):
        return self.host.read("/etc/iked/local.pub")

    def trust(self, peer_pem, name, kind="fqdn"):
        self.host.write(f"/etc/iked/pubkeys/{kind}/{name}", peer_pem)

    def sas(self, title="iked_sas"):
        """Lines of a list of `show sa`."""
        return [line.strip() for line in self.ikectl("show", "sa").stdout.splitlines()
                if line.strip().startswith(title + ":")]

    def is_established(self, peer_id=""):
        return any(f"<{peer_id}" in line and " ESTABLISHED " in line for line in self.sas())

    def wait_established(self, peer_id="", seconds=20):
        try:
            wait_until(f"{self.host.name}: IKE SA with {peer_id}", lambda: self.is_established(peer_id), seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log()}") from None

    def stat(self, text):
        """A counter of `show stats`, named without regard to its plural."""
        for line in self.ikectl("show", "stats").stdout.splitlines():
            match = re.match(r"\t(\d+) (.*)", line)
            if match and singular(match.group(2)) == singular(text):
                return int(match.group(1))
        raise KeyError(text)

    def pids(self):
        """Process numbers by role, the parent's too; of several engines "ike0", "ike1" and so on,
        "ike" is the first or the one that was killed last."""
        found = {"parent": self.proc.pid}
        for pid in os.listdir("/proc"):
            if not pid.isdigit():
                continue
            try:
                with open(f"/proc/{pid}/stat") as f:
                    parent = int(f.read().rpartition(")")[2].split()[1])
                with open(f"/proc/{pid}/cmdline") as f:
                    words = f.read().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == self.proc.pid and words[0].startswith("penstock-iked: "):
                found[words[0].split(": ")[1].replace(" ", "")] = int(pid)
        if "ike0" in found or "ike1" in found:
            found["ike"] = found.get(f"ike{self.engine}")
        return found

    def engine_of(self, line):
        """The number of the engine whose SA or flow a line of `show sa` is: it is part of the handle."""
        return int(re.search(r": 0x([0-9a-f]+) ", line)[1], 16) >> 59 & 15

    def kill(self, role, sig=signal.SIGKILL):
        """Of several engines "ike" is one that has an SA."""
        lines = self.sas() if role == "ike" and "ike1" in self.pids() else []
        if lines:
            self.engine = self.engine_of(lines[0])
        os.kill(self.pids()[role], sig)

    def stop(self, sig=signal.SIGTERM):
        return self.host.stop(self.proc, sig, 15)


def exchange_keys(a, a_name, b, b_name):
    """As the FAQ says: each one's local.pub becomes the other's pubkeys/fqdn file."""
    a.trust(b.local_pub(), b_name)
    b.trust(a.local_pub(), a_name)
