"""Lifetimes in bytes under a steady stream (field case B64): rekeyed ahead of the limit, nothing lost, nothing left."""
import re

from iked import FAQ_SERVER1, FAQ_SERVER2
from netns import wait_until
from tunnel import Tunnel, numbered, numbered_counts, spis

# At 3,000 packets a second of 150 bytes a pair of SAs lasts two seconds.
LIMIT = " lifetime 3h bytes 1M"


def with_limit(rule):
    """The grammar wants the lifetime before the kind of authentication."""
    rule = rule.rstrip().removesuffix("rsa")
    return rule + LIMIT + " rsa\n"


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])


def rekeys(daemon):
    return daemon.stat("Child SAs rekeyed")


def resident(daemon):
    return {role: resident_kib(pid) for role, pid in daemon.pids().items()}


def test_the_limit_in_bytes_costs_no_packet_and_leaves_nothing():
    with Tunnel("bytet", with_limit(FAQ_SERVER1), with_limit(FAQ_SERVER2)) as t:
        runs = numbered(t, 3000, 120)
        wait_until("the first rekeys", lambda: rekeys(t.two) >= 3, 60)
        before = resident(t.one), resident(t.two)
        wait_until("many rekeys", lambda: rekeys(t.two) >= 15, 60)
        one, two = numbered_counts(t, runs)
        assert one["received"] == two["sent"] and two["received"] == one["sent"], (one, two)
        assert one["duplicates"] == two["duplicates"] == 0
        for was, daemon in zip(before, (t.one, t.two)):
            grown = {role: kib - was[role] for role, kib in resident(daemon).items()}
            assert max(grown.values()) < 1024, grown
        # Replaced inbound SAs stay 30 s for what is under way.
        wait_until("one pair of SAs", lambda: len(spis(t.server1)) == len(spis(t.server2)) == 2, 60, 1)
