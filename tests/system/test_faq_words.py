"""The FAQ's words of warning, and ipsec.conf beside iked."""
import re

import pytest

from iked import FAQ_SERVER2, Iked
from netns import wait_until
from tunnel import Tunnel, flows, ipsecctl, reaches, received, show, spis

# The FAQ's pair, unchanged: its first line of server2 is an erratum (both ends are 10.0.2.0/24).
WORDS1 = """\
ikev2 'server1_rsa' passive esp \\
      from 10.0.1.0/24 to 10.0.2.0/24 \\
      from 10.0.1.0/24 to 198.51.100.1 \\
      from 192.0.2.1 to 10.0.2.0/24 \\
      local 192.0.2.1 peer 198.51.100.1 \\
      srcid server1.domain \\
      rsa
"""
WORDS2 = """\
ikev2 'server2_rsa' active esp \\
        from 10.0.2.0/24 to 10.0.2.0/24 \\
        from 10.0.2.0/24 to 192.0.2.1 \\
        from 198.51.100.1 to 10.0.1.0/24 \\
        peer 192.0.2.1 \\
        dstid server2.domain
"""
BYPASS = "flow from 127.0.0.1/32 to 127.0.0.1/32 type bypass\n"
BYPASS_SHOWN = ["flow esp in from 127.0.0.1 to 127.0.0.1 type bypass",
                "flow esp out from 127.0.0.1 to 127.0.0.1 type bypass"]
DENY = "flow from 198.51.100.1 to 198.51.100.254 type deny\n"


@pytest.fixture(scope="module")
def tunnel():
    with Tunnel("sysw", WORDS1, WORDS2) as t:
        yield t
        for daemon in (t.two, t.one):
            if daemon.proc:
                daemon.stop()


def without_ids(lines):
    return [re.sub(r" srcid \S+ dstid \S+", "", line) for line in lines]


def dropped(host, reason):
    return next(row["packets"] for row in show(host, "drops") if row["reason"] == reason)


def load(host, text, *words, check=True):
    host.write("/etc/ipsec.conf", text, 0o600)
    return ipsecctl(host, *words, "-f", "/etc/ipsec.conf", check=check)


def test_gateways_reach_the_remote_networks(tunnel):
    t = tunnel
    for host, address in ((t.server1, "10.0.2.24"), (t.server1, "10.0.2.1"), (t.server2, "10.0.1.13"),
                          (t.server2, "10.0.1.1"), (t.site1, "198.51.100.1"), (t.site2, "192.0.2.1")):
        wait_until(f"{host.name} reaches {address}", lambda h=host, a=address: reaches(h, a))
        assert received(host, address, 3) == 3, f"{host.name} -> {address}"
    wait_until("all is captured", lambda: len(t.frames("esp")) >= 6 * 2 * 3)
    # The gateways' own pings are ESP as well: nothing in clear, neither by address nor by kind.
    assert t.frames("icmp or net 10.0.0.0/16") == []


def test_flows_of_the_pair(tunnel):
    peer1, peer2 = "peer 198.51.100.1", "peer 192.0.2.1"
    assert without_ids(flows(tunnel.server1)) == [
        f"flow esp in from 10.0.2.0/24 to 10.0.1.0/24 {peer1} type use",
        f"flow esp in from 10.0.2.0/24 to 192.0.2.1 {peer1} type use",
        f"flow esp in from 198.51.100.1 to 10.0.1.0/24 {peer1} type use",
        f"flow esp out from 10.0.1.0/24 to 10.0.2.0/24 {peer1} type require",
        f"flow esp out from 10.0.1.0/24 to 198.51.100.1 {peer1} type require",
        f"flow esp out from 192.0.2.1 to 10.0.2.0/24 {peer1} type require",
        "flow esp out from ::/0 to ::/0 type deny"]
    # 10.0.2.0/24 to 10.0.2.0/24 is empty against the answer: it makes no flow.
    assert without_ids(flows(tunnel.server2)) == [
        f"flow esp in from 10.0.1.0/24 to 198.51.100.1 {peer2} type use",
        f"flow esp in from 192.0.2.1 to 10.0.2.0/24 {peer2} type use",
        f"flow esp out from 10.0.2.0/24 to 192.0.2.1 {peer2} type require",
        f"flow esp out from 198.51.100.1 to 10.0.1.0/24 {peer2} type require",
        "flow esp out from ::/0 to ::/0 type deny"]


def test_bypass_of_localhost(tunnel):
    host = tunnel.server2
    before, sas = flows(host), spis(host)
    for _ in range(2):  # loading again changes nothing
        assert load(host, BYPASS).stdout == ""
        now = flows(host)
        assert [line for line in now if line not in before] == BYPASS_SHOWN
        assert len(now) == len(before) + 2
    assert load(host, BYPASS, "-d").stdout == ""
    assert flows(host) == before and spis(host) == sas
    assert reaches(host, "10.0.1.13")


def test_a_deny_flow_drops(tunnel):
    host = tunnel.server2
    assert reaches(host, "198.51.100.254")
    load(host, DENY)
    before = dropped(host, "deny")
    assert received(host, "198.51.100.254", 3, "-W", "1") == 0
    wait_until("the drops are counted", lambda: dropped(host, "deny") >= before + 3)
    load(host, DENY, "-d")
    wait_until("the router again", lambda: reaches(host, "198.51.100.254"))


@pytest.mark.parametrize("text, message", [
    ("config setup\n\tuniqueids=no\nconn a\n\tleft=192.0.2.1\n",
     r"/etc/ipsec\.conf:1:1: .*format of strongSwan's"),
    ("\nconn a\n\tleft=192.0.2.1\n", r"/etc/ipsec\.conf:2:1: .*format of strongSwan's"),
    ("flow from 10.0.0.0/8 to type deny\n", r"/etc/ipsec\.conf:1:2\d: .*expected"),
])
def test_a_wrong_ipsec_conf_changes_nothing(tunnel, text, message):
    before = flows(tunnel.server2)
    result = load(tunnel.server2, text, check=False)
    assert result.returncode != 0 and re.search(message, result.stdout), result.stdout
    assert flows(tunnel.server2) == before


def test_a_flush_empties_all_and_iked_is_told(tunnel):
    t = tunnel
    load(t.server2, BYPASS)
    old = spis(t.server2)
    assert len(old) == 2
    assert ipsecctl(t.server2, "-F").stdout == ""
    wait_until("iked closes the SA", lambda: "-> CLOSED" in t.two.log())
    # What comes after the flush is new: the passive peer was told too.
    wait_until("the peer's SAs are gone", lambda: not spis(t.server1) & old)
    assert not spis(t.server2) & old and BYPASS_SHOWN[0] not in flows(t.server2)


def test_ipsecctl_without_iked(tunnel):
    t = tunnel
    assert t.two.stop() == 0
    t.two.proc = None
    wait_until("iked's flows are gone", lambda: flows(t.server2) == [])
    load(t.server2, BYPASS)
    assert flows(t.server2) == BYPASS_SHOWN
    assert ipsecctl(t.server2, "-F").stdout == ""
    assert ipsecctl(t.server2, "-sa").stdout == "FLOWS:\nNo flows\n\nSAD:\nNo entries\n"


def test_a_wrong_dstid_is_refused(tunnel):
    t = tunnel
    if t.two.proc:
        t.two.stop()
    # The initiator demands another responder: who answers is not that one (RFC 7296 1.2).
    mark = len(t.one.log())
    t.two = Iked(t.server2, FAQ_SERVER2.replace("dstid server2.domain", "dstid other.domain")).start()
    wait_until("the initiator's refusal",
               lambda: "peer is FQDN/server1.domain, dstid is FQDN/other.domain" in t.two.log())
    wait_until("the responder to hear it",
               lambda: "peer notifies AUTHENTICATION_FAILED" in t.one.log()[mark:] and not t.one.is_established())
    assert not t.two.is_established() and spis(t.server2) == set()
    # The responder demands another initiator.
    t.two.stop()
    t.one.stop()
    t.one = Iked(t.server1, WORDS1.replace("server1.domain", "server1.domain dstid other.domain")).start()
    mark = len(t.one.log())
    t.two = Iked(t.server2, FAQ_SERVER2).start()
    wait_until("a refusal", lambda: "no compatible policy found for FQDN/server2.domain" in t.one.log()[mark:])
    assert not t.two.is_established() and spis(t.server2) == set()
    # With the right one they meet again.
    t.one.configure(WORDS1.replace("server1.domain", "server1.domain dstid server2.domain"))
    t.one.ikectl("reload")
    t.two.ikectl("reset", "all")
    t.two.wait_established("FQDN/server1.domain", 30)
