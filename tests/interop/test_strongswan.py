"""The whole gateway (penstock-iked and penstock-espd) with strongSwan 5.9: real packets.

    site1-host --- server1 (Penstock) --- internet --- [nat] --- server2 (charon) --- site2-host

charon does its ESP in user space (kernel-libipsec) and so always in UDP; ESP without UDP is
tried with a kernel in test_kernel_esp.py.
"""
import json
import os
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

from iked import Iked  # noqa: E402
from netns import FaqTopology, program, wait_until  # noqa: E402
from strongswan import Charon, connection, psk  # noqa: E402

SECRET = "mekmitasdigoat"
PSK = psk("server1.domain", "server2.domain", secret=SECRET)
RULE = """{globals}ikev2 "site" {mode} esp from 10.0.1.0/24 to 10.0.2.0/24 local 192.0.2.1 peer {peer} \\
  {more} srcid server1.domain dstid server2.domain {life} {auth}
"""
RSA = dict(local_auth="pubkey", local_keys="own.pem", remote_keys="peer.pem")


def show_sas(host):
    """The live ESP SAs, by direction, newest last."""
    sas = json.loads(host.run(program("penstockctl"), "show", "sa", "--json").stdout)
    live = [sa for sa in sas if sa["state"] == "mature"]
    return {d: sorted((sa for sa in live if sa["direction"] == d), key=lambda sa: (sa["installed_s"], sa["packets"]))
            for d in ("in", "out")}


class Sides:
    """A topology whose server1 runs espd all the time; iked and charon are started by each test."""

    def __init__(self, prefix, nat):
        self.t = FaqTopology(prefix, nat=nat, plain=("server2",))
        self.nat = nat
        self.iked = self.charon = None
        self.t.start_espd(self.t.server1)

    def rule(self, mode="passive", auth=f'psk "{SECRET}"', more="", life="", globals_=""):
        # server2 is 172.16.2.1 behind the NAT, which is 198.51.100.1.
        text = RULE.format(mode=mode, auth=auth, more=more, life=life, globals=globals_, peer="198.51.100.1")
        self.t.server1.run("sh", "-c", "rm -rf /etc/iked; mkdir -p /etc/iked/pubkeys/fqdn")
        path = self.t.server1.log_path("iked.log")
        if os.path.exists(path):
            os.truncate(path, 0)
        self.iked = Iked(self.t.server1, text)
        return self.iked

    def swan(self, settings=()):
        self.charon = Charon(self.t.server2, settings).start()
        return self.charon

    def load(self, secrets=PSK, **kw):
        options = dict(local=self.t.wan["server2"]["wan"].split("/")[0], remote="192.0.2.1",
                       local_id="server2.domain", remote_id="server1.domain", local_ts="10.0.2.0/24",
                       remote_ts="10.0.1.0/24", extra="")
        options.update(kw)
        options["extra"] += "\n    encap = yes"
        self.charon.load(connection("site", **options), secrets)

    def exchange_rsa(self):
        theirs = self.charon.make_key()
        self.iked.trust(theirs, "server2.domain")
        self.charon.own_key(theirs)
        self.charon.peer_key(self.iked.local_pub())

    def initiate(self):
        answer = self.charon.swanctl("--initiate", "--child", "site", "--timeout", "15", check=False)
        assert answer.returncode == 0, answer.stdout + self.iked.log()

    def ping(self):
        for site, address in ((self.t.site1, "10.0.2.24"), (self.t.site2, "10.0.1.13")):
            out = site.run("ping", "-n", "-c", "3", "-i", "0.1", "-W", "2", address, check=False).stdout
            assert " 3 received" in out and "DUP" not in out, out + self.iked.log()[-3000:] + self.charon.sas()

    def udp(self, pps=500, seconds=2):
        """Numbered datagrams both ways: each arrives once."""
        runs = [host.start(f"udp-{host.name}", program("udp_numbered"), here, there, "7000", pps, seconds, "400",
                           stdout=subprocess.PIPE, text=True)
                for host, here, there in ((self.t.site1, "10.0.1.13", "10.0.2.24"),
                                          (self.t.site2, "10.0.2.24", "10.0.1.13"))]
        counts = [json.loads(run.communicate(timeout=60)[0]) for run in runs]
        for host, run in zip((self.t.site1, self.t.site2), runs):
            host.stop(run)
        for a, b in (counts, counts[::-1]):
            assert a["sent"] >= pps and b["unique"] == a["sent"] and b["duplicates"] == 0, counts

    def wait_up(self):
        self.iked.wait_established("FQDN/server2.domain")
        wait_until("charon's SA", lambda: self.charon.is_established("site"))
        wait_until("SAs in espd", lambda: all(show_sas(self.t.server1).values()))

    def check_up(self, enc="aes-256", auth="hmac-sha2-256"):
        self.wait_up()
        self.ping()
        # espd publishes its counters once in a while.
        wait_until("packets on both SAs", lambda: all(
            sas and sas[-1]["packets"] for sas in show_sas(self.t.server1).values()), 10)
        for direction, sas in show_sas(self.t.server1).items():
            sa = sas[-1]
            assert (sa["enc"], sa["auth"], sa["mode"]) == (enc, auth, "tunnel"), sa
            assert (sa["srcid"], sa["dstid"]) == ("FQDN/server1.domain", "FQDN/server2.domain"), sa
            assert sa["udp_port"] != "" and not sa["orphan"], sa
            assert sa["drop_icv"] == sa["drop_replay"] == sa["drop_selectors"] == 0, sa
            ours, theirs = "10.0.1.0/24", "10.0.2.0/24"
            assert (sa["ts_src"], sa["ts_dst"]) == ((ours, theirs) if direction == "out" else (theirs, ours)), sa

    def is_down(self):
        return not self.iked.is_established() and not any(show_sas(self.t.server1).values())

    def stop(self):
        if self.iked and self.iked.proc:
            self.iked.stop()
        if self.charon:
            self.charon.stop()
        self.iked = self.charon = None


@pytest.fixture(scope="module")
def direct_gateways():
    s = Sides("interopd", nat=False)
    yield s
    s.t.close()


@pytest.fixture
def sides(direct_gateways):
    yield direct_gateways
    direct_gateways.stop()


@pytest.fixture(scope="module")
def natted_gateways():
    s = Sides("interopn", nat=True)
    yield s
    s.t.close()


@pytest.fixture
def natted(natted_gateways):
    yield natted_gateways
    natted_gateways.stop()


# Of both daemons: charon's IKE and ESP proposals, our `childsa`, and what espd must show.
SUITES = [("aes256-sha256-curve25519", "aes256-sha256", "", "aes-256", "hmac-sha2-256"),
          ("aes256gcm16-prfsha256-ecp256", "aes256gcm16", "childsa enc aes-256-gcm", "aes-256-gcm", ""),
          ("aes128-sha256-modp2048", "aes128-sha512", "childsa enc aes-128 auth hmac-sha2-512", "aes",
           "hmac-sha2-512")]


@pytest.mark.parametrize("ike,esp,more,enc,auth", SUITES)
def test_psk_charon_initiates(sides, ike, esp, more, enc, auth):
    sides.rule(more=more).start()
    sides.swan()
    sides.load(proposals=ike, esp=esp)
    sides.initiate()
    sides.check_up(enc, auth)
    sides.udp()


@pytest.mark.parametrize("ike,esp,more,enc,auth", SUITES)
def test_psk_iked_initiates(sides, ike, esp, more, enc, auth):
    sides.swan()
    sides.load(proposals=ike, esp=esp)
    sides.rule("active", more=more).start()
    sides.check_up(enc, auth)
    sides.udp()


@pytest.mark.parametrize("mode", ["passive", "active"])
def test_rsa_raw_keys(sides, mode):
    sides.swan()
    iked = sides.rule("passive", "rsa")
    iked.start()
    sides.exchange_rsa()
    sides.load(**RSA, secrets="")
    if mode == "active":
        iked.configure(iked.host.read("/etc/iked.conf").replace("passive", "active"))
        iked.ikectl("reload")
    else:
        sides.initiate()
    sides.check_up()
    assert "method 14" in iked.log()


def test_another_group_first(sides):
    """charon's KE is of ecp256, which our policy has not: INVALID_KE_PAYLOAD, then modp2048."""
    iked = sides.rule(more="ikesa enc aes-256 auth hmac-sha2-256 group modp2048").start()
    sides.swan()
    sides.load(proposals="aes256-sha256-ecp256-modp2048")
    sides.initiate()
    sides.check_up()
    assert "MODP_2048" in sides.charon.sas()
    assert iked.stat("KE payload of another group") >= 1


def test_rekeys_from_charon(sides):
    iked = sides.rule().start()
    sides.swan()
    sides.load()
    sides.initiate()
    sides.check_up()
    spis = {sa["spi"] for both in show_sas(sides.t.server1).values() for sa in both}
    for what in ("--child", "--ike", "--child"):
        sides.charon.swanctl("--rekey", what, "site")
        sides.udp(seconds=1)
    wait_until("a rekey of the IKE SA", lambda: iked.stat("IKE SA rekeyed") >= 1)
    # The old inbound SAs stay for packets that are late; the outbound one is another at once.
    wait_until("a new outbound SA alone", lambda: [
        sa["spi"] not in spis for sa in show_sas(sides.t.server1)["out"]] == [True])
    sides.check_up()


def test_rekeys_from_iked(sides):
    sides.swan()
    sides.load()
    iked = sides.rule("active", life="ikelifetime 7 lifetime 3").start()
    sides.wait_up()
    sides.udp(seconds=10)
    wait_until("two rekeys of the child", lambda: iked.stat("Child SA rekeyed") >= 2, 30)
    wait_until("a rekey of the IKE SA", lambda: iked.stat("IKE SA rekeyed") >= 1, 30)
    sides.check_up()


def test_delete_both_ways(sides):
    iked = sides.rule().start()
    sides.swan()
    sides.load()
    sides.initiate()
    sides.check_up()
    sides.charon.swanctl("--terminate", "--child", "site")
    wait_until("our child closed", lambda: not any(show_sas(sides.t.server1).values()))
    assert iked.is_established()
    sides.initiate()
    sides.check_up()
    sides.charon.swanctl("--terminate", "--ike", "site")
    wait_until("our SA closed", sides.is_down)
    sides.initiate()
    sides.check_up()
    iked.ikectl("reset", "sa")
    wait_until("charon's SA closed", lambda: not sides.charon.is_established("site"))
    wait_until("ours too", sides.is_down)


def test_a_dead_peer_is_asked_and_comes_back(sides):
    """RFC 7296 2.4: packets that go out and bring nothing back start a liveness check; it is
    repeated for two minutes, so its end is a unit test's. INITIAL_CONTACT ends the old SA."""
    iked = sides.rule(globals_="set dpd_check_interval 1\n").start()
    sides.swan()
    sides.load()
    sides.initiate()
    sides.check_up()
    sent, again = iked.stat("dpd request sent"), iked.stat("request retransmitted")
    sides.charon.stop(signal.SIGKILL)
    sides.t.site1.run("ping", "-n", "-c", "20", "-i", "0.2", "-W", "1", "10.0.2.24", check=False)
    wait_until("a liveness check", lambda: iked.stat("dpd request sent") > sent)
    wait_until("its repeat", lambda: iked.stat("request retransmitted") > again)
    sides.swan()
    sides.load()
    sides.initiate()
    sides.check_up()
    assert len(iked.sas()) == 1, iked.sas()


def test_fragments(sides):
    """charon in pieces of 500 bytes; we announce fragmentation."""
    sides.swan(settings=["fragment_size = 500"])
    iked = sides.rule("passive", "rsa", globals_="set fragmentation\n")
    iked.start()
    sides.exchange_rsa()
    sides.load(**RSA, secrets="", extra="fragmentation = force")
    sides.initiate()
    sides.check_up()
    assert iked.stat("fragment reassembled") >= 1


@pytest.mark.parametrize("auth", ["psk", "rsa"])
def test_behind_nat(natted, auth):
    natted.swan()
    iked = natted.rule("passive", "rsa" if auth == "rsa" else f'psk "{SECRET}"').start()
    if auth == "rsa":
        natted.exchange_rsa()
    natted.load(**(dict(RSA, secrets="") if auth == "rsa" else {}))
    natted.initiate()
    natted.check_up()
    natted.udp()
    # Rekeys from both sides go the way that the NAT opened.
    natted.charon.swanctl("--rekey", "--child", "site")
    natted.charon.swanctl("--rekey", "--ike", "site")
    wait_until("a rekey of the IKE SA", lambda: iked.stat("IKE SA rekeyed") >= 1)
    natted.check_up()
    out = show_sas(natted.t.server1)["out"][-1]
    assert out["to"] == "198.51.100.1" and out["udp_port"] not in ("", "4500"), out


def test_rekeys_from_iked_behind_nat(natted):
    natted.swan()
    natted.load()
    iked = natted.rule(life="ikelifetime 7 lifetime 3").start()
    natted.initiate()
    natted.udp(seconds=8)
    wait_until("rekeys", lambda: iked.stat("Child SA rekeyed") >= 1 and iked.stat("IKE SA rekeyed") >= 1, 30)
    natted.check_up()


def test_the_nat_gives_another_port(natted):
    """RFC 7296 2.23: an authenticated packet from the new port moves both IKE and ESP."""
    iked = natted.rule().start()
    natted.swan()
    natted.load()
    natted.initiate()
    natted.check_up()
    before = show_sas(natted.t.server1)["out"][-1]["udp_port"]
    nat = natted.t.nat_host
    nat.run("nft", "flush table ip nat; add rule ip nat post oif out0 udp sport 4500 masquerade to :61507")
    # A masquerading device that goes down forgets its mappings.
    nat.run("ip", "link", "set", "out0", "down")
    nat.run("ip", "link", "set", "out0", "up")
    nat.run("ip", "route", "replace", "default", "via", "198.51.100.254")
    # The next packet from inside opens the new way.
    natted.t.site2.run("ping", "-n", "-c", "2", "-W", "1", "10.0.1.13", check=False)
    natted.ping()
    after = show_sas(natted.t.server1)["out"][-1]["udp_port"]
    assert after != before and after == "61507", (before, after)
    assert iked.is_established()
