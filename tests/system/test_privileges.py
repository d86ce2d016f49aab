"""What each process may still do: user, capabilities, system calls; where its keys lie."""
import os
import re

import pytest

from netns import FaqTopology, program
from test_espd import ipsecctl, load
from test_keys import LISTED
from tunnel import Tunnel

CAP = {"CHOWN": 0, "DAC_OVERRIDE": 1, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8, "NET_BIND_SERVICE": 10,
       "NET_ADMIN": 12, "SYS_CHROOT": 18}
PARENT = ["DAC_OVERRIDE", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT"]

# Process, the user it runs as, its capabilities, and whether its bounding set holds them too.
DESIGN = [
    ("espd", "_espd", [], False, "main: sockets, netlink's answers, TAPs, stores; workers; DPDK's threads"),
    ("espd net", "_espd", ["NET_ADMIN"], False, "asks for neighbours, takes XDP programs off"),
    ("iked parent", "root", PARENT, True, "reads files, makes its children"),
    ("iked key", "_penstock", [], False, "private keys"),
    ("iked ike", "_penstock", [], False, "bytes from outside"),
    ("iked control", "_penstock", [], False, "ikectl"),
]


def status(path):
    with open(path + "/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def tasks(pid):
    return [f"/proc/{pid}/task/{tid}" for tid in os.listdir(f"/proc/{pid}/task")]


def helper_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        children = f.read().split()
    assert len(children) == 1
    return int(children[0])


def uid_of(gateway, name):
    for line in gateway.read("/etc/passwd").splitlines():
        if line.startswith(name + ":"):
            return line.split(":")[2]
    raise KeyError(name)


def bits(names):
    return sum(1 << CAP[name] for name in names)


def areas(pid):
    """The process's writable memory: (address, length, is it left out of core dumps?)."""
    with open(f"/proc/{pid}/smaps") as f:
        text = f.read()
    for block in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", text):
        head = block.split("\n", 1)[0].split()
        if not head or not head[1].startswith("rw"):
            continue
        start, end = (int(x, 16) for x in head[0].split("-"))
        yield start, end - start, " dd" in re.search(r"^VmFlags:(.*)$", block, re.M)[1]


def places(pid, needles, hidden):
    """Where the byte strings stand in memory that is (or is not) left out of dumps."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for start, length, dd in areas(pid):
            # What is left out is looked at where keys are kept, not in the memory of packets.
            if dd != hidden or (hidden and length > 1 << 20):
                continue
            mem.seek(start)
            data = mem.read(length)
            found += [(hex(start + m.start()), name) for name, needle in needles.items()
                      for m in re.finditer(re.escape(needle), data)]
    return found


@pytest.fixture(scope="module")
def tunnel():
    with Tunnel("privs", conf="workers 2\n") as t:
        yield t


@pytest.fixture(scope="module")
def processes(tunnel):
    espd = tunnel.espd["server1"].pid
    found = {f"iked {role}": pid for role, pid in tunnel.one.pids().items()}
    found.update({"espd": espd, "espd net": helper_of(espd)})
    return found


def test_the_table_names_every_process(processes):
    # Of several engines each is an "ike".
    assert {re.sub(r"ike\d+$", "ike", name) for name in processes} == {row[0] for row in DESIGN}


@pytest.mark.parametrize("name,user,caps,is_bound,why", DESIGN, ids=[row[0] for row in DESIGN])
def test_process(tunnel, processes, name, user, caps, is_bound, why):
    pid = processes[name]
    uid = "0" if user == "root" else uid_of(tunnel.server1, user)
    seen = tasks(pid)
    assert name != "espd" or len(seen) >= 4, "main, DPDK's own, two workers"
    for task in seen:
        s = status(task)
        what = f"{name} ({why}), thread {s['Name']}"
        assert s["Uid"].split() == [uid] * 4, what
        assert "0" not in s["Gid"].split() or user == "root", what
        assert int(s["CapEff"], 16) == int(s["CapPrm"], 16) == bits(caps), what
        assert int(s["CapInh"], 16) == int(s["CapAmb"], 16) == 0, what
        assert int(s["CapBnd"], 16) == (bits(caps) if is_bound else 0), what
        assert s["NoNewPrivs"] == "1", what
        assert s["Seccomp"] == "2", what
    # Not dumpable: what is in /proc belongs to root then, whoever the process is.
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0
    with open(f"/proc/{pid}/limits") as f:
        assert re.search(r"^Max core file size\s+0\s+0\s", f.read(), re.M)


def test_keys_of_sas_lie_in_hidden_memory(tunnel, processes):
    listed = LISTED.findall(ipsecctl(tunnel.server1, "-ss", "-k").stdout)
    assert len(listed) >= 2
    needles = {f"{spi} {what}": bytes.fromhex(key) for _, spi, auth, enc in listed
               for what, key in (("auth", auth), ("enc", enc))}
    kept = places(processes["espd"], needles, hidden=True)
    assert {name for _, name in kept} == set(needles), "the search finds what there is"
    for name in ("espd", "espd net", "iked parent", "iked key", "iked ike", "iked control"):
        assert places(processes[name], needles, hidden=False) == [], name


def test_dpdk_memory_is_hidden(processes):
    """Packets and prepared keys: the bulk of espd's memory."""
    total = {dd: sum(length for _, length, is_dd in areas(processes["espd"]) if is_dd == dd) for dd in (True, False)}
    assert total[True] > 128 << 20


def test_private_key_lies_in_hidden_memory(tunnel, processes):
    text = tunnel.server1.run("openssl", "rsa", "-in", "/etc/iked/private/local.key", "-noout", "-text").stdout
    numbers = re.findall(r"^(privateExponent|prime1|prime2):\n((?:    .*\n)+)", text, re.M)
    assert len(numbers) == 3
    # libcrypto keeps numbers by words, the lowest first.
    needles = {name: bytes.fromhex(re.sub(r"[^0-9a-f]", "", digits))[::-1][:32] for name, digits in numbers}
    kept = places(processes["iked key"], needles, hidden=True)
    assert {name for _, name in kept} == set(needles), "the search finds what there is"
    pem = tunnel.server1.read("/etc/iked/private/local.key").splitlines()
    needles.update({f"{name} as a file has it": needle[::-1] for name, needle in needles.items()})
    needles.update({f"line {n} of the file": pem[n].encode() for n in range(2, len(pem) - 2)})
    for name in ("iked key", "iked parent", "iked ike", "iked control"):
        assert places(processes[name], needles, hidden=False) == [], name


def test_a_user_that_is_not_there():
    with FaqTopology("privu") as t:
        g = t.server1
        g.write("/etc/penstock/espd.conf", "standalone\nuser nobody-of-this-name\n")
        end = g.run(program("penstock-espd"), "-d", check=False)
        assert end.returncode == 1 and "no user nobody-of-this-name: systemd-sysusers makes it" in end.stdout
        # A run directory with something else in it is not given away.
        g.write("/etc/penstock/espd.conf", 'standalone\nrun-dir "/run/other"\n')
        g.write("/run/other/precious", "x")
        end = g.run(program("penstock-espd"), "-d", check=False)
        assert end.returncode == 1 and "there are files in it that are not espd's" in end.stdout
        assert g.run("stat", "-c", "%U", "/run/other/precious", "/run/other").stdout.split() == ["root"] * 2


def test_espd_as_root_keeps_nothing_but_the_user():
    with FaqTopology("privr") as t:
        proc = t.start_espd(t.server1, conf="standalone\nuser root\n")
        assert load(t.server1).returncode == 0
        for task in tasks(proc.pid):
            s = status(task)
            assert s["Uid"].split() == ["0"] * 4 and int(s["CapEff"], 16) == 0 and s["Seccomp"] == "2"
