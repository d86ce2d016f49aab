"""IKE with strongSwan's charon, over the kernel's UDP sockets (-K): no packets, all exchanges.

    server1 (192.0.2.1) ----- internet ----- server2 (198.51.100.1)
      penstock-iked                            charon

Both daemons run through the whole module and are loaded anew by each test.
"""
import itertools
import os
import re
import signal
import time

import pytest
from iked import Iked
from netns import FaqTopology, wait_until
from strongswan import Charon, connection, psk
from world import SECRET, long_runs, make_keys

RULE = """{globals}ikev2 "site" {mode} esp {flows} local 192.0.2.1 peer 198.51.100.1 \\
  {more} srcid {srcid} dstid {dstid} {life} {auth}
"""
NETS = "from 10.0.1.0/24 to 10.0.2.0/24"
PSK = psk("server1.domain", "server2.domain", secret=SECRET)
PUBKEY = dict(local_auth="pubkey", local_keys="own.pem", remote_keys="peer.pem", secrets="")


class Sides:
    def __init__(self):
        self.t = FaqTopology(f"interopi{os.getpid()}", plain=("server1", "server2"))
        self.keys = make_keys(self.t.server1.dir)
        self.their_keys = make_keys(self.t.server2.dir)
        self.iked = self.charon = None
        self.settings, self.kind, self.mark = None, "rsa", 0
        self.use_key("rsa")
        # kernel-libipsec wants an address of its own in each selector.
        for address in ("10.0.2.129", "10.9.0.1"):
            self.t.server2.run("ip", "addr", "add", f"{address}/32", "dev", "lo")

    # ---- ours ----

    def use_key(self, kind):
        """Raw keys of both sides; iked reads its own at a start."""
        if self.iked and self.kind != kind:
            self.iked.stop()
            self.iked = None
        self.kind = kind
        host = self.t.server1
        host.write("/etc/iked/private/local.key", self.keys[kind][0], 0o600)
        host.write("/etc/iked/local.pub", self.keys[kind][1])
        host.write("/etc/iked/pubkeys/fqdn/server2.domain", self.their_keys[kind][1])

    def rule(self, mode="passive", auth=f'psk "{SECRET}"', more="", flows=NETS, life="", globals_="",
             srcid="server1.domain", dstid="server2.domain"):
        self.text = RULE.format(mode="passive", auth=auth, more=more, flows=flows, life=life, globals=globals_,
                                srcid=srcid, dstid=dstid)
        if not self.iked:
            self.iked = Iked(self.t.server1, self.text, "-K").start()
        else:
            self.iked.configure(self.text)
            self.iked.ikectl("reload")
            self.iked.ikectl("reset", "sa")
            # Nothing of the test before is left on either side.
            self.charon.swanctl("--terminate", "--ike", "site", "--force", "--timeout", "2", check=False)
            wait_until("no SA", lambda: not self.iked.sas())
        self.mark = len(self.iked.log())
        if mode == "active":
            self.begin()
        return self.iked

    def begin(self):
        self.iked.configure(self.text.replace(" passive ", " active "))
        self.iked.ikectl("reload")
        self.iked.ikectl("active")

    def log(self):
        """What iked wrote since the rule was loaded."""
        return self.iked.log()[self.mark:]

    # ---- charon's ----

    def swan(self, settings=()):
        settings = tuple(settings)
        if self.charon and self.settings == settings and self.charon.proc and self.charon.proc.poll() is None:
            return self.charon
        if self.charon:
            self.charon.stop()
        self.settings = settings
        self.charon = Charon(self.t.server2, settings).start()
        return self.charon

    def load(self, secrets=PSK, **kw):
        options = dict(local="198.51.100.1", remote="192.0.2.1", local_id="server2.domain",
                       remote_id="server1.domain", local_ts="10.0.2.0/24", remote_ts="10.0.1.0/24")
        options.update(kw)
        if secrets == "":
            host = self.t.server2
            host.write("/etc/swanctl/private/local.pem", self.their_keys[self.kind][0], 0o600)
            self.charon.own_key(self.their_keys[self.kind][1])
            self.charon.peer_key(self.keys[self.kind][1])
        self.charon.load(connection("site", **options), secrets)

    def initiate(self, child="site", check=True):
        answer = self.charon.swanctl("--initiate", "--child", child, "--timeout", "15", check=False)
        assert not check or answer.returncode == 0, answer.stdout + self.log()
        return answer

    # ---- both ----

    def set_up(self, ours="passive", settings=(), secrets=PSK, rule=None, **swan):
        self.swan(settings)
        self.load(secrets, **swan)
        self.rule(**(rule or {}))
        if ours == "active":
            self.begin()
        else:
            self.initiate()
        self.check_up()

    def check_up(self, *patterns):
        try:
            self.iked.wait_established("FQDN/server2.domain")
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.charon.log()[-3000:]}") from None
        wait_until("charon's SA", lambda: self.charon.is_established("site"))
        listing = self.charon.sas()
        for pattern in patterns:
            assert pattern in listing, listing
        return listing

    def check_refused(self, ours, *logged):
        """Neither side has an SA, and iked's log says why."""
        if ours == "active":
            self.begin()
            wait_until(f"{logged} in\n{self.log()}", lambda: all(text in self.log() for text in logged), 15)
        else:
            assert self.initiate(check=False).returncode != 0
            for text in logged:
                assert text in self.log(), self.log()
        wait_until("no SA of ours", lambda: not self.iked.is_established())
        wait_until("no SA of charon's", lambda: not self.charon.is_established("site"))
        # An active rule would try again.
        self.iked.configure(self.text)
        self.iked.ikectl("reload")

    def n_established(self):
        return len([line for line in self.iked.sas() if " ESTABLISHED " in line])

    def n_children(self):
        return len(re.findall("INSTALLED", self.charon.sas()))

    def close(self):
        if self.iked:
            self.iked.stop()
        if self.charon:
            self.charon.stop()
        self.t.close()


@pytest.fixture(scope="module")
def sides():
    s = Sides()
    yield s
    s.close()


# ---- proposals --------------------------------------------------------------------------------

# charon's word: ours, and how charon lists it.
ENCR = {"aes128": ("aes-128", "AES_CBC-128"), "aes192": ("aes-192", "AES_CBC-192"),
        "aes256": ("aes-256", "AES_CBC-256"), "aes128ctr": ("aes-128-ctr", "AES_CTR-128"),
        "aes256ctr": ("aes-256-ctr", "AES_CTR-256"), "3des": ("3des", "3DES_CBC"),
        "aes128gcm16": ("aes-128-gcm", "AES_GCM_16-128"), "aes256gcm16": ("aes-256-gcm", "AES_GCM_16-256"),
        "aes256gcm12": ("aes-256-gcm-12", "AES_GCM_12-256"),
        "chacha20poly1305": ("chacha20-poly1305", "CHACHA20_POLY1305")}
HASH = {"sha1": "hmac-sha1", "sha256": "hmac-sha2-256", "sha384": "hmac-sha2-384", "sha512": "hmac-sha2-512"}
GROUP = {"modp2048": "MODP_2048", "modp3072": "MODP_3072", "modp4096": "MODP_4096", "ecp256": "ECP_256",
         "ecp384": "ECP_384", "ecp521": "ECP_521", "curve25519": "CURVE_25519", "modp1024": "MODP_1024"}


def ike_suite(encr, integ, prf, group):
    """(charon's proposal, our ikesa, what charon lists)"""
    aead = "gcm" in encr or "chacha" in encr
    words = [encr] + ([] if aead else [integ]) + [f"prf{prf}", group]
    ours = f"ikesa enc {ENCR[encr][0]} " + ("" if aead else f"auth {HASH[integ]} ")
    return "-".join(words), ours + f"prf {HASH[prf]} group {group}", [ENCR[encr][1], GROUP[group]]


# Each value stands in one row at least; the product is the long run.
IKE_SUITES = [("aes256", "sha256", "sha256", "curve25519"), ("aes128", "sha384", "sha384", "modp2048"),
              ("aes192", "sha512", "sha512", "modp3072"), ("aes256", "sha512", "sha256", "modp4096"),
              ("aes128gcm16", "", "sha256", "ecp256"), ("aes256gcm16", "", "sha384", "ecp384"),
              ("aes256gcm12", "", "sha512", "ecp521"), ("aes128ctr", "sha256", "sha512", "ecp256"),
              ("aes256ctr", "sha384", "sha256", "curve25519"),
              ("chacha20poly1305", "", "sha256", "curve25519"), ("3des", "sha1", "sha1", "modp1024")]
if long_runs():
    IKE_SUITES += [row for row in itertools.chain(
        itertools.product(("aes128", "aes192", "aes256", "aes128ctr", "aes256ctr"), ("sha256", "sha384", "sha512"),
                          ("sha256", "sha384", "sha512"), list(GROUP)[:7]),
        itertools.product(("aes128gcm16", "aes256gcm16", "chacha20poly1305"), ("",), ("sha256", "sha384", "sha512"),
                          list(GROUP)[:7])) if row not in IKE_SUITES]


@pytest.mark.parametrize("row", IKE_SUITES, ids="-".join)
def test_ike_proposals(sides, row):
    """Begun by each side in turn; the IKE SA is rekeyed too."""
    proposal, ikesa, listed = ike_suite(*row)
    ours = ("passive", "active")[IKE_SUITES.index(row) % 2]
    sides.set_up(ours, proposals=proposal, rule=dict(more=ikesa))
    listing = sides.check_up(*listed)
    assert f"PRF_{HASH[row[2]].upper().replace('-', '_')}" in listing, listing
    rekeyed = sides.iked.stat("IKE SA rekeyed")
    sides.charon.swanctl("--rekey", "--ike", "site")
    wait_until("the new IKE SA", lambda: sides.iked.stat("IKE SA rekeyed") > rekeyed)
    sides.check_up(*listed)


WEAK = ["3des-sha1-modp2048", "aes256-sha1-modp2048", "3des-sha256-modp2048", "aes256-sha256-modp1024",
        "aes256-sha256-modp1536"]


@pytest.mark.parametrize("proposal", WEAK)
def test_weak_proposals_are_off(sides, proposal):
    sides.swan()
    sides.load(proposals=proposal)
    sides.rule()
    sides.check_refused("passive", "no proposal chosen")


def test_defaults_meet(sides):
    """No ikesa, no childsa, and charon's own defaults."""
    sides.set_up(proposals="default", esp="default")
    listing = sides.check_up()
    assert "AES_CBC" in listing or "AES_GCM" in listing, listing


def test_another_group_first(sides):
    """INVALID_KE_PAYLOAD, to either side (RFC 7296 1.2)."""
    sides.set_up(proposals="aes256-sha256-ecp256-modp2048", rule=dict(more="ikesa enc aes-256 group modp2048"))
    sides.check_up("MODP_2048")
    sides.set_up("active", proposals="aes256-sha256-modp3072",
                 rule=dict(more="ikesa enc aes-256 group curve25519 group modp3072"))
    sides.check_up("MODP_3072")
    assert "reinitiating with new DH group" in sides.log()


def test_another_group_for_a_child(sides):
    """INVALID_KE_PAYLOAD in CREATE_CHILD_SA, from either side (RFC 7296 1.3)."""
    sides.set_up(esp="aes256-sha256-ecp256-modp2048",
                 rule=dict(more="childsa enc aes-256 auth hmac-sha2-256 group modp2048"))
    sides.charon.swanctl("--rekey", "--child", "site")
    wait_until("a child with PFS", lambda: "MODP_2048" in sides.charon.sas())
    children = sides.iked.stat("Child SA rekeyed")
    sides.set_up("active", esp="aes256-sha256-modp2048", rule=dict(
        life="lifetime 4", more="childsa enc aes-256 auth hmac-sha2-256 group ecp256 group modp2048"))
    wait_until("our rekey", lambda: sides.iked.stat("Child SA rekeyed") > children)
    wait_until("its child", lambda: "MODP_2048" in sides.charon.sas())


# ---- authentication ---------------------------------------------------------------------------

@pytest.mark.parametrize("kind,scheme", [
    ("rsa", "rsa-sha512"), ("rsa", "rsa/pss-sha256"), ("rsa", "rsa-sha384"), ("rsa", "pubkey"),
    ("ecdsa256", "ecdsa-sha256"), ("ecdsa384", "ecdsa-sha384"), ("ecdsa521", "ecdsa-sha512"),
    ("ecdsa256", "ecdsa-sha512"), ("ecdsa521", "pubkey")])
def test_raw_keys(sides, kind, scheme):
    sides.use_key(kind)
    sides.swan()
    for ours in ("passive", "active") if scheme == "pubkey" or long_runs() else ("passive",):
        sides.set_up(ours, rule=dict(auth="rsa" if kind == "rsa" else ""), **PUBKEY | dict(
            local_auth=scheme, remote_auth="pubkey"))
        assert "method 14" in sides.log(), sides.log()


@pytest.mark.parametrize("kind,method,said", [("rsa", "rsa", "method 1)"), ("ecdsa256", "ecdsa256", "method 9)"),
                                              ("ecdsa384", "ecdsa384", "method 10)"),
                                              ("ecdsa521", "ecdsa521", "method 11)")])
def test_without_signature_hashes(sides, kind, method, said):
    """charon announces no hashes: the methods of old, RSA's with a warning (field case B22)."""
    sides.use_key(kind)
    sides.set_up(settings=["signature_authentication = no"], rule=dict(auth=method), **PUBKEY)
    assert said in sides.log(), sides.log()
    assert ("the peer signed with SHA1" in sides.log()) == (kind == "rsa"), sides.log()
    sides.begin()


@pytest.mark.parametrize("ours", ["passive", "active"])
def test_wrong_psk(sides, ours):
    sides.swan()
    sides.load(secrets=psk("server1.domain", "server2.domain", secret="wrong"))
    sides.rule()
    sides.check_refused(ours, "authentication failed")
    assert SECRET not in sides.log()


@pytest.mark.parametrize("ours", ["passive", "active"])
def test_wrong_key(sides, ours):
    sides.use_key("ecdsa256")
    sides.swan()
    host = sides.t.server1
    host.write("/etc/iked/pubkeys/fqdn/server2.domain", sides.their_keys["ecdsa384"][1])
    try:
        sides.load(**PUBKEY)
        sides.rule(auth="")
        sides.check_refused(ours, "authentication failed for FQDN/server2.domain")
    finally:
        host.write("/etc/iked/pubkeys/fqdn/server2.domain", sides.their_keys["ecdsa256"][1])


@pytest.mark.parametrize("ours,ids,logged", [
    ("passive", dict(local_id="stranger.domain"), "no compatible policy found for FQDN/stranger.domain"),
    ("active", dict(local_id="stranger.domain"), "authentication failed notification from peer"),
    ("passive", dict(remote_id="other.domain"), "peer asks for FQDN/other.domain, answering as"),
    ("active", dict(remote_id="other.domain"), "authentication failed notification from peer")])
def test_wrong_identity(sides, ours, ids, logged):
    sides.swan()
    names = [ids.get("remote_id", "server1.domain"), ids.get("local_id", "server2.domain")]
    sides.load(secrets=psk(*names, secret=SECRET), **ids)
    sides.rule()
    sides.check_refused(ours, logged)


# ---- selectors --------------------------------------------------------------------------------

THREE = ("from 10.0.1.0/24 to 10.0.2.0/24, from 10.0.1.0/24 to 10.9.0.0/16, from 10.8.0.0/16 to 10.0.2.0/24")


@pytest.mark.parametrize("ours", ["passive", "active"])
@pytest.mark.parametrize("flows,local_ts,remote_ts,listed", [
    (NETS, "0.0.0.0/0", "0.0.0.0/0", ["local  10.0.2.0/24", "remote 10.0.1.0/24"]),
    (NETS, "10.0.2.128/25", "10.0.1.7/32", ["local  10.0.2.128/25", "remote 10.0.1.7/32"]),
    (NETS, "10.0.0.0/16", "10.0.1.0/24,10.7.0.0/16", ["local  10.0.2.0/24", "remote 10.0.1.0/24"]),
    (THREE, "10.0.2.0/24,10.9.0.0/16", "10.0.1.0/24,10.8.0.0/16", ["10.0.2.0/24", "10.9.0.0/16", "10.0.1.0/24"]),
    (NETS, "10.0.2.0/24[tcp/80]", "10.0.1.0/24[tcp]", ["10.0.2.0/24[tcp/http]"]),
], ids=["any", "narrower", "wider", "several", "port"])
def test_narrowing(sides, ours, flows, local_ts, remote_ts, listed):
    """The common part, whoever asks for more (RFC 7296 2.9)."""
    sides.set_up(ours, local_ts=local_ts, remote_ts=remote_ts, rule=dict(flows=flows))
    wait_until("a child", lambda: sides.n_children() >= 1)
    sides.check_up(*listed)


@pytest.mark.parametrize("ours", ["passive", "active"])
def test_nothing_in_common(sides, ours):
    """TS_UNACCEPTABLE: no child, but the IKE SA stays (RFC 7296 2.21.2)."""
    sides.swan()
    sides.load(local_ts="10.77.0.0/24", remote_ts="10.78.0.0/24")
    sides.rule()
    if ours == "active":
        sides.begin()
        sides.iked.wait_established("FQDN/server2.domain")
    else:
        assert sides.initiate(check=False).returncode != 0
    wait_until("the IKE SA alone", lambda: sides.iked.is_established() and sides.n_children() == 0)
    assert "TS_UNACCEPTABLE" in sides.log() or "no common traffic selectors" in sides.log(), sides.log()


def test_children(sides):
    """charon begins without a child (RFC 6023), then makes three."""
    extra = """}
      two {
        local_ts = 10.9.0.0/16
        remote_ts = 10.0.1.0/24
        esp_proposals = aes256-sha256
      }
      three {
        local_ts = 10.0.2.0/24
        remote_ts = 10.8.0.0/16
        esp_proposals = aes256gcm16"""
    sides.swan()
    sides.load(child_extra=extra)
    sides.rule(flows=THREE)
    for n, child in enumerate(("site", "two", "three")):
        sides.initiate(child)
        wait_until(f"{n + 1} children", lambda n=n: sides.n_children() == n + 1)
    assert sides.n_established() == 1, sides.iked.sas()
    rekeyed = sides.iked.stat("IKE SA rekeyed")
    sides.charon.swanctl("--rekey", "--ike", "site")
    wait_until("the new IKE SA", lambda: sides.iked.stat("IKE SA rekeyed") > rekeyed)
    for child in ("two", "three", "site"):
        sides.charon.swanctl("--rekey", "--child", child)
    wait_until("three children still", lambda: sides.n_children() == 3)
    sides.charon.swanctl("--terminate", "--child", "two")
    wait_until("two children", lambda: sides.n_children() == 2)
    sides.check_up()


@pytest.mark.parametrize("mode", ["allow", "force"])
def test_childless(sides, mode):
    """RFC 6023: charon may want the IKE SA alone; we do not announce it and get a child."""
    sides.swan()
    sides.load(extra=f"childless = {mode}")
    sides.rule()
    answer = sides.initiate(check=False)
    if mode == "force":
        # Without CHILDLESS_IKEV2_SUPPORTED charon must not.
        assert answer.returncode != 0
        assert not sides.iked.is_established()
    else:
        sides.check_up("INSTALLED")


class Cut:
    """Nothing passes between the two meanwhile: requests of both sides stay open."""

    def __init__(self, internet):
        self.internet = internet

    def __enter__(self):
        self.internet.run("nft", "add table ip cut; add chain ip cut f { type filter hook forward priority 0; "
                                 "policy drop; }")

    def __exit__(self, *exc):
        self.internet.run("nft", "delete table ip cut")


# ---- rekeying ---------------------------------------------------------------------------------

@pytest.mark.parametrize("pfs", ["", "-ecp256"])
def test_rekeys_from_charon(sides, pfs):
    more = "childsa enc aes-256 auth hmac-sha2-256 group ecp256 " if pfs else ""
    sides.set_up(esp="aes256-sha256" + pfs, rule=dict(more=more))
    created, rekeyed = sides.iked.stat("Child SA created"), sides.iked.stat("IKE SA rekeyed")
    assert "rekey completed" in sides.charon.swanctl("--rekey", "--child", "site").stdout
    wait_until("the new child", lambda: sides.iked.stat("Child SA created") > created)
    sides.charon.swanctl("--rekey", "--ike", "site")
    wait_until("the new IKE SA", lambda: sides.iked.stat("IKE SA rekeyed") > rekeyed)
    sides.charon.swanctl("--rekey", "--child", "site")
    wait_until("one more child", lambda: sides.iked.stat("Child SA created") > created + 1)
    sides.check_up()


def test_rekeys_from_iked(sides):
    children, sas = (0, 0) if not sides.iked else (sides.iked.stat("Child SA rekeyed"),
                                                   sides.iked.stat("IKE SA rekeyed"))
    sides.set_up("active", rule=dict(life="ikelifetime 7 lifetime 3"))
    wait_until("two rekeys of the child", lambda: sides.iked.stat("Child SA rekeyed") >= children + 2, 30)
    wait_until("a rekey of the IKE SA", lambda: sides.iked.stat("IKE SA rekeyed") > sas, 30)
    sides.check_up()


# Our soft limits lie at 85 to 95 % of the lifetimes.
CROSSINGS = [("--ike", "ikelifetime 14", 9.0, "IKE SA rekeyed")]
if long_runs():
    CROSSINGS.append(("--child", "lifetime 30", 25.0, "Child SA rekeyed"))


@pytest.mark.parametrize("what,life,before,counter", CROSSINGS)
def test_both_rekey_at_once(sides, what, life, before, counter):
    """RFC 7296 2.8.1, 2.8.2, field case B37: both requests are on the way; one SA is left."""
    sides.set_up(settings=["retransmit_base = 1.0"], rule=dict(life=life))
    requests = sides.log().count("CREATE_CHILD_SA request from 192.0.2.1")
    rekeyed = sides.iked.stat(counter)
    time.sleep(before)
    with Cut(sides.t.internet):
        sides.charon.swanctl("--rekey", what, "site")
        wait_until("our request", lambda: sides.log().count("CREATE_CHILD_SA request from 192.0.2.1") > requests)
    wait_until("the crossing", lambda: "simultaneous" in sides.log() or "resolving" in sides.log())
    wait_until("the rekey", lambda: sides.iked.stat(counter) > rekeyed)
    wait_until("one child, one IKE SA", lambda: sides.n_children() == 1 and sides.n_established() == 1)
    sides.check_up()


def test_reauthentication(sides):
    """charon reauthenticates by a second SA before the first goes (and by break first)."""
    for make in ("yes", "no"):
        sides.set_up(settings=[f"make_before_break = {make}"], extra="reauth_time = 3s\nrand_time = 0s\nover_time = 10s")
        log = sides.log()
        wait_until("two reauthentications", lambda: sides.log().count("peer FQDN/server2.domain authenticated") >= 3,
                   30)
        assert "authentication failed" not in log
        wait_until("one SA", lambda: sides.n_established() == 1)


# ---- the rest of RFC 7296 ---------------------------------------------------------------------

def test_delete_both_ways(sides):
    sides.set_up()
    sides.charon.swanctl("--terminate", "--child", "site")
    assert sides.iked.is_established()
    sides.initiate()
    sides.charon.swanctl("--terminate", "--ike", "site")
    wait_until("our SA closed", lambda: not sides.iked.is_established())
    sides.initiate()
    sides.check_up()
    sides.iked.ikectl("reset", "sa")
    wait_until("charon's SA closed", lambda: not sides.charon.is_established("site"))


def test_cookies_of_charon(sides):
    """charon wants a cookie from everyone; together with INVALID_KE_PAYLOAD (field case B14)."""
    sides.set_up("active", settings=["cookie_threshold = 1", "cookie_threshold_ip = 1"],
                 proposals="aes256-sha256-modp2048",
                 rule=dict(more="ikesa enc aes-256 group curve25519 group modp2048"))
    assert "MODP_2048" in sides.check_up()


@pytest.mark.parametrize("size", [300, 400, 1280])
def test_fragments(sides, size):
    """Field case B27, with pieces of the peer's choice."""
    sides.use_key("rsa")
    received = sides.iked.stat("fragment reassembled") if sides.iked else 0
    for ours in ("passive", "active"):
        sides.set_up(ours, settings=[f"fragment_size = {size}"], extra="fragmentation = force",
                     rule=dict(auth="rsa", globals_="set fragmentation\n"), **PUBKEY)
    if size < 1000:
        assert sides.iked.stat("fragment reassembled") >= received + 2


def test_dpd_from_charon(sides):
    sides.set_up(extra="dpd_delay = 1s")
    received = sides.iked.stat("message received")
    wait_until("liveness checks", lambda: sides.iked.stat("message received") >= received + 2)
    sides.check_up()


@pytest.mark.parametrize("ours", ["passive", "active"])
def test_mobike_is_not_taken_up(sides, ours):
    """charon announces it, we do not: it must not use it (RFC 4555 3.1)."""
    sides.set_up(ours, extra="mobike = yes")
    sides.charon.swanctl("--rekey", "--ike", "site")
    sides.check_up()
    assert "UPDATE_SA_ADDRESSES" not in sides.log()


def test_a_peer_that_comes_back(sides):
    """killed and started again, charon says INITIAL_CONTACT: one SA (field case B43)."""
    sides.set_up()
    for _ in range(10 if long_runs() else 3):
        sides.charon.stop(signal.SIGKILL)
        sides.swan()
        sides.load()
        sides.initiate()
        sides.check_up()
        assert sides.n_established() == 1, sides.iked.sas()
        assert sides.n_children() == 1
