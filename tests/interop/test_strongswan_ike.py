"""IKE with strongSwan's charon, over the kernel's UDP sockets (-K): no packets, all exchanges.

    server1 (192.0.2.1) ----- internet ----- server2 (198.51.100.1)
      penstock-iked                            charon
"""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

from iked import Iked  # noqa: E402
from netns import FaqTopology, wait_until  # noqa: E402
from strongswan import Charon, connection, psk  # noqa: E402

SECRET = "mekmitasdigoat"
RULE = """ikev2 "site" {mode} esp from 10.0.1.0/24 to 10.0.2.0/24 local 192.0.2.1 peer 198.51.100.1 \\
  {more} srcid server1.domain dstid server2.domain {auth}
"""


@pytest.fixture(scope="module")
def topology():
    with FaqTopology("ikedsw", plain=("server1", "server2")) as t:
        yield t


class Sides:
    def __init__(self, topology):
        self.topology = topology
        self.iked = self.charon = None

    def rule(self, mode="passive", auth=f'psk "{SECRET}"', more="", globals_=""):
        self.iked = Iked(self.topology.server1, globals_ + RULE.format(mode=mode, auth=auth, more=more), "-K")
        self.iked.host.run("sh", "-c", "rm -rf /etc/iked; mkdir -p /etc/iked/pubkeys/fqdn")
        path = self.iked.host.log_path("iked.log")
        if os.path.exists(path):
            os.truncate(path, 0)
        return self.iked

    def swan(self, settings=(), **kw):
        self.charon = Charon(self.topology.server2, settings).start()
        self.charon_options = dict(local="198.51.100.1", remote="192.0.2.1", local_id="server2.domain",
                                   remote_id="server1.domain", local_ts="10.0.2.0/24", remote_ts="10.0.1.0/24")
        self.charon_options.update(kw)
        return self.charon

    def load(self, secrets=psk("server1.domain", "server2.domain", secret=SECRET), **kw):
        options = dict(self.charon_options)
        options.update(kw)
        self.charon.load(connection("site", **options), secrets)

    def initiate(self):
        answer = self.charon.swanctl("--initiate", "--child", "site", "--timeout", "15", check=False)
        assert answer.returncode == 0, answer.stdout + self.iked.log()

    def check_up(self, *patterns):
        self.iked.wait_established("FQDN/server2.domain")
        wait_until(f"charon's SA\n{self.charon.log()[-3000:]}", lambda: self.charon.is_established("site"))
        listing = self.charon.sas()
        for pattern in patterns:
            assert pattern in listing, listing

    def close(self):
        if self.iked and self.iked.proc:
            self.iked.stop()
        if self.charon:
            self.charon.stop()


@pytest.fixture
def sides(topology):
    s = Sides(topology)
    yield s
    s.close()


def exchange_rsa(sides):
    """Our local.pub to charon, charon's new key to us."""
    theirs = sides.charon.make_key()
    sides.iked.trust(theirs, "server2.domain")
    sides.charon.own_key(theirs)
    sides.charon.peer_key(sides.iked.local_pub())


SUITES = [("aes256-sha256-curve25519", "aes256-sha256", "AES_CBC-256"),
          ("aes128gcm16-prfsha256-ecp256", "aes128gcm16", "AES_GCM_16-128"),
          ("aes256-sha512-modp2048", "aes128-sha512", "MODP_2048"),
          ("aes256-sha384-ecp384", "aes256gcm16", "ECP_384")]


@pytest.mark.parametrize("ike,esp,shown", SUITES)
def test_psk_charon_initiates(sides, ike, esp, shown):
    sides.rule().start()
    sides.swan()
    sides.load(proposals=ike, esp=esp)
    sides.initiate()
    sides.check_up(shown, "10.0.2.0/24", "10.0.1.0/24")


@pytest.mark.parametrize("ike,esp,shown", SUITES)
def test_psk_iked_initiates(sides, ike, esp, shown):
    sides.swan()
    sides.load(proposals=ike, esp=esp)
    sides.rule("active").start()
    sides.check_up(shown, "10.0.2.0/24", "10.0.1.0/24")


RSA = dict(local_auth="pubkey", local_keys="own.pem", remote_keys="peer.pem", secrets="")


@pytest.mark.parametrize("mode", ["passive", "active"])
def test_rsa_raw_keys(sides, mode):
    sides.swan()
    iked = sides.rule("passive", "rsa")
    iked.start()
    exchange_rsa(sides)
    sides.load(**RSA)
    if mode == "active":
        iked.configure(RULE.format(mode="active", auth="rsa", more=""))
        iked.ikectl("reload")
    else:
        sides.initiate()
    sides.check_up("10.0.2.0/24")
    assert "method 14" in iked.log()


@pytest.mark.parametrize("auth", ["rsa-sha512", "rsa/pss-sha256", "rsa-sha384"])
def test_rsa_hashes(sides, auth):
    sides.swan()
    iked = sides.rule("passive", "rsa")
    iked.start()
    exchange_rsa(sides)
    sides.load(**dict(RSA, local_auth=auth, remote_auth="pubkey"))
    sides.initiate()
    sides.check_up()


def test_rsa_without_signature_hashes(sides):
    """charon announces no hashes: `rsa` then allows method 1, with a warning."""
    sides.swan(settings=["signature_authentication = no"])
    iked = sides.rule("passive", "rsa")
    iked.start()
    exchange_rsa(sides)
    sides.load(**RSA)
    sides.initiate()
    sides.check_up()
    assert "method 1)" in iked.log()


def test_wrong_psk(sides):
    iked = sides.rule().start()
    sides.swan()
    sides.load(secrets=psk("server1.domain", "server2.domain", secret="wrong"))
    assert sides.charon.swanctl("--initiate", "--child", "site", "--timeout", "8", check=False).returncode != 0
    assert not iked.is_established() and not sides.charon.is_established("site")
    assert SECRET not in iked.log()


@pytest.mark.parametrize("pfs", ["", "-ecp256"])
def test_rekeys_from_charon(sides, pfs):
    more = "childsa enc aes-256 auth hmac-sha2-256 group ecp256 " if pfs else ""
    iked = sides.rule(more=more).start()
    sides.swan()
    sides.load(esp="aes256-sha256" + pfs)
    sides.initiate()
    sides.check_up()
    created = iked.stat("Child SA created")
    assert "rekey completed" in sides.charon.swanctl("--rekey", "--child", "site").stdout
    wait_until("the new child", lambda: iked.stat("Child SA created") > created)
    sides.charon.swanctl("--rekey", "--ike", "site")
    wait_until("the new IKE SA", lambda: iked.stat("IKE SA rekeyed") >= 1)
    sides.charon.swanctl("--rekey", "--child", "site")
    wait_until("one more child", lambda: iked.stat("Child SA created") > created + 1)
    sides.check_up()


def test_rekeys_from_iked(sides):
    sides.swan()
    sides.load()
    iked = sides.rule("active", more="").start()
    iked.stop()
    iked.configure(RULE.format(mode="active", auth="ikelifetime 7 lifetime 3 " + f'psk "{SECRET}"', more=""))
    iked.start()
    wait_until("two rekeys of the child", lambda: iked.stat("Child SA rekeyed") >= 2, 30)
    wait_until("a rekey of the IKE SA", lambda: iked.stat("IKE SA rekeyed") >= 1, 30)
    sides.check_up()


def test_delete_both_ways(sides):
    iked = sides.rule().start()
    sides.swan()
    sides.load()
    sides.initiate()
    sides.check_up()
    sides.charon.swanctl("--terminate", "--ike", "site")
    wait_until("our SA closed", lambda: not iked.is_established())
    sides.initiate()
    sides.check_up()
    iked.ikectl("reset", "sa")
    wait_until("charon's SA closed", lambda: not sides.charon.is_established("site"))


def test_fragments(sides):
    """charon in pieces of 300 bytes; we announce fragmentation."""
    sides.swan(settings=["fragment_size = 300"])
    iked = sides.rule("passive", "rsa", globals_="set fragmentation\n")
    iked.start()
    exchange_rsa(sides)
    sides.load(**dict(RSA, extra="fragmentation = force"))
    sides.initiate()
    sides.check_up()
    assert iked.stat("fragment reassembled") >= 1


def test_dpd_from_charon(sides):
    iked = sides.rule().start()
    sides.swan()
    sides.load(extra="dpd_delay = 1s")
    sides.initiate()
    sides.check_up()
    received = iked.stat("message received")
    wait_until("liveness checks", lambda: iked.stat("message received") >= received + 3)
    sides.check_up()
