"""The whole gateway with OpenIKED 7.2, whose ESP is that of a Linux kernel in a guest.

    site1-host --- server1 (Penstock) --- internet --- server2 (guest: OpenIKED, 10.0.2.24 on a dummy)
"""
import glob
import json
import os
import re
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

from guest import Guest  # noqa: E402
from iked import Iked  # noqa: E402
from netns import FaqTopology, program, sh, wait_until  # noqa: E402

SUITE = ("ikesa enc aes-256 auth hmac-sha2-256 prf hmac-sha2-256 group curve25519 "
         "childsa enc {enc}")
OURS = """ikev2 "site" {mode} esp from 10.0.1.0/24 to 10.0.2.0/24 local 192.0.2.1 peer 198.51.100.1 \\
  {suite} srcid server1.domain dstid server2.domain {life} rsa
"""
THEIRS = ("ikev2 'site' {mode} esp from 10.0.2.0/24 to 10.0.1.0/24 local 198.51.100.1 peer 192.0.2.1 "
          "{suite} srcid server2.domain dstid server1.domain {life} rsa")


class Pair:
    def __init__(self):
        self.t = FaqTopology("interopo")
        self.guest = None
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self):
        t = self.t
        key = os.path.join(t.server1.dir, "guest.key")
        sh("openssl", "genrsa", "-traditional", "-out", key, "2048", stderr=None)
        with open(key) as f:
            private = f.read()
        self.public = sh("openssl", "rsa", "-in", key, "-pubout", stderr=None).stdout
        t.start_espd(t.server1)
        self.iked = Iked(t.server1, OURS.format(mode="passive", suite=SUITE.format(enc="aes-256 auth hmac-sha2-256"),
                                                life=""))
        self.iked.trust(self.public, "server2.domain")
        self.iked.start()
        users = "root:x:0:0::/root:/bin/sh\n_iked:x:100:100::/var/empty:/bin/false\n"
        self.guest = Guest(t.internet, "to2", "198.51.100.1/24", "198.51.100.254",
                           programs=("/usr/sbin/iked", "/usr/sbin/ikectl",
                                     *glob.glob("/usr/lib/*/ossl-modules/legacy.so")),
                           files=(("/etc/passwd", users), ("/etc/group", "root:x:0:\n_iked:x:100:\n"),
                                  ("/etc/nsswitch.conf", "passwd: files\ngroup: files\n"),
                                  ("/etc/iked/private/local.key", private), ("/etc/iked/local.pub", self.public),
                                  ("/etc/iked/pubkeys/fqdn/server1.domain", self.iked.local_pub())))
        t.internet.run("ip", "addr", "flush", "dev", "to2")
        t.internet.run("ip", "addr", "replace", "198.51.100.254/24", "dev", "gbr0")
        guest = self.guest
        guest.run("ip link add inner type dummy && ip link set inner up && ip addr add 10.0.2.24/24 dev inner")
        guest.run("ip route add 10.0.1.0/24 via 198.51.100.254 src 10.0.2.24")
        guest.run("mkdir -p /var/run /var/empty /etc/iked/ca /etc/iked/certs /etc/iked/crls; chmod 600 /etc/iked/private/local.key")

    def close(self):
        if self.guest:
            self.guest.close()
        if getattr(self, "iked", None) and self.iked.proc:
            self.iked.stop()
        self.t.close()

    def start(self, ours, theirs, enc, life=""):
        suite = SUITE.format(enc=enc)
        self.iked.configure(OURS.format(mode="passive", suite=suite, life=life))
        self.iked.ikectl("reload")
        self.guest.run("killall iked 2>/dev/null; sleep 1; ip xfrm state flush; ip xfrm policy flush")
        self.iked.ikectl("reset", "all")
        rule = THEIRS.format(mode=theirs, suite=suite, life=life)
        self.guest.run(f'echo "{rule}" > /etc/iked.conf; chmod 600 /etc/iked.conf')
        self.guest.run("(/usr/sbin/iked -d -v > /tmp/iked.log 2>&1 &) ; sleep 2")
        if ours == "active":
            self.iked.configure(OURS.format(mode="active", suite=suite, life=life))
            self.iked.ikectl("reload")

    def log(self):
        return self.iked.log()[-3000:] + "\n--- OpenIKED\n" + self.guest.run("tail -n 40 /tmp/iked.log", check=False)

    def sas(self):
        listing = self.t.server1.run(program("penstockctl"), "show", "sa", "--json").stdout
        return [sa for sa in json.loads(listing) if sa["state"] == "mature"]

    def ping(self):
        out = self.t.site1.run("ping", "-n", "-c", "3", "-i", "0.1", "-W", "2", "10.0.2.24", check=False).stdout
        assert " 3 received" in out, out + self.log() + self.guest.run("ip -s xfrm state; ip xfrm policy")
        out = self.guest.run("ping -c 1 -I 10.0.2.24 10.0.1.13", check=False)
        assert "1 packets received" in out, out + self.log()


@pytest.fixture(scope="module")
def pair():
    p = Pair()
    yield p
    p.close()


@pytest.mark.parametrize("ours,theirs", [("passive", "active"), ("active", "passive")])
def test_rsa(pair, ours, theirs):
    """HMAC-SHA1: OpenIKED 7.2 on Linux installs no SA with SHA-2, and drops a `childsa` that has
    an AEAD cipher alone."""
    pair.start(ours, theirs, "aes-256 auth hmac-sha1")
    try:
        pair.iked.wait_established("FQDN/server2.domain", 40)
    except TimeoutError as error:
        raise TimeoutError(f"{error}\n{pair.log()}") from None
    wait_until("SAs", lambda: len(pair.sas()) >= 2)
    pair.ping()
    newest = {sa["direction"]: sa for sa in sorted(pair.sas(), key=lambda sa: sa["installed_s"])}
    for sa in newest.values():
        assert (sa["enc"], sa["dstid"]) == ("aes-256", "FQDN/server2.domain"), sa
        assert sa["auth"] == "hmac-sha1", sa
        assert sa["udp_port"] == "" and sa["drop_icv"] == 0, sa
    states = pair.guest.run("ip xfrm state")
    assert len(re.findall(r"proto esp", states)) >= 2, states
