"""`default deny`, `strict-inbound`, and a reload of espd.conf under a living tunnel of iked."""
import re
import signal

import pytest

from manual import drops, received, wait_drops
from netns import program, wait_until
from tunnel import Tunnel

CONF = ('port wan device "net_af_packet0,iface=ext0"\n'
        'port lan device "net_af_packet1,iface=int0"\n')


@pytest.fixture(scope="module")
def tunnel():
    # The tunnel comes up with everything denied: IKE, ARP and ESP itself are beyond the policy.
    with Tunnel("deny", conf="default deny\n") as t:
        yield t


def reload(t, conf):
    """A reload of server1's espd.conf; what the log says of it."""
    mark = len(t.server1.log("espd.log"))
    t.server1.write("/etc/penstock/espd.conf", conf)
    t.espd["server1"].send_signal(signal.SIGHUP)

    def said():
        text = t.server1.log("espd.log")[mark:]
        return text if "is loaded" in text or "is not taken" in text else None
    return wait_until("the reload", said)


def test_default_deny_spares_what_makes_the_tunnel(tunnel):
    t = tunnel
    assert received(t.site1, "10.0.2.24") == 3
    assert received(t.site2, "10.0.1.13") == 3
    before = drops(t.server1, "deny")
    assert received(t.site1, "192.0.2.254", 2) == 0, "forwarded in clear"
    assert received(t.site1, "10.0.1.1", 2) == 0, "in clear to the gateway"
    assert received(t.server1, "192.0.2.254", 2) == 0, "from the gateway in clear"
    wait_drops(t.server1, "deny", before + 5)
    # ARP goes on: the entry is made anew.
    t.server1.run("ip", "neigh", "flush", "dev", "wan")
    assert received(t.site1, "10.0.2.24") == 3
    neighbour = t.server1.run("ip", "neigh", "show", "192.0.2.254", "dev", "wan").stdout
    assert "lladdr" in neighbour, neighbour
    # And so does IKE: a new IKE SA is made.
    t.two.ikectl("reset", "all")
    t.two.wait_established("FQDN/server1.domain", 30)
    wait_until("the new tunnel", lambda: received(t.site1, "10.0.2.24", 1) == 1)


def test_a_reload_turns_default_deny_off(tunnel):
    t = tunnel
    assert "is loaded" in reload(t, CONF + "default pass\n")
    t.internet.run("ip", "route", "replace", "10.0.1.0/24", "via", "192.0.2.1")
    assert received(t.site1, "192.0.2.254") == 3
    assert received(t.site1, "10.0.1.1") == 3
    assert received(t.site1, "10.0.2.24") == 3, "server2 denies on"


def test_strict_inbound(tunnel):
    """Clear packets on iked's inbound flow, which OpenBSD calls `use` and lets in."""
    t = tunnel
    t.internet.run("ip", "addr", "replace", "10.0.2.99/24", "dev", "to2")
    t.internet.run("ip", "route", "replace", "10.0.1.0/24", "via", "192.0.2.1", "src", "10.0.2.99")
    reload(t, CONF + "strict-inbound no\n")
    before, seen = drops(t.server1, "clear-but-protected"), t.site1.start(
        "seen", "tcpdump", "-l", "-n", "--immediate-mode", "-i", "eth0", "icmp", "and", "src", "10.0.2.99")
    wait_until("tcpdump listens", lambda: "listening" in t.site1.log("seen"))
    received(t.internet, "10.0.1.13", 3, "-I", "10.0.2.99")  # the answers go into the tunnel
    wait_until("all came in", lambda: t.site1.log("seen").count("echo request") == 3)
    assert drops(t.server1, "clear-but-protected") == before
    reload(t, CONF + "strict-inbound yes\n")
    received(t.internet, "10.0.1.13", 3, "-I", "10.0.2.99")
    wait_drops(t.server1, "clear-but-protected", before + 2)
    assert t.site1.log("seen").count("echo request") == 3
    t.site1.stop(seen)
    t.internet.run("ip", "route", "replace", "10.0.1.0/24", "via", "192.0.2.1")
    t.internet.run("ip", "addr", "del", "10.0.2.99/24", "dev", "to2")


@pytest.mark.parametrize("line, told", [
    ("default perhaps", r"espd\.conf:3:9: .*'perhaps'.*expected"),
    ("mss-clamp 12", r"espd\.conf:3:11: mss-clamp 12, expected 536 to 9000"),
])
def test_a_reload_with_an_error_changes_nothing(tunnel, line, told):
    t = tunnel
    text = reload(t, CONF + line + "\ndefault deny\n")
    assert "is not taken" in text and re.search(told, text), text
    check = t.server1.run(program("penstock-espd"), "-n", check=False)
    assert check.returncode != 0 and re.search(told, check.stdout), check.stdout
    assert received(t.site1, "192.0.2.254") == 3, "still `default pass`"


def test_a_reload_says_what_needs_a_restart(tunnel):
    t = tunnel
    text = reload(t, CONF.replace("net_af_packet1", "net_af_xdp1") + 'port dmz device "net_null0"\nworkers 2\n'
                  "max-sa 64\nreplay-window 64\nidle spin\n")
    for what in ("port lan is changed", "port dmz is new", "workers is changed", "max-sa is changed"):
        assert f"{what}: it needs a restart" in text, text
    assert text.count("it needs a restart") == 4, text
    assert "port lan is gone: it needs" in reload(t, CONF.splitlines()[0] + "\n")
    assert "it needs a restart" not in reload(t, CONF)
    assert received(t.site1, "10.0.2.24") == 3
