"""The installed units: what systemd says of them, and started under a real systemd.

The second needs minutes (an emulated machine boots): PENSTOCK_SYSTEMD=1 runs it.
"""
import os
import re
import shutil
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from netns import BUILD, sh  # noqa: E402
from systemd_guest import SystemdGuest  # noqa: E402

UNITS = ("penstock-espd.service", "penstock-ipsec.service", "penstock-iked.service")
TEST_NET = """\
[Unit]
DefaultDependencies=no
Before=network-pre.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/ip link add ext0 type veth peer name ext1
ExecStart=/sbin/ip link add int0 type veth peer name int1
ExecStart=/sbin/ip link set ext0 up
ExecStart=/sbin/ip link set int0 up
"""
ESPD_CONF = 'port wan device "net_af_packet0,iface=ext0"\nport lan device "net_af_packet1,iface=int0"\n'
IPSEC_CONF = "flow from 127.0.0.1/32 to 127.0.0.1/32 type bypass\n"
IKED_CONF = ("ikev2 'one' passive esp from 10.0.1.0/24 to 10.0.2.0/24 local 192.0.2.1 peer 198.51.100.1 "
             "srcid server1.domain psk 'secret'\n")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_systemd_finds_no_fault_in_the_units(tmp_path):
    """Names of settings, their values, loops in the order."""
    paths = []
    for unit in UNITS:
        with open(os.path.join(BUILD, "scripts", unit)) as f:
            text = f.read()
        path = tmp_path / unit
        # The programs are not installed here: any that exists will do.
        path.write_text(re.sub(r"^(Exec\w+=)/\S+", r"\1/bin/true", text, flags=re.M))
        paths.append(path)
    result = sh("systemd-analyze", "verify", "--man=no", *paths, check=False)
    assert "penstock" not in result.stdout, result.stdout


@pytest.fixture
def guest():
    with SystemdGuest(BUILD, [("/etc/systemd/system/test-net.service", TEST_NET),
                              ("/etc/penstock/espd.conf", ESPD_CONF), ("/etc/ipsec.conf", IPSEC_CONF),
                              ("/etc/iked.conf", IKED_CONF)]) as g:
        g.run("systemd-sysusers; systemd-tmpfiles --create", seconds=120)
        g.run("systemctl start test-net")
        g.run("systemctl start --no-block " + " ".join(UNITS))
        for unit in UNITS:
            g.wait(f"systemctl -q is-active {unit}", 900)
        yield g


def flows(guest):
    return [line for line in guest.run("ipsecctl -sf").splitlines() if line.startswith("flow ")]


@pytest.mark.skipif(os.environ.get("PENSTOCK_SYSTEMD") != "1", reason="PENSTOCK_SYSTEMD=1 boots a machine for it")
def test_life_under_systemd(guest):
    started = [int(guest.show(unit, "ActiveEnterTimestampMonotonic")["ActiveEnterTimestampMonotonic"])
               for unit in UNITS]
    assert started == sorted(started), "the data plane, then ipsec.conf, then iked"
    guest.wait("ipsecctl -sf | grep -q require", 120)
    before = flows(guest)
    assert len(before) == 5, before

    iked = guest.show("penstock-iked", "MainPID")
    guest.run("systemctl reload penstock-iked", seconds=120)
    guest.run("kill -9 $(systemctl show -P MainPID penstock-espd)")
    guest.wait("[ $(systemctl show -P NRestarts penstock-espd) = 1 ] && systemctl -q is-active penstock-espd", 900)
    guest.wait("[ $(ipsecctl -sf | grep -c ^flow) = 5 ]", 120)
    assert flows(guest) == before
    assert guest.show("penstock-iked", "MainPID") == iked, "iked outlives espd"

    guest.run("systemctl restart --no-block penstock-espd")
    guest.wait("! systemctl -q is-active penstock-espd", 120)
    guest.wait("systemctl -q is-active penstock-espd", 900)
    guest.wait("[ $(ipsecctl -sf | grep -c ^flow) = 5 ]", 120)
    assert guest.show("penstock-iked", "MainPID") == iked, "a restart of espd leaves iked alone"

    guest.run("systemctl stop penstock-iked", seconds=120)
    assert len(flows(guest)) == 2, "ipsec.conf's alone"
    guest.run("systemctl stop penstock-ipsec", seconds=120)
    assert flows(guest) == []
    guest.run("systemctl stop penstock-espd", seconds=120)
    assert guest.run("pgrep -f sbin/penstock- | grep -v $$", check=False) == ""
    assert "0 loaded units" in guest.run("systemctl --failed --no-pager")
