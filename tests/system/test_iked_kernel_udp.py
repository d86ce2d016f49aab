"""Two penstock-iked over the kernel's UDP sockets (-K): IKE and its processes, without espd.

    server1 (192.0.2.1) ----- internet ----- server2 (198.51.100.1)
"""
import os
import re
import signal

import pytest

from iked import FAQ_SERVER1, FAQ_SERVER2, Iked, exchange_keys
from netns import FaqTopology, program, wait_until

PSK = 'ikev2 "site" {mode} esp from {a} to {b} local {local} peer {peer} {more} psk "mekmitasdigoat"\n'


def psk_rule(number, more="", mode=None):
    ends = {1: ("10.0.1.0/24", "10.0.2.0/24", "192.0.2.1", "198.51.100.1"),
            2: ("10.0.2.0/24", "10.0.1.0/24", "198.51.100.1", "192.0.2.1")}[number]
    a, b, local, peer = ends
    return PSK.format(mode=mode or ("passive" if number == 1 else "active"), a=a, b=b, local=local, peer=peer,
                      more=more)


@pytest.fixture(scope="module")
def topology():
    with FaqTopology("iked", plain=("server1", "server2")) as t:
        yield t


@pytest.fixture
def pair(topology):
    """Starts two daemons; both are stopped afterwards, whatever happened."""
    started = []

    def make(conf1, conf2):
        one, two = Iked(topology.server1, conf1, "-K"), Iked(topology.server2, conf2, "-K")
        for daemon in (one, two):
            daemon.host.run("sh", "-c", "rm -rf /etc/iked; mkdir -p /etc/iked/pubkeys/fqdn")
            path = daemon.host.log_path("iked.log")
            if os.path.exists(path):
                os.truncate(path, 0)
        started.extend((one, two))
        return one, two

    yield make
    for daemon in reversed(started):
        if daemon.proc:
            daemon.stop()
        # Each end is clean: no socket is left behind.
        assert daemon.host.run("test", "-e", "/var/run/iked.sock", check=False).returncode != 0


def faq_pair(pair):
    one, two = pair(FAQ_SERVER1, FAQ_SERVER2)
    one.start()
    two.start()
    exchange_keys(one, "server1.domain", two, "server2.domain")
    one.wait_established("FQDN/server2.domain")
    two.wait_established("FQDN/server1.domain")
    return one, two


def in_order(text, *patterns):
    at = 0
    for pattern in patterns:
        match = re.compile(pattern).search(text, at)
        assert match, f"missing after offset {at}: {pattern}\n{text}"
        at = match.end()


def test_faq_rules(pair):
    one, two = faq_pair(pair)
    in_order(one.log(),
             r"ikev2_recv: IKE_SA_INIT request from initiator 198\.51\.100\.1:500 to 192\.0\.2\.1:500 "
             r"policy 'server1_rsa' id 0, \d+ bytes",
             r"ikev2_msg_send: IKE_SA_INIT response from 192\.0\.2\.1:500 to 198\.51\.100\.1:500 msgid 0, \d+ bytes",
             r"ikev2_recv: IKE_AUTH request from initiator .* policy 'server1_rsa' id 1, \d+ bytes",
             r"ikev2_msg_send: IKE_AUTH response from .* msgid 1, \d+ bytes",
             r"sa_state: VALID -> ESTABLISHED from 198\.51\.100\.1:\d+ to 192\.0\.2\.1:\d+ policy 'server1_rsa'")
    in_order(two.log(), r"ikev2_msg_send: IKE_SA_INIT request from 0\.0\.0\.0:500 to 192\.0\.2\.1:500 msgid 0",
             r"ikev2_recv: IKE_SA_INIT response from responder 192\.0\.2\.1:500 to 198\.51\.100\.1:500",
             r"sa_state: VALID -> ESTABLISHED from 192\.0\.2\.1:\d+ to 198\.51\.100\.1:\d+ policy 'server2_rsa'")
    # Erratum of the FAQ: server2's dstid is its own name; -n says so too, and prints it as it stands.
    warning = r"/etc/iked\.conf:4:\d+: warning: dstid FQDN/server2\.domain"
    checked = two.host.run(program("penstock-iked"), "-n", "-v").stdout
    assert re.search(warning, two.log()) and re.search(warning, checked)
    assert " dstid server2.domain " in checked and "configuration OK" in checked
    # The method and the hash are named.
    assert "RSA_PKCS1 SHA2_256 (method 14)" in one.log()


def test_show_sa_has_ikeds_form(pair):
    one, _ = faq_pair(pair)
    lines = one.ikectl("show", "sa").stdout.splitlines()
    address = r"192\.0\.2\.1:500->198\.51\.100\.1:500<FQDN/server2\.domain>\[\]"
    assert re.fullmatch(rf"iked_sas: 0x[0-9a-f]+ rspi 0x[0-9a-f]{{16}} ispi 0x[0-9a-f]{{16}} {address} "
                        r"ESTABLISHED r nexti 0x0 pol 0x1", lines[0])
    tail = r"\) B=0x0 P=0x[0-9a-f]+ @0x[0-9a-f]+"
    assert re.fullmatch(r"  sa_childsas: 0x[0-9a-f]+ ESP 0x[0-9a-f]{8} in 198\.51\.100\.1:500 -> 192\.0\.2\.1:500 \(LA"
                        + tail, lines[1])
    assert re.fullmatch(r"  sa_childsas: 0x[0-9a-f]+ ESP 0x[0-9a-f]{8} out 192\.0\.2\.1:500 -> 198\.51\.100\.1:500 \(L"
                        + tail, lines[2])
    for title in ("iked_activesas", "iked_flows", "iked_dstid_sas"):
        assert any(line.startswith(title + ": ") for line in lines), title
    assert any("ESP out 10.0.1.0/24 -> 10.0.2.0/24 [0]@-1 (L) @0x" in line for line in lines)


def test_processes_have_no_privileges(pair):
    one, _ = pair(FAQ_SERVER1, FAQ_SERVER2)
    one.start()
    pids = one.pids()
    assert set(pids) >= {"parent", "key", "ike", "control"}
    for role in ("key", "ike", "control"):
        with open(f"/proc/{pids[role]}/status") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        assert "0" not in status["Uid"].split(), role
        assert "0" not in status["Gid"].split(), role
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", role
        assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0, role
        assert os.readlink(f"/proc/{pids[role]}/root").endswith("(deleted)"), role
        with open(f"/proc/{pids[role]}/limits") as f:
            assert re.search(r"Max core file size +0 +0", f.read()), role
    key_files = [os.readlink(f"/proc/{pids['key']}/fd/{n}") for n in os.listdir(f"/proc/{pids['key']}/fd")]
    assert not any("/etc/iked" in name or "local.key" in name for name in key_files)
    mode = one.host.run("stat", "-c", "%a %U", "/var/run/iked.sock", "/etc/iked/private/local.key").stdout.split("\n")
    assert mode[:2] == ["600 root", "600 root"]


def test_psk_rekeys_of_child_and_ike(pair):
    # Short lifetimes on one side only, so that one side rekeys.
    one, two = pair(psk_rule(1), psk_rule(2, "ikelifetime 7 lifetime 3"))
    one.start()
    two.start()
    two.wait_established()
    wait_until("two rekeys of the child", lambda: two.stat("Child SA rekeyed") >= 2, 30)
    wait_until("two rekeys of the IKE SA", lambda: two.stat("IKE SA rekeyed") >= 2, 40)

    def established(daemon):
        return [line for line in daemon.sas() if " ESTABLISHED " in line]
    wait_until("one IKE SA each", lambda: len(established(one)) == 1 and len(established(two)) == 1, 15)
    # Nor does a rekeyed child outlive its successor for long.
    wait_until("one pair of child SAs", lambda: len(two.sas("iked_activesas")) <= 4, 40)


def test_wrong_psk_is_refused(pair):
    one, two = pair(psk_rule(1), psk_rule(2).replace("mekmitasdigoat", "mekmitasdigoat2"))
    one.start()
    two.start()
    wait_until("a failed authentication", lambda: one.stat("authentication failed") > 0)
    assert not one.is_established() and not two.is_established()
    assert "mekmitasdigoat" not in one.log() + two.log()


def test_wrong_dstid_is_refused(pair):
    one, two = pair(FAQ_SERVER1, FAQ_SERVER2.replace("dstid server2.domain", "dstid other.domain"))
    one.start()
    two.start()
    exchange_keys(one, "server1.domain", two, "server2.domain")
    # server1 has no policy for an IDr of other.domain.
    wait_until("a refused initiator", lambda: two.stat("IKE SA failed to establish") > 0)
    assert not one.is_established() and not two.is_established()


def test_missing_public_key_is_named(pair):
    one, two = pair(FAQ_SERVER1, FAQ_SERVER2)
    one.start()
    two.start()
    wait_until("the name of the missing file", lambda: "pubkeys/fqdn/server2.domain" in one.log())
    assert not one.is_established()
    # The daemon goes on: with the key there the next attempt succeeds.
    exchange_keys(one, "server1.domain", two, "server2.domain")
    two.ikectl("reset", "all")
    two.wait_established("FQDN/server1.domain")


def test_a_secret_that_cannot_be_read(pair):
    """Field case B07: that policy fails, waits, and says which; the daemon and the others go on."""
    lost = ('ikev2 "lost" active esp from 10.0.2.0/24 to 10.0.8.0/24 local 198.51.100.1 peer 192.0.2.1 '
            'psk file "/etc/iked/nowhere"\n')
    one, two = pair(psk_rule(1), lost + psk_rule(2))
    one.start()
    two.start()
    pids = two.pids()
    assert re.search(r"/etc/iked\.conf:1:\d+: warning: /etc/iked/nowhere: No such file", two.log())
    two.wait_established()
    wait_until("the policy's name", lambda: re.search(r"no usable key for \S+ \(policy 'lost'\)", two.log()))
    two.ikectl("reset", "all")
    wait_until("both tried again", lambda: two.log().count("(policy 'lost')") >= 2 and two.is_established())
    assert two.pids() == pids
    # As responder: the peer hears AUTHENTICATION_FAILED, nothing stays.
    two.stop()
    one.configure(psk_rule(1).replace('psk "mekmitasdigoat"', 'psk file "/etc/iked/nowhere"'))
    one.ikectl("reload")
    two.configure(psk_rule(2))
    two.start()
    wait_until("the refusal", lambda: "authentication failed notification from peer" in two.log())
    assert re.search(r"authentication failed|no usable key", one.log()) and not one.is_established()


def test_a_host_name_without_a_domain_is_warned_of(pair):
    one, _ = pair(FAQ_SERVER1, FAQ_SERVER2)
    # In its own hosts file, so that no name server is asked.
    said = one.host.run("unshare", "--uts", "--mount", "sh", "-c", (
        "echo 127.0.1.1 plain > /run/hosts; mount --bind /run/hosts /etc/hosts; hostname plain;"
        f"timeout -s TERM 5 {program('penstock-iked')} -dK"), check=False).stdout
    assert "the host's name 'plain' has no domain" in said, said
    one.start()
    assert "has no domain" not in one.log()


def test_reset_couple_and_mode(pair):
    one, two = faq_pair(pair)
    assert two.ikectl("reset", "sa").stdout == "reset request sent.\n"
    wait_until("no SA on the peer", lambda: not one.is_established())
    assert two.ikectl("reset", "all").stdout == "reset request sent.\n"
    two.wait_established("FQDN/server1.domain")
    assert two.ikectl("decouple").stdout == ""
    assert two.is_established() and not two.sas("iked_activesas")
    assert two.ikectl("couple").stdout == ""
    wait_until("loaded again", lambda: two.sas("iked_activesas"))
    one.ikectl("reset", "id", "FQDN/nobody")
    assert one.is_established()
    one.ikectl("res", "id", "FQDN/server2.domain")
    wait_until("reset by identity", lambda: not one.is_established())


def test_reload(pair):
    """Also field case B03: a file that cannot be read as it stands leaves policies and SAs alone."""
    one, two = faq_pair(pair)
    spis = one.sas()[0].split()[2:6]
    one.configure(FAQ_SERVER1 + "ikev2 oops from 10.0.1.0/24 to\n")
    answer = one.ikectl("reload", check=False)
    assert answer.returncode == 1
    assert re.search(r"ikectl: /etc/iked\.conf:\d+:\d+: ", answer.stdout)
    assert one.sas()[0].split()[2:6] == spis
    one.configure(FAQ_SERVER1.replace("esp \\\n", "esp \\ \n"))
    answer = one.ikectl("reload", check=False)
    assert answer.returncode == 1 and "/etc/iked.conf:1:" in answer.stdout and "blank after the backslash" in answer.stdout
    assert one.sas()[0].split()[2:6] == spis
    for text in (FAQ_SERVER1.replace("\n", "\r\n"), FAQ_SERVER1.rstrip("\n"), FAQ_SERVER1.replace("      ", "\t")):
        one.configure(text)
        assert one.ikectl("reload").returncode == 0
        assert one.sas()[0].split()[2:6] == spis
    # A file whose feature is missing is refused with its line too.
    one.configure(FAQ_SERVER1.replace("rsa\n", "rsa tag \"VPN\"\n"), "/etc/other.conf")
    answer = one.ikectl("load", "/etc/other.conf", check=False)
    assert answer.returncode == 1 and re.search(r"ikectl: /etc/other\.conf:\d+:\d+: ", answer.stdout)
    one.configure(FAQ_SERVER1.replace("server1_rsa", "renamed"))
    assert one.ikectl("reload").returncode == 0
    assert one.sas()[0].split()[2:6] == spis
    one.host.run("kill", "-HUP", str(one.proc.pid))
    wait_until("a reload by signal", lambda: "reload requested with SIGHUP" in one.log())
    # Without its policy an SA goes, and the peer hears of it.
    one.configure(psk_rule(1).replace("198.51.100.1", "198.51.100.77"))
    one.ikectl("reload")
    wait_until("the SA without a policy gone", lambda: not one.is_established() and not two.is_established())


def test_log_levels_and_monitor(pair):
    one, two = faq_pair(pair)
    assert one.ikectl("log", "brief").stdout == "logging request sent.\n"
    monitor = one.host.start("monitor.log", "stdbuf", "-oL", *one_monitor())
    wait_until("the monitor to attach", lambda: one.ikectl("log", "verbose").stdout and
               "log verbose: imsg type" in one.host.log("monitor.log"))
    assert re.search(r"^log verbose: imsg type \d+ len \d+ peerid \d+ pid \d+\n\ttimestamp: \d+, \w{3} \w{3} ",
                     one.host.log("monitor.log"), re.M)
    two.ikectl("reset", "all")
    wait_until("an event of the engine", lambda: "sa state: imsg type" in one.host.log("monitor.log"))
    one.host.stop(monitor)


def one_monitor():
    return program("penstockctl"), "ikectl", "monitor"


@pytest.mark.parametrize("role", ["key", "ike", "control"])
def test_a_killed_process_comes_back(pair, role):
    one, two = faq_pair(pair)
    before = one.pids()
    one.kill(role)
    wait_until(f"a new {role} process", lambda: one.pids().get(role) not in (None, before[role]))
    assert one.proc.poll() is None
    wait_until("control answers", lambda: one.ikectl("show", "stats", check=False).returncode == 0)
    if role == "key":
        # Its secrets were read again: a new IKE SA needs them.
        wait_until("the keys loaded again", lambda: one.log().count(": loaded, ") >= 2)
    two.ikectl("reset", "all")
    one.wait_established("FQDN/server2.domain", 30)
    two.wait_established("FQDN/server1.domain", 30)


def test_nothing_survives_the_parent(pair):
    one, _ = pair(FAQ_SERVER1, FAQ_SERVER2)
    one.start()
    pids = one.pids()
    one.stop(signal.SIGKILL)
    wait_until("all processes gone", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids.values()))
    # Its socket is left; a new daemon takes the name.
    one.start()
    assert one.ikectl("show", "stats").returncode == 0


def test_clean_stop_tells_the_peer(pair):
    one, two = faq_pair(pair)
    assert two.stop() == 0
    two.proc = None
    wait_until("the peer's SA closed", lambda: not one.is_established())


def test_keys_that_differ_stop_the_start(pair):
    one, two = pair(FAQ_SERVER1, FAQ_SERVER2)
    one.start()
    two.start()
    one.stop()
    one.host.write("/etc/iked/local.pub", two.local_pub())
    with pytest.raises(RuntimeError, match="local.pub is not the public key"):
        one.start()
    one.host.run("rm", "/etc/iked/private/local.key")
    with pytest.raises(RuntimeError, match="local.key is not"):
        one.start()
    # Neither start wrote over anything.
    assert one.local_pub() == two.local_pub()
    one.host.run("rm", "/etc/iked/local.pub")
    one.start()


def test_a_second_daemon_is_refused(pair):
    one, _ = pair(FAQ_SERVER1, FAQ_SERVER2)
    one.start()
    second = one.host.run(program("penstock-iked"), "-dK", check=False)
    assert second.returncode == 1 and "another iked running" in second.stdout
    assert one.ikectl("show", "stats").returncode == 0


def test_ikectl_words(pair):
    one, _ = pair(FAQ_SERVER1, FAQ_SERVER2)
    one.start()
    for words, status, text in (
            ((), 1, "missing argument:\nvalid commands/args:\n  active\n"),
            (("re",), 1, "ambiguous argument: re\n"),
            (("frobnicate",), 1, "unknown argument: frobnicate\n"),
            (("reset", "id"), 1, "missing argument:\nvalid commands/args:\n  <ikeid>\n"),
            (("reload", "now"), 1, "superfluous argument: now\n"),
            (("ca", "vpn", "create"), 1, "ikectl: ca: certificate authorities are not available"),
            (("-s", "/nowhere", "reload"), 1, "ikectl: connect: /nowhere: No such file or directory\n"),
            (("show", "certstore"), 0, ""),
            (("-q", "show", "stats"), 0, "ike:\n"),
            (("pas",), 0, ""),
            (("act",), 0, "")):
        answer = one.ikectl(*words, check=False)
        assert (answer.returncode, answer.stdout[:len(text)]) == (status, text), words
