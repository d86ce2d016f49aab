"""The whole gateway with libreswan 4.10, whose ESP is that of a Linux kernel in a guest.

    site1-host --- server1 (Penstock) --- internet --- server2 (guest: pluto, 10.0.2.24 on a dummy)

The package cannot be installed beside strongSwan: its files are unpacked for the guest alone.
"""
import re

import pytest
from netns import wait_until
from world import BEHIND, NAT, PEER, SECRET, US

BIN = "/usr/libexec/ipsec"
RULE = """ikev2 "site" {mode} esp from 10.0.1.0/24 to 10.0.2.0/24 local %s peer {peer} \\
  {suite} srcid server1.domain dstid server2.domain {life} psk "%s"
""" % (US, SECRET)
CONF = """config setup
	logfile=/tmp/logs/pluto
	logappend=no
	uniqueids=yes

conn site
	left={local}
	leftid=@server2.domain
	leftsubnet=10.0.2.0/24
	leftupdown=%disabled
	right={us}
	rightid=@server1.domain
	rightsubnet=10.0.1.0/24
	authby=secret
	ikev2=insist
	auto={auto}
	{more}
"""


class Sides:
    def __init__(self, world):
        self.world, self.guest = world, world.guest
        self.proc = None
        guest = self.guest
        guest.shell("mkdir -p /var/lib/ipsec/nss /run/pluto /etc/ipsec.d")
        guest.write("/etc/ipsec.secrets", f'@server1.domain @server2.domain : PSK "{SECRET}"\n', 0o600)
        guest.shell("certutil -N -d sql:/var/lib/ipsec/nss --empty-password")

    @property
    def iked(self):
        return self.world.iked

    def whack(self, *words, check=True):
        return self.guest.run(f"{BIN}/whack", *words, check=check).stdout

    def stop_theirs(self):
        if self.proc:
            self.whack("--shutdown", check=False)
            wait_until("pluto's end", lambda: self.proc.poll() is not None)
        self.proc = None
        self.guest.shell("ip xfrm state flush; ip xfrm policy flush")

    def start_theirs(self, more, auto, local):
        self.guest.write("/etc/ipsec.conf", CONF.format(local=local, us=US, auto=auto, more="\n\t".join(more)))
        self.proc = self.guest.start("pluto.out", f"{BIN}/pluto", "--config", "/etc/ipsec.conf", "--nofork",
                                     "--nssdir", "/var/lib/ipsec/nss", "--rundir", "/run/pluto")
        wait_until("pluto", lambda: self.guest.shell(f"{BIN}/whack --status >/dev/null 2>&1", check=None) == 0)
        self.whack("--listen")
        self.guest.run(f"{BIN}/addconn", "--config", "/etc/ipsec.conf", "site")

    def set_up(self, ours="passive", suite="", more=(), life="", peer=PEER, local=PEER):
        self.stop_theirs()
        if self.iked:
            self.iked.ikectl("reset", "sa")
        rule = RULE.format(mode="passive", suite=suite, life=life, peer=peer)
        self.world.start_iked(rule)
        self.start_theirs(more, "add", local)
        if ours == "active":
            self.world.load(rule.replace("passive", "active"))
            self.iked.ikectl("active")
        else:
            self.whack("--initiate", "--asynchronous", "--name", "site")
        self.wait_up()

    def wait(self, what, condition, seconds=20):
        try:
            wait_until(what, condition, seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.world.state()}\n{self.guest.shell('cat /tmp/logs/pluto*')[-6000:]}"
                               ) from None

    def wait_up(self):
        self.wait("the IKE SA", lambda: self.iked.is_established("FQDN/server2.domain"), 30)
        self.wait("SAs", lambda: all(self.world.live().values()))
        self.wait("the kernel's", lambda: len(re.findall(
            "proto esp", self.guest.shell("ip xfrm state"))) >= 2)


@pytest.fixture(scope="module")
def sides(world):
    s = Sides(world)
    yield s
    s.stop_theirs()
    world.stop_iked()


SUITES = [("", (), None),
          ("childsa enc aes-256-gcm", ("esp=aes_gcm256", "ike=aes_gcm256-sha2_256-dh31"), "rfc4106"),
          ("childsa enc aes-128 auth hmac-sha2-512", ("esp=aes128-sha2_512", "ike=aes256-sha2_512-dh19"), "sha512"),
          ("childsa enc chacha20-poly1305", ("esp=chacha20_poly1305", "ike=aes256-sha2_256-dh14"), "rfc7539esp"),
          ("childsa enc aes-256 auth hmac-sha2-256 esn", ("esp=aes256-sha2_256", "esn=yes"), "flag.* esn")]


@pytest.mark.parametrize("ours", ["passive", "active"])
@pytest.mark.parametrize("suite,more,kernel", SUITES, ids=["default", "gcm", "cbc", "chacha", "esn"])
def test_suites(sides, ours, suite, more, kernel):
    sides.set_up(ours, suite, more)
    sides.world.ping()
    if kernel:
        assert re.search(kernel, sides.guest.shell("ip xfrm state"))


def test_rekeys(sides):
    """libreswan's, of child and IKE SA, then ours, under numbered traffic."""
    sides.set_up(suite="childsa enc aes-256-gcm group modp2048",
                 more=("esp=aes_gcm256;modp2048", "pfs=yes", "salifetime=9", "ikelifetime=14", "rekeymargin=5",
                       "rekeyfuzz=0%"), life="ikelifetime 16")
    sas, children = sides.iked.stat("IKE SA rekeyed"), sides.iked.stat("Child SA rekeyed")
    sides.world.end_numbered(sides.world.start_numbered(seconds=15))
    sides.wait("rekeys of the child", lambda: sides.iked.stat("Child SA rekeyed") >= children + 2)
    sides.wait("rekeys of the IKE SA", lambda: sides.iked.stat("IKE SA rekeyed") >= sas + 2)
    sides.world.ping()


def test_deletes(sides):
    sides.set_up()
    sides.whack("--terminate", "--name", "site")
    sides.wait("our SA closed", lambda: not sides.iked.is_established())
    assert not any(sides.world.live().values())
    sides.whack("--initiate", "--asynchronous", "--name", "site")
    sides.wait_up()
    # What it was told to initiate it begins again when the peer deletes it.
    spis = {f"0x{sa['spi'].removeprefix('0x'):0>8}" for sas in sides.world.live().values() for sa in sas}
    sides.iked.ikectl("reset", "sa")
    sides.wait("the kernel's closed", lambda: not spis & set(sides.guest.shell("ip xfrm state").split()))


def test_behind_nat(sides):
    sides.set_up(peer=NAT, local=BEHIND)
    sides.world.ping()
    assert 20000 <= int(sides.world.live()["out"][-1]["udp_port"]) <= 30000
