"""Several engines beside each other (penstock-iked -E): forty tunnels, the death of an engine, reload, reset,
another number at the next start.

    site1-host --- server1 (192.0.2.1) ----- internet ----- server2 (198.51.100.101 to .140) --- site2-host

PENSTOCK_TUNNELS is the number of tunnels (40).
"""
import os
import re
import signal

import pytest

from iked import Iked
from netns import FaqTopology, program, wait_until
from tunnel import show

N = int(os.environ.get("PENSTOCK_TUNNELS", "40"))
NUMBERS = range(1, N + 1)

RULE = """ikev2 "t{n}" {mode} esp from {a} to {b} local {local} peer {peer} \\
    srcid {src} dstid {dst} psk "mekmitasdigoat{n}"
"""


def rules(side, numbers=NUMBERS):
    """Even tunnels are begun by server1, odd ones by server2: so each side has both parts in all engines."""
    text = ""
    for n in numbers:
        ends = [("10.0.1.0/24", "192.0.2.1", f"a{n}.one"), (f"10.0.2.{100 + n}/32", f"198.51.100.{100 + n}", f"b{n}.two")]
        here, there = ends if side == 1 else ends[::-1]
        text += RULE.format(n=n, mode="active" if n % 2 == side - 1 else "passive", a=here[0], b=there[0],
                            local=here[1], peer=there[1], src=here[2], dst=there[2])
    return text


class Forty(FaqTopology):
    def __init__(self):
        super().__init__(os.environ.get("PENSTOCK_TEST_PREFIX", "eng"))
        self.one = Iked(self.server1, rules(1), "-E", "4")
        self.two = Iked(self.server2, rules(2), "-E", "4")
        for n in NUMBERS:
            self.site2.run("ip", "addr", "add", f"10.0.2.{100 + n}/24", "dev", "eth0")

    def __enter__(self):
        try:
            for host in (self.server1, self.server2):
                self.start_espd(host)
            for n in NUMBERS:
                self.server2.run("ip", "addr", "add", f"198.51.100.{100 + n}/24", "dev", "wan")
            self.one.start()
            self.two.start()
            self.wait_all()
        except BaseException:
            self.close()
            raise
        return self

    def wait_all(self):
        for daemon in (self.one, self.two):
            wait_until(f"{daemon.host.name}: {N} tunnels", lambda d=daemon: len(peers(d)) == N, 90, 0.5)

    def lost(self):
        """Numbers of the tunnels that carry no packet."""
        script = "for n in $(seq 1 %d); do ping -n -q -c 1 -W 2 10.0.2.$((100 + n)) >/dev/null || echo $n; done" % N
        return self.site1.run("sh", "-c", script, check=False).stdout.split()


def peers(daemon):
    """The peers with an established IKE SA, and its two SPIs and engine."""
    found = {}
    for line in daemon.sas():
        match = re.search(r"rspi (\S+) ispi (\S+) .*<FQDN/(\S+)>.* ESTABLISHED ", line)
        if match:
            found[match[3]] = (match[1], match[2], daemon.engine_of(line))
    return found


@pytest.fixture(scope="module")
def forty():
    with Forty() as t:
        yield t
        for daemon in (t.two, t.one):
            if daemon.proc:
                daemon.stop()


def esp(host):
    """SPIs by the peer's identity."""
    return {(row["dstid"], row["spi"]) for row in show(host, "sa")}


def test_all_tunnels_over_all_engines(forty):
    assert forty.lost() == []
    here, there = peers(forty.one), peers(forty.two)
    assert {engine for _, _, engine in here.values()} == {0, 1, 2, 3}
    # Both sides agree on the SPIs, and what was chosen here carries a shard of its engine.
    assert {(r, i) for r, i, _ in here.values()} == {(r, i) for r, i, _ in there.values()}
    for daemon, side in ((forty.one, 1), (forty.two, 2)):
        for name, (spi_r, spi_i, engine) in peers(daemon).items():
            begun_here = int(re.search(r"\d+", name)[0]) % 2 == side - 1
            assert int((spi_i if begun_here else spi_r)[2:4], 16) % 4 == engine, name
    # No flow is there twice for who reads the listing, and each has its SA.
    out = [line for line in forty.one.host.run(program("penstockctl"), "ipsecctl", "-sf").stdout.splitlines()
           if line.startswith("flow esp out from 10.")]
    assert len(out) == len(set(out)) == N, out


def test_listing_reads_as_one(forty):
    lines = forty.one.ikectl("show", "sa").stdout.splitlines()
    titles = [line.split(":")[0] for line in lines if line.startswith("iked_")]
    order = ["iked_sas", "iked_activesas", "iked_flows", "iked_dstid_sas"]
    assert sorted(set(titles), key=titles.index) == order
    assert titles == sorted(titles, key=order.index), "each list is whole"
    assert lines == forty.one.ikectl("show", "sa").stdout.splitlines(), "the order stays"
    assert forty.one.stat("IKE SAs currently established") == N


def test_reset_of_one_peer(forty):
    before = peers(forty.one)
    forty.one.ikectl("reset", "id", "FQDN/b1.two")
    forty.one.ikectl("reset", "id", "FQDN/b2.two")
    wait_until("the peers are back", lambda: len(peers(forty.one)) == N and
               not {before["b1.two"], before["b2.two"]} & set(peers(forty.one).values()), 60, 0.5)
    after = peers(forty.one)
    assert {k: v for k, v in after.items() if k not in ("b1.two", "b2.two")} == \
           {k: v for k, v in before.items() if k not in ("b1.two", "b2.two")}
    assert forty.lost() == []


def test_reload_keeps_what_stays(forty):
    before = peers(forty.one)
    shown = esp(forty.one.host)
    # In another order, so that every policy has another number; one goes, and comes back.
    forty.one.configure(rules(1, reversed(range(1, N))))
    forty.one.ikectl("reload")
    wait_until("one is gone", lambda: len(peers(forty.one)) == N - 1, 30, 0.5)
    gone = before.pop(f"b{N}.two")
    assert peers(forty.one) == before
    kept = {entry for entry in shown if entry[0] != f"FQDN/b{N}.two"}
    assert kept <= esp(forty.one.host)
    assert forty.lost() == [str(N)]  # server2 has its policy still, and takes no clear packets for it
    forty.one.configure(rules(1))
    forty.one.ikectl("reload")
    forty.two.ikectl("reset", "id", f"FQDN/a{N}.one")
    forty.wait_all()
    assert gone not in peers(forty.one).values()
    assert forty.lost() == []
    # A file with an error changes nothing anywhere.
    forty.one.configure(rules(1) + "ikev2 nonsense\n")
    assert forty.one.ikectl("reload", check=False).returncode != 0
    forty.one.configure(rules(1))
    assert len(peers(forty.one)) == N


def test_death_of_an_engine(forty):
    before, attached = peers(forty.one), forty.one.log().count("attached to espd")
    victim = forty.one.engine = before["b2.two"][2]
    theirs = {name for name, (_, _, engine) in before.items() if engine == victim}
    os.kill(forty.one.pids()[f"ike{victim}"], signal.SIGKILL)
    assert forty.lost() == []
    wait_until("a new engine", lambda: forty.one.log().count("attached to espd") > attached)
    wait_until("its SAs", lambda: forty.one.stat("orphaned SA adopted") == 2 * len(theirs))
    rest = {name: value for name, value in before.items() if name not in theirs}
    assert {name: value for name, value in peers(forty.one).items() if name in rest} == rest
    assert forty.lost() == []
    # What server1 begins comes back by itself; server2 is told to begin the others again.
    for name in theirs:
        if int(re.search(r"\d+", name)[0]) % 2:
            forty.two.ikectl("reset", "id", "FQDN/" + name.replace("b", "a").replace("two", "one"))
    forty.wait_all()
    assert {name: value for name, value in peers(forty.one).items() if name in rest} == rest
    wait_until("no orphans", lambda: len(show(forty.one.host, "sa")) == 2 * N, 30, 0.5)
    assert forty.lost() == []


def test_another_number_at_the_next_start(forty):
    shown = esp(forty.one.host)
    assert len(shown) == 2 * N
    forty.one.stop(signal.SIGKILL)
    assert forty.lost() == []
    forty.one.args = ("-E", "2")
    forty.one.start()
    wait_until("all are adopted", lambda: forty.one.stat("orphaned SA adopted") == 2 * N)
    assert shown <= esp(forty.one.host) or len(peers(forty.one)) > 0
    assert forty.lost() == []
    for n in NUMBERS:
        if n % 2:
            forty.two.ikectl("reset", "id", f"FQDN/a{n}.one")
    forty.wait_all()
    assert {engine for _, _, engine in peers(forty.one).values()} == {0, 1}
    wait_until("no orphans", lambda: len(show(forty.one.host, "sa")) == 2 * N, 30, 0.5)
    assert not shown & esp(forty.one.host)
    assert forty.lost() == []
