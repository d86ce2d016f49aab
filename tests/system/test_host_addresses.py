"""Addresses that come and go on the TAPs: several a port, DHCP, SLAAC. espd follows, ESP goes from them.

    site1-host ----- server1 ----- internet (DHCP server, router) ----- server2 ----- site2-host
"""
import re

import pytest
from scapy.all import Ether, ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr, IPv6

from manual import ManualTopology, flow_rules, load, received, sa_rules
from netns import wait_until

SEND = "import socket, sys\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n" \
       "s.bind((sys.argv[1], 0))\ns.send(bytes.fromhex(sys.argv[2]))"
SCRIPT = """#!/bin/sh
case $1 in
deconfig) ip addr flush dev $interface scope global ;;
bound|renew)
	ip addr replace $ip/$mask dev $interface
	ip route replace default via $router ;;
esac
"""


class OpenTopology(ManualTopology):
    """server1's wan has no address of its own: a test gives it some."""

    n_captures = 0

    def configure(self, gateway, wan="wan", lan="lan"):
        super().configure(gateway, wan, lan)
        if gateway is self.server1:
            gateway.run("ip", "addr", "flush", "dev", wan, "scope", "global")

    def tunnel(self, here):
        """Manual SAs between `here` on server1 and server2, newly loaded on both."""
        there = "2001:db8:2::1" if ":" in here else self.outer(self.server2)
        load(self.server1, flow_rules("server1", there) + sa_rules("server1", here, there))
        load(self.server2, flow_rules("server2", here) + sa_rules("server2", there, here))

    def works_from(self, here):
        """Pings between the sites, both families, and ESP from `here`."""
        self.tunnel(here)
        self.n_captures += 1
        name = f"esp-{self.n_captures}"
        capture = self.internet.start(name, "tcpdump", "-l", "-n", "--immediate-mode", "-i", "to1", "esp")
        wait_until("tcpdump listens", lambda: "listening" in self.internet.log(name))
        assert received(self.site1, "10.0.2.24") == 3
        assert received(self.site2, "10.0.1.13") == 3
        assert received(self.site1, "fd00:2::24") == 3
        wait_until("ESP was captured", lambda: self.internet.log(name).count("ESP(") >= 18)
        self.internet.stop(capture)
        for line in self.internet.log(name).splitlines():
            if "ESP(" in line:
                assert f" {here} > " in line or f" > {here}: " in line, line


@pytest.fixture(scope="module")
def topology():
    with OpenTopology("addr") as t:
        for g in (t.server1, t.server2):
            t.start(g)
        yield t


def addresses(host, dev, family):
    text = host.run("ip", "-o", f"-{family}", "addr", "show", "dev", dev, "scope", "global").stdout
    return re.findall(r"inet6? ([0-9a-f.:]+)/", text)


def test_several_addresses_of_a_port(topology):
    t = topology
    mine = ["192.0.2.1", "192.0.2.2", "192.0.2.77", "203.0.113.9"]
    for address in mine:
        t.server1.run("ip", "addr", "add", f"{address}/24", "dev", "wan")
    t.server1.run("ip", "route", "replace", "default", "via", "192.0.2.254")
    t.internet.run("ip", "route", "add", "203.0.113.9", "via", "192.0.2.1")
    for address in mine:
        assert received(t.internet, address) == 3, address
    for address in ("192.0.2.2", "203.0.113.9"):
        t.works_from(address)
    # An address that was taken away is nobody's, and nothing to it is decrypted.
    t.server1.run("ip", "addr", "del", "203.0.113.9/24", "dev", "wan")
    assert received(t.site2, "10.0.1.13") == 0
    t.works_from("192.0.2.2")
    t.server1.run("ip", "addr", "flush", "dev", "wan", "scope", "global")


def dhcp_server(t, address):
    t.internet.write("/run/udhcpd.conf", f"start {address}\nend {address}\ninterface to1\nlease_file /run/leases\n"
                     "opt subnet 255.255.255.0\nopt router 192.0.2.254\nopt lease 60\nmin_lease 10\n")
    t.internet.run("touch", "/run/leases")
    return t.internet.start("udhcpd.log", "busybox", "udhcpd", "-f", "/run/udhcpd.conf")


def test_dhcp(topology):
    t = topology
    t.server1.write("/run/udhcpc.sh", SCRIPT, mode=0o755)
    for address in ("192.0.2.57", "192.0.2.58"):
        server = dhcp_server(t, address)
        client = t.server1.start("udhcpc.log", "busybox", "udhcpc", "-f", "-R", "-i", "wan", "-s", "/run/udhcpc.sh",
                                 "-t", "20", "-T", "1")
        wait_until(f"a lease\n{t.server1.log('udhcpc.log')}", lambda a=address: addresses(t.server1, "wan", 4) == [a])
        wait_until("espd has the address", lambda a=address: received(t.internet, a, 1) == 1)
        t.works_from(address)
        t.server1.stop(client)  # gives the lease back: the address goes
        assert addresses(t.server1, "wan", 4) == []
        assert received(t.internet, address, 2) == 0
        t.internet.stop(server)


def advertise(t, prefix, lifetime):
    mac = t.internet.read("/sys/class/net/to1/address").strip()
    router = re.search(r"inet6 (fe80::[0-9a-f:]+)/", t.internet.run("ip", "-6", "addr", "show", "dev", "to1").stdout)[1]
    frame = (Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src=router, dst="ff02::1", hlim=255) /
             ICMPv6ND_RA(routerlifetime=1800) / ICMPv6NDOptSrcLLAddr(lladdr=mac) /
             ICMPv6NDOptPrefixInfo(prefix=prefix, prefixlen=64, validlifetime=lifetime, preferredlifetime=lifetime))
    t.internet.run("/usr/bin/python3", "-c", SEND, "to1", bytes(frame).hex())


def test_slaac(topology):
    t = topology
    t.internet.sysctl("net.ipv6.conf.all.forwarding=1")
    t.server1.sysctl("net.ipv6.conf.wan.accept_ra=2")
    t.internet.run("ip", "addr", "add", "2001:db8:1::ff/64", "dev", "to1", "nodad")
    t.internet.run("ip", "addr", "add", "2001:db8:2::ff/64", "dev", "to2", "nodad")
    t.server2.run("ip", "addr", "add", "2001:db8:2::1/64", "dev", "wan", "nodad")
    t.server2.run("ip", "-6", "route", "add", "default", "via", "2001:db8:2::ff")
    advertise(t, "2001:db8:1::", 3600)
    here = wait_until("an address of the prefix", lambda: addresses(t.server1, "wan", 6))[0]
    assert here.startswith("2001:db8:1:")
    assert "default via fe80:" in t.server1.run("ip", "-6", "route").stdout
    wait_until("espd has the address", lambda: received(t.internet, here, 1) == 1)
    t.works_from(here)
