"""iked and espd together: the FAQ's two sites, death of the engine, clean stop.

    site1-host --- server1 ----- internet ----- server2 --- site2-host
"""
import re

import pytest

from iked import FAQ_SERVER1, FAQ_SERVER2, Iked, exchange_keys
from netns import FaqTopology, program, wait_until


@pytest.fixture
def gateways():
    with FaqTopology("ikede") as topology:
        one, two = Iked(topology.server1, FAQ_SERVER1), Iked(topology.server2, FAQ_SERVER2)
        topology.start_espd(topology.server1)
        topology.start_espd(topology.server2)
        one.start()
        two.start()
        exchange_keys(one, "server1.domain", two, "server2.domain")
        two.ikectl("reset", "all")
        two.wait_established("FQDN/server1.domain")
        one.wait_established("FQDN/server2.domain")
        yield topology, one, two
        for daemon in (two, one):
            if daemon.proc:
                daemon.stop()


def ipsecctl(daemon):
    return daemon.host.run(program("penstockctl"), "ipsecctl", "-sa").stdout


def spis(daemon):
    return set(re.findall(r" spi (0x[0-9a-f]{8}) ", ipsecctl(daemon)))


def passes(topology):
    return topology.site1.run("ping", "-n", "-c", "1", "-W", "1", "10.0.2.24", check=False).returncode == 0


def test_traffic_outlives_the_engine(gateways):
    topology, one, two = gateways
    wait_until("a ping between the sites", lambda: passes(topology))
    listing = ipsecctl(one)
    assert "flow esp out from ::/0 to ::/0 type deny" in listing
    assert len(spis(one)) == 2 and spis(one) == spis(two)
    before, attached = spis(one), one.log().count("attached to espd")
    one.kill("ike")
    wait_until("attached again", lambda: one.log().count("attached to espd") > attached)
    wait_until("orphans adopted", lambda: one.stat("orphaned SA adopted") == 2)
    # The same SAs carry on, although the new engine has no keys for them.
    assert spis(one) == before
    wait_until("a ping over adopted SAs", lambda: passes(topology))
    # The peer replaces them; the adopted ones go.
    two.ikectl("reset", "all")
    one.wait_established("FQDN/server2.domain")
    wait_until("new SAs alone", lambda: len(spis(one)) == 2 and not spis(one) & before)
    wait_until("a ping over new SAs", lambda: passes(topology))


@pytest.mark.parametrize("engine_dies", [False, True])
def test_a_clean_stop_leaves_nothing(gateways, engine_dies):
    _, one, _ = gateways
    if engine_dies:
        attached = one.log().count("attached to espd")
        one.kill("ike")
        wait_until("attached again", lambda: one.log().count("attached to espd") > attached)
        wait_until("orphans adopted", lambda: one.stat("orphaned SA adopted") == 2)
    assert one.stop() == 0
    one.proc = None
    wait_until("an empty SAD and SPD", lambda: ipsecctl(one) == "FLOWS:\nNo flows\n\nSAD:\nNo entries\n")
