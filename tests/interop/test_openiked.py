"""The whole gateway with OpenIKED 7.2, whose ESP is that of a Linux kernel in a guest.

    site1-host --- server1 (Penstock) --- internet --- server2 (guest: OpenIKED, 10.0.2.24 on a dummy)

OpenIKED 7.2 on Linux installs SAs with HMAC-SHA1 alone, and knows no AEAD cipher for ESP.
"""
import re

import pytest
from iked import FAQ_SERVER1, FAQ_SERVER2
from netns import wait_until
from world import BEHIND, NAT, PEER, SECRET, US, make_keys

SUITE = "ikesa enc aes-256 auth hmac-sha2-256 prf hmac-sha2-256 group curve25519 childsa enc {enc}"
OURS = """{globals}ikev2 "site" {mode} esp from 10.0.1.0/24 to 10.0.2.0/24 local %s peer {peer} \\
  {suite} srcid server1.domain dstid server2.domain {life} {auth}
""" % US
THEIRS = """ikev2 'site' {mode} esp from 10.0.2.0/24 to 10.0.1.0/24 local {local} peer %s \\
  {suite} srcid server2.domain dstid server1.domain {life} {auth}
""" % US
SHA1 = "aes-256 auth hmac-sha1"
KEYS = ["rsa", "ecdsa256", "ecdsa384", "ecdsa521"]


class Sides:
    def __init__(self, world):
        self.world, self.guest, self.t = world, world.guest, world.t
        self.our_keys = make_keys(world.t.site1.dir)
        self.proc = None
        self.kind = None

    @property
    def iked(self):
        return self.world.iked

    def use_keys(self, kind):
        """Both sides' raw keys; ours are read at a start."""
        if self.kind == kind:
            return
        self.world.stop_iked()
        server1, guest = self.t.server1, self.guest
        private, public = self.our_keys[kind]
        server1.write("/etc/iked/private/local.key", private, 0o600)
        server1.write("/etc/iked/local.pub", public)
        server1.write("/etc/iked/pubkeys/fqdn/server2.domain", self.world.keys[kind][1])
        private, own = self.world.keys[kind]
        guest.write("/etc/iked/private/local.key", private, 0o600)
        guest.write("/etc/iked/local.pub", own)
        guest.write("/etc/iked/pubkeys/fqdn/server1.domain", public)
        self.kind = kind

    def stop_theirs(self):
        self.guest.shell("killall iked 2>/dev/null; n=0; while killall -0 iked 2>/dev/null && [ $n -lt 50 ]; do "
                         "usleep 100000; n=$((n+1)); done; ip xfrm state flush; ip xfrm policy flush")

    def start_theirs(self, rule):
        self.guest.write("/etc/iked.conf", rule, 0o600)
        self.guest.shell("rm -f /tmp/logs/iked")
        self.proc = self.guest.start("iked", "/usr/sbin/iked", "-d", "-v", "-v")
        if " active " in rule:
            return
        # It takes requests before it has made its traffic selectors, and then answers without them.
        # The word that it tells for this change comes behind all of its configuration.
        wait_until("OpenIKED's socket", lambda: self.guest.shell("ikectl passive >/dev/null 2>&1", check=None) == 0)
        wait_until("OpenIKED's configuration", lambda: "mode active -> passive" in self.guest.shell(
            "grep mode /tmp/logs/iked", check=False))

    def set_up(self, ours="passive", enc=SHA1, auth="rsa", life="", their_life="", peer=PEER, local=PEER, globals_="",
               keys="rsa", our_rule=None, their_rule=None):
        self.stop_theirs()
        if self.iked:
            self.iked.ikectl("decouple")
            self.iked.ikectl("reset", "sa")
            self.iked.ikectl("couple")
        self.use_keys(keys)
        suite = SUITE.format(enc=enc)
        theirs = "active" if ours == "passive" else "passive"
        rule = our_rule or OURS.format(mode="passive", suite=suite, life=life, auth=auth, peer=peer, globals=globals_)
        self.world.start_iked(rule)
        self.start_theirs(their_rule or THEIRS.format(mode=theirs, suite=suite, life=their_life, auth=auth,
                                                      local=local))
        if ours == "active":
            self.world.load(rule.replace("passive", "active"))
            self.iked.ikectl("active")

    def wait_up(self, children=True):
        try:
            self.iked.wait_established("FQDN/server2.domain", 40)
            if children:
                wait_until("SAs", lambda: all(self.world.live().values()))
                wait_until("the kernel's", lambda: len(re.findall(
                    "proto esp", self.guest.shell("ip xfrm state"))) >= 2)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log()}") from None

    def log(self):
        return self.world.state() + "\n--- OpenIKED\n" + self.guest.log("iked", 6000)

    def check_sa(self, **want):
        for sas in self.world.live().values():
            assert {k: sas[-1][k] for k in want} == want, sas[-1]
            assert sas[-1]["drop_icv"] == sas[-1]["drop_replay"] == 0, sas[-1]


@pytest.fixture(scope="module")
def sides(world):
    s = Sides(world)
    yield s
    s.stop_theirs()
    world.stop_iked()


@pytest.mark.parametrize("kind", KEYS)
def test_raw_keys(sides, kind):
    """OpenIKED asks for encoding 11 (RSA) or 201 (ECDSA), and sends them."""
    for ours in ("passive", "active"):
        sides.set_up(ours, auth=kind, keys=kind)
        sides.wait_up()
        sides.world.ping()
        sides.check_sa(enc="aes-256", auth="hmac-sha1", dstid="FQDN/server2.domain", udp_port="")
        assert len(re.findall("proto esp", sides.guest.shell("ip xfrm state"))) >= 2


def test_signature_by_default(sides):
    """No word for the authentication on either side: RFC 7427, ECDSA here."""
    sides.set_up(auth="", keys="ecdsa256")
    sides.wait_up()
    sides.world.ping()
    assert "method 14" in sides.iked.log()


@pytest.mark.parametrize("ours", ["passive", "active"])
def test_psk(sides, ours):
    sides.set_up(ours, auth=f'psk "{SECRET}"')
    sides.wait_up()
    sides.world.ping()


@pytest.mark.parametrize("ours", ["passive", "active"])
def test_rekeys(sides, ours):
    """Each side's turn, of child and IKE SA, under numbered traffic."""
    life = "ikelifetime 6 lifetime 16"
    sides.set_up(ours, **{"life" if ours == "active" else "their_life": life})
    sides.wait_up()
    first = {sa["spi"] for sas in sides.world.live().values() for sa in sas}
    sas = sides.iked.stat("IKE SA rekeyed")
    before = sides.world.no_sa()
    sides.world.end_numbered(sides.world.start_numbered(seconds=17), no_sa=before)
    wait_until("a rekey of the IKE SA", lambda: sides.iked.stat("IKE SA rekeyed") > sas, 30)
    wait_until("a rekey of the child", lambda: not first & {
        sa["spi"] for both in sides.world.live().values() for sa in both}, 30)
    sides.world.ping()


def test_deletes(sides):
    sides.set_up("active")
    sides.wait_up()
    sides.guest.shell("ikectl reset sa")
    wait_until("our SA closed", lambda: not sides.iked.is_established())
    # Ours is active: it comes back by itself.
    sides.wait_up()
    sides.world.ping()
    sides.iked.ikectl("decouple")
    sides.iked.ikectl("reset", "sa")
    wait_until("theirs closed", lambda: "ESTABLISHED" not in sides.guest.shell("ikectl show sa"))
    wait_until("the kernel's too", lambda: "proto esp" not in sides.guest.shell("ip xfrm state"))
    sides.iked.ikectl("couple")


def test_behind_nat(sides):
    # On Linux its sockets have no address: the route says from where it sends.
    sides.guest.shell(f"ip route add {US} via 198.51.100.254 src {BEHIND}")
    try:
        sides.set_up(peer=NAT, local=BEHIND)
        sides.wait_up()
        sides.world.ping()
        assert 20000 <= int(sides.world.live()["out"][-1]["udp_port"]) <= 30000
    finally:
        sides.guest.shell(f"ip route del {US}")


def test_no_child_in_common(sides):
    """With an AEAD `childsa` OpenIKED on Linux has no proposal at all, and sends an empty SA
    payload: no child, and no harm to the IKE SA (RFC 7296 2.21.2)."""
    sides.set_up("passive", enc="aes-256-gcm")
    sides.wait_up(children=False)
    assert "proposal" in sides.iked.log()
    assert not any(sides.world.live().values())


def test_child_refused(sides):
    """As responder it refuses our child, and with it the IKE SA: its answer authenticates nobody."""
    sides.set_up("active", enc="aes-256-gcm")
    wait_until("its refusal", lambda: "peer answered IKE_AUTH with NO_PROPOSAL_CHOSEN" in sides.iked.log())
    assert not sides.iked.is_established() and not any(sides.world.live().values())


def test_faq_rules(sides):
    """The FAQ's own rules and all default proposals, OpenIKED as its server2: IKE and the
    authentication agree, once the rule asks for the peer's name and not for its own."""
    theirs = FAQ_SERVER2.replace("dstid server2.domain", "dstid server1.domain")
    assert theirs != FAQ_SERVER2
    sides.set_up(our_rule=FAQ_SERVER1, their_rule=theirs)
    sides.wait_up(children=False)
    assert "method 14" in sides.iked.log()
