"""The whole gateway with strongSwan 5.9, whose ESP is that of a Linux kernel in a guest.

    site1-host --- server1 (Penstock) --- internet --- server2 (guest: charon, kernel-netlink)
"""
import re
import signal

import pytest
from netns import wait_until
from strongswan import Charon, connection, psk
from world import BEHIND, KERNEL_PLUGINS, NAT, PEER, PEER6, SECRET, US, US6, long_runs

RULE = """{globals}ikev2 "site" {mode} {tmode} esp {flows} local {us} peer {peer} \\
  {suite} srcid server1.domain dstid server2.domain {life} psk "%s"
""" % SECRET
NETS = "from 10.0.1.0/24 to 10.0.2.0/24"
NETS6 = "from fd00:1::/64 to fd00:2::/64"
PSK = psk("server1.domain", "server2.domain", secret=SECRET)


class Sides:
    def __init__(self, world):
        self.world, self.guest, self.t = world, world.guest, world.t
        self.charon = None

    @property
    def iked(self):
        return self.world.iked

    def swan(self, settings=()):
        if self.charon and self.settings == settings and self.charon.proc.poll() is None:
            return self.charon
        self.stop_swan()
        self.settings = settings
        self.charon = Charon(self.guest, settings, KERNEL_PLUGINS)
        self.charon.start()
        return self.charon

    def stop_swan(self):
        if self.charon:
            self.charon.stop()
        self.charon = None

    def clean(self):
        """No SAs on either side, whatever the test before left."""
        if self.iked and self.iked.proc.poll() is None:
            self.iked.ikectl("decouple")
            self.iked.ikectl("reset", "sa")
            self.iked.ikectl("couple")
        if self.charon:
            self.charon.swanctl("--terminate", "--ike", "site", "--force", "--timeout", "2", check=False)
        self.guest.shell("ip xfrm state flush; ip xfrm policy flush")

    def set_up(self, suite="", esp="aes256-sha256", tmode="tunnel", flows=NETS, us=US, peer=PEER, life="",
               globals_="", ours="passive", settings=(), local=None, **swan):
        """A fresh rule and a fresh connection; the named side begins."""
        self.swan(settings)
        self.clean()
        options = dict(local=local or peer, remote=us, local_id="server2.domain", remote_id="server1.domain",
                       local_ts="10.0.2.0/24", remote_ts="10.0.1.0/24", esp=esp)
        options.update(swan)
        rule = dict(tmode=tmode, flows=flows, us=us, peer=peer, suite=suite, life=life, globals=globals_)
        self.connection = connection("site", **options)
        self.charon.load(self.connection, PSK)
        self.world.start_iked(RULE.format(mode=ours, **rule))
        if ours == "passive":
            self.initiate()
        else:
            self.iked.ikectl("active")
        self.wait_up()

    def initiate(self):
        answer = self.charon.swanctl("--initiate", "--child", "site", "--timeout", "20", check=False)
        assert answer.returncode == 0, answer.stdout + self.world.state()

    def wait_up(self):
        self.iked.wait_established("FQDN/server2.domain")
        wait_until("charon's SA", lambda: self.charon.is_established("site"))
        wait_until("SAs in espd", lambda: all(self.world.live().values()))

    def check_sa(self, **want):
        """What espd shows of the newest pair."""
        wait_until("packets on both SAs", lambda: all(
            sas and sas[-1]["packets"] for sas in self.world.live().values()), 10)
        for sas in self.world.live().values():
            sa = sas[-1]
            assert {k: sa[k] for k in want} == want, sa
            assert sa["drop_icv"] == sa["drop_replay"] == sa["drop_selectors"] == 0 and not sa["orphan"], sa


@pytest.fixture(scope="module")
def module_sides(world):
    s = Sides(world)
    yield s
    s.clean()
    s.stop_swan()
    world.stop_iked()


@pytest.fixture
def sides(module_sides):
    yield module_sides
    module_sides.guest.shell("ip link set eth0 mtu 1500")


def suite(esp, child, enc, auth, kernel, esn=False):
    return pytest.param(dict(esp=esp, suite=f"childsa {child}"), dict(enc=enc, auth=auth, esn=esn), kernel, id=esp)


# charon's proposal, our childsa, what espd shows, what the kernel calls it.
CBC = [suite(f"aes{bits}-{h}-noesn", f"enc aes-{bits} auth {ours} noesn", enc, ours, kernel)
       for bits, enc in (("128", "aes"), ("192", "aes-192"), ("256", "aes-256"))
       for h, ours, kernel in (("sha1", "hmac-sha1", r"hmac\(sha1\)"), ("sha256", "hmac-sha2-256", r"hmac\(sha256\)"),
                               ("sha384", "hmac-sha2-384", r"hmac\(sha384\)"),
                               ("sha512", "hmac-sha2-512", r"hmac\(sha512\)"))]
SUITES = [
    suite("aes256-sha256-esn", "enc aes-256 auth hmac-sha2-256 esn", "aes-256", "hmac-sha2-256", r"flag\b.* esn", True),
    suite("aes256-sha512-esn-noesn", "enc aes-256 auth hmac-sha2-512 esn noesn", "aes-256", "hmac-sha2-512",
          r"flag\b.* esn", True),
    suite("aes128gcm16-noesn", "enc aes-128-gcm noesn", "aes-128-gcm", "", "rfc4106"),
    suite("aes192gcm16-esn", "enc aes-192-gcm esn", "aes-192-gcm", "", r"flag\b.* esn", True),
    suite("aes256gcm16-noesn", "enc aes-256-gcm noesn", "aes-256-gcm", "", "rfc4106"),
    suite("aes256gcm16-esn", "enc aes-256-gcm esn", "aes-256-gcm", "", r"flag\b.* esn", True),
    suite("aes256gcm12-noesn", "enc aes-256-gcm-12 noesn", "aes-256-gcm-12", "", "rfc4106"),
    suite("chacha20poly1305-noesn", "enc chacha20-poly1305 noesn", "chacha20-poly1305", "", "rfc7539esp"),
    suite("chacha20poly1305-esn", "enc chacha20-poly1305 esn", "chacha20-poly1305", "", r"flag\b.* esn", True),
    suite("aes128ctr-sha256-noesn", "enc aes-128-ctr auth hmac-sha2-256 noesn", "aesctr", "hmac-sha2-256",
          "rfc3686"),
    suite("aes256ctr-sha512-esn", "enc aes-256-ctr auth hmac-sha2-512 esn", "aes-256-ctr", "hmac-sha2-512",
          r"flag\b.* esn", True),
    suite("3des-sha256-noesn", "enc 3des auth hmac-sha2-256 noesn", "3des-cbc", "hmac-sha2-256", "des3_ede"),
    suite("null-sha256-noesn", "enc null auth hmac-sha2-256 noesn", "null", "hmac-sha2-256", "cipher_null"),
]
ALL_SUITES = SUITES + (CBC if long_runs() else [CBC[0], CBC[6], CBC[11]])


@pytest.mark.parametrize("options,want,kernel", ALL_SUITES)
def test_tunnel(sides, options, want, kernel):
    """Both inner families in one child; charon begins with every second suite, or with all."""
    both = dict(flows=f"{NETS}, {NETS6}", local_ts="10.0.2.0/24,fd00:2::/64", remote_ts="10.0.1.0/24,fd00:1::/64")
    n = [p.values[1] for p in ALL_SUITES].index(want)
    for ours in ("passive", "active") if long_runs() else ("passive", "active")[n % 2:n % 2 + 1]:
        sides.set_up(ours=ours, **options, **both)
        sides.world.ping()
        sides.world.ping(v6=True, size=1300)
        sides.check_sa(mode="tunnel", udp_port="", **want)
        assert re.search(kernel, sides.guest.shell("ip xfrm state"))


TRANSPORT = [("4", US, PEER), ("6", US6, PEER6)]


@pytest.mark.parametrize("ours", ["passive", "active"])
@pytest.mark.parametrize("family,us,peer", TRANSPORT, ids=["v4", "v6"])
def test_transport(sides, family, us, peer, ours):
    suites = [dict(esp="aes256gcm16-noesn", suite="childsa enc aes-256-gcm noesn"),
              dict(esp="aes256-sha256-esn", suite="childsa enc aes-256 auth hmac-sha2-256 esn")]
    for options in suites:
        sides.set_up(ours=ours, us=us, peer=peer, tmode="transport", flows=f"from {us} to {peer}",
                     local_ts="dynamic", remote_ts="dynamic", child_extra="mode = transport", **options)
        sides.world.ping_hosts(us, peer)
        sides.world.ping_hosts(us, peer, size=1200)
        sides.check_sa(mode="transport", udp_port="")


OUTER6 = [("v6 in v6", NETS6, "fd00:2::/64", "fd00:1::/64", US6, PEER6),
          ("v4 in v6", NETS, "10.0.2.0/24", "10.0.1.0/24", US6, PEER6),
          ("v6 in v4", NETS6, "fd00:2::/64", "fd00:1::/64", US, PEER)]


@pytest.mark.parametrize("ours", ["passive", "active"])
@pytest.mark.parametrize("what,flows,local_ts,remote_ts,us,peer", OUTER6, ids=[row[0] for row in OUTER6])
def test_ipv6(sides, what, flows, local_ts, remote_ts, us, peer, ours):
    sides.set_up(ours=ours, flows=flows, us=us, peer=peer, local_ts=local_ts, remote_ts=remote_ts,
                 suite="childsa enc aes-256-gcm noesn", esp="aes256gcm16-noesn")
    inner6 = "fd00" in local_ts
    sides.world.ping(v6=inner6)
    sides.world.ping(v6=inner6, size=3000)
    sides.check_sa(mode="tunnel", udp_port="")
    assert {sa["from"] for sas in sides.world.live().values() for sa in sas} == {us, peer}


def test_rekeys_from_charon(sides):
    """Nothing is lost, with ESN and with PFS."""
    sides.set_up(esp="aes256gcm16-ecp256-esn", suite="childsa enc aes-256-gcm group ecp256 esn")
    runs = sides.world.start_numbered(seconds=9)
    rekeyed = sides.iked.stat("IKE SA rekeyed")
    for what in ("--child", "--ike", "--child", "--child"):
        sides.charon.swanctl("--rekey", what, "site")
    sides.world.end_numbered(runs)
    wait_until("a rekey of the IKE SA", lambda: sides.iked.stat("IKE SA rekeyed") > rekeyed)
    wait_until("one child alone in the kernel", lambda: len(re.findall(
        "proto esp", sides.guest.shell("ip xfrm state"))) == 2)
    sides.world.ping()


def test_rekeys_from_iked(sides):
    """The soft limit lies at 85 to 95 % of the lifetime: the rest must do for the exchange."""
    sides.set_up(ours="active", life="ikelifetime 6 lifetime 16", esp="aes256-sha256-ecp256",
                 suite="childsa enc aes-256 auth hmac-sha2-256 group ecp256")
    children, sas = sides.iked.stat("Child SA rekeyed"), sides.iked.stat("IKE SA rekeyed")
    sides.world.end_numbered(sides.world.start_numbered(seconds=17))
    wait_until("a rekey of the child", lambda: sides.iked.stat("Child SA rekeyed") > children, 30)
    wait_until("a rekey of the IKE SA", lambda: sides.iked.stat("IKE SA rekeyed") > sas, 30)
    sides.world.ping()


def test_deletes(sides):
    sides.set_up()
    sides.world.ping()
    sides.charon.swanctl("--terminate", "--child", "site")
    wait_until("our child closed", lambda: not any(sides.world.live().values()))
    sides.initiate()
    sides.world.ping()
    sides.charon.swanctl("--terminate", "--ike", "site")
    wait_until("our SA closed", lambda: not sides.iked.is_established())
    sides.initiate()
    sides.world.ping()
    sides.iked.ikectl("reset", "sa")
    wait_until("charon's SA closed", lambda: not sides.charon.is_established("site"))
    wait_until("the kernel's too", lambda: "proto esp" not in sides.guest.shell("ip xfrm state"))
    assert not any(sides.world.live().values())


def test_liveness(sides):
    """charon asks us; we ask charon when it is silent; after its restart one SA is left."""
    sides.set_up(globals_="set dpd_check_interval 1\n", extra="dpd_delay = 1s")
    received = sides.iked.stat("message received")
    wait_until("charon's checks", lambda: sides.iked.stat("message received") >= received + 2)
    sent = sides.iked.stat("dpd request sent")
    sides.charon.stop(signal.SIGKILL)
    sides.charon = None
    sides.guest.shell("ip xfrm state flush; ip xfrm policy flush")
    sides.t.site1.run("ping", "-n", "-c", "15", "-i", "0.2", "-W", "1", "10.0.2.24", check=False)
    wait_until("our check", lambda: sides.iked.stat("dpd request sent") > sent)
    sides.swan()
    sides.charon.load(sides.connection, PSK)
    sides.initiate()
    sides.world.ping()
    assert len(sides.iked.sas()) == 1, sides.iked.sas()


@pytest.mark.parametrize("esp,child", [("aes256gcm16-noesn", "enc aes-256-gcm noesn"),
                                       ("aes256-sha256-noesn", "enc aes-256 auth hmac-sha2-256 noesn")])
def test_packets_around_the_mtu(sides, esp, child):
    """Every size passes, whole or in fragments, from both sides (field case B53)."""
    sides.set_up(esp=esp, suite=f"childsa {child}", flows=f"{NETS}, {NETS6}",
                 local_ts="10.0.2.0/24,fd00:2::/64", remote_ts="10.0.1.0/24,fd00:1::/64")
    for size in (*range(1380, 1480, 1 if long_runs() else 9), 1472, 3000, 9000):
        sides.world.ping(size=size, count=1)
    for size in (1400, 1452, 4000):
        sides.world.ping(v6=True, size=size, count=1)


def test_a_smaller_mtu_on_the_way(sides):
    """The router's ICMP about our ESP lowers the inner MTU: no size is lost for good (RFC 4301 8.2)."""
    sides.set_up(esp="aes256gcm16-noesn", suite="childsa enc aes-256-gcm noesn")
    internet = sides.t.internet
    for dev in ("gbr0", "to2", "gtap0"):
        internet.run("ip", "link", "set", dev, "mtu", "1300")
    try:
        for size in (1200, 1300, 1400, 2000):
            # The first may be what the router complains about.
            sides.t.site1.run("ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-M", "do", "-s", size, "10.0.2.24",
                              check=False)
            out = sides.t.site1.run("ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-M", "dont", "-s", size,
                                    "10.0.2.24", check=False).stdout
            assert " 2 received" in out, f"{size}: {out}{sides.world.state()}"
        out = sides.t.site1.run("ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", "1300", "10.0.2.24",
                                check=False).stdout
        assert re.search("mtu ?= ?1[12]", out), out
    finally:
        for dev in ("gbr0", "to2", "gtap0"):
            internet.run("ip", "link", "set", dev, "mtu", "1500")
        sides.t.site1.run("ip", "route", "flush", "cache")


@pytest.mark.parametrize("esp,child", [("aes256gcm16-noesn", "enc aes-256-gcm noesn"),
                                       ("aes256-sha256-esn", "enc aes-256 auth hmac-sha2-256 esn")])
def test_behind_nat(sides, esp, child):
    """charon begins from behind a NAT: the kernel's ESP in UDP; rekeys from both sides."""
    sides.set_up(esp=esp, suite=f"childsa {child}", peer=NAT, local=BEHIND, life="ikelifetime 5")
    sides.world.ping()
    sides.world.ping(size=1400)
    sides.check_sa(mode="tunnel")
    port = sides.world.live()["out"][-1]["udp_port"]
    assert 20000 <= int(port) <= 30000, port
    rekeyed = sides.iked.stat("IKE SA rekeyed")
    runs = sides.world.start_numbered(seconds=7)
    sides.charon.swanctl("--rekey", "--child", "site")
    wait_until("our rekey of the IKE SA", lambda: sides.iked.stat("IKE SA rekeyed") > rekeyed)
    sides.charon.swanctl("--rekey", "--ike", "site")
    sides.charon.swanctl("--rekey", "--child", "site")
    sides.world.end_numbered(runs)
    sides.world.ping()


def test_transport_behind_nat(sides):
    """RFC 7296 2.23.1: selectors name the address before the NAT."""
    sides.set_up(tmode="transport", flows=f"from {US} to {NAT}", peer=NAT, local=BEHIND, local_ts="dynamic",
                 remote_ts="dynamic", child_extra="mode = transport", esp="aes256-sha256-noesn",
                 suite="childsa enc aes-256 auth hmac-sha2-256 noesn")
    out = sides.guest.shell(f"ping -c 2 -I {BEHIND} {US}", check=False)
    assert "2 packets received" in out, out + sides.world.state()
    sides.check_sa(mode="transport")
