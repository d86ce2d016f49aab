"""What people type at a gateway: every command answers, and a wrong one says what is wrong."""
import json
import re

import pytest

from netns import program, wait_until
from tunnel import Tunnel, ipsecctl, reaches, received, show


@pytest.fixture(scope="module")
def t():
    with Tunnel("cli", conf="telemetry yes\n") as tunnel:
        wait_until("the tunnel", lambda: reaches(tunnel.site1, "10.0.2.24"))
        yield tunnel


def ctl(host, *words, check=True):
    return host.run(program("penstockctl"), *words, check=check)


REFUSED = [  # words, what the message must say
    (["nonsense"], "unknown command: nonsense"),
    (["show"], "usage: penstockctl show sa|flow"),
    (["show", "bogus"], "show bogus: no such list; there are sa, flow"),
    (["show", "sa", "more"], "superfluous argument: more"),
    (["-c", "x", "trace"], "-c x: not a number of packets"),
    (["-c", "0", "trace"], "-c 0: not a number of packets"),
    (["-c", "-1", "trace"], "-c -1: not a number of packets"),
    (["capture", "spi"], "usage: penstockctl capture"),
    (["capture", "spi", "x"], "x: not an SPI"),
    (["capture", "spi", "0x100000001"], "0x100000001: not an SPI"),
    (["why-policy", "192.0.2.1"], "usage: penstockctl why-policy"),
    (["why-policy", "192.0.2.1", "192.0.2.2", "FQDN/a", "FQDN/b", "c"], "superfluous argument: c"),
    (["why-policy", "a", "b"], "expected: LOCAL PEER"),
    (["-r", "/nowhere", "show", "sa"], "/nowhere/view: penstock-espd is not running"),
    (["-r", "/nowhere", "top", "-n", "1"], "/nowhere/view: penstock-espd is not running"),
    (["-s", "/nowhere", "why-policy", "192.0.2.1", "192.0.2.2"], "connect: /nowhere"),
    (["top", "-n", "x"], "usage: penstockctl top"),
    (["exporter", "--listen", "localhost"], "--listen: expected ADDRESS:PORT"),
    (["exporter", "--listen"], "--listen: missing argument"),
    (["exporter", "--listen", "203.0.113.9:80"], "203.0.113.9 port 80: "),
    (["exporter", "--max-tunnels", "-1"], "--max-tunnels: expected 0 to"),
    (["exporter", "--bogus", "1"], "unknown option: --bogus"),
    (["ikectl", "show", "nothing"], "unknown argument: nothing"),
    (["ikectl", "show"], "missing argument:"),
    (["ikectl", "show", "sa", "x"], "superfluous argument: x"),
    (["ipsecctl", "-s", "x"], "Unknown show modifier 'x'"),
    (["ipsecctl", "stray"], "unknown command line argument: stray"),
]


@pytest.mark.parametrize("words,said", REFUSED, ids=lambda x: " ".join(x) if isinstance(x, list) else "")
def test_refused(t, words, said):
    result = t.server1.run("timeout", "5", program("penstockctl"), *words, check=False)
    assert result.returncode == 1 and said in result.stdout, (result.returncode, result.stdout)


LISTS = ["sa", "flow", "port", "worker", "counters", "drops", "owner", "state", "spd", "stats", "pipeline"]


@pytest.mark.parametrize("what", LISTS)
def test_lists_are_json_and_text(t, what):
    assert json.loads(ctl(t.server1, "show", what, "--json").stdout)
    text = ctl(t.server1, "show", what).stdout
    assert what == "drops" or text.strip()


def test_totals_agree_with_what_they_sum(t):
    """Nothing that is printed stands at zero because nobody fills it."""
    assert received(t.site1, "10.0.2.24", 5) == 5

    def settled():
        state, owners = show(t.server1, "state")[0], show(t.server1, "owner")
        owner = {key: sum(row[key] for row in owners) for key in ("sas", "flows", "paths")}
        out = next(f for f in show(t.server1, "flow") if f["from"] == "10.0.1.0/24")
        return state["sas"] == owner["sas"] == len(show(t.server1, "sa")) >= 2 and \
            state["flows"] == owner["flows"] == len(show(t.server1, "flow")) and \
            state["paths"] == owner["paths"] >= 1 and state["resyncs"] >= 1 and out["hits"] >= 5
    wait_until("the view's totals", settled, 10)


def test_drops_name_reasons_only(t):
    assert "none" not in {row["reason"] for row in show(t.server1, "drops")}


def test_why_policy_as_json(t):
    rows = json.loads(ctl(t.server1, "why-policy", "192.0.2.1", "198.51.100.1", "--json").stdout)
    assert rows == [{"policy": "server1_rsa", "place": "/etc/iked.conf:1", "chosen": True, "reason": "match"}]
    rows = json.loads(ctl(t.server1, "why-policy", "192.0.2.1", "198.51.100.9", "--json").stdout)
    assert not rows[0]["chosen"] and "peer" in rows[0]["reason"]


def test_flows_name_their_ike_sa(t):
    lines = ctl(t.server1, "ikectl", "show", "sa").stdout.splitlines()
    ike = next(re.match(r"iked_sas: (0x[0-9a-f]+) ", line)[1] for line in lines if line.startswith("iked_sas"))
    for title in ("  sa_flows: ", "iked_flows: "):
        owners = [line.rsplit("@", 1)[1] for line in lines if line.startswith(title) and "10.0.1.0/24" in line]
        assert owners == [ike, ike], lines


def test_identities_follow_the_direction(t):
    """identity_src is that of the packets' source: of an inbound SA the peer's."""
    text = ipsecctl(t.server1, "-ss", "-v").stdout
    for sa in re.split(r"^esp ", text, flags=re.M)[1:]:
        us_first = sa.startswith("tunnel from 192.0.2.1 ")
        names = re.findall(r"identity_(?:src|dst): type fqdn id 0: FQDN/(\S+)", sa)
        assert names == (["server1.domain", "server2.domain"] if us_first else ["server2.domain", "server1.domain"])


def test_a_file_that_is_not_there_is_named_once(t):
    result = ipsecctl(t.server1, "-f", "/nowhere", check=False)
    assert result.returncode == 1
    assert result.stdout.splitlines()[0] == "/nowhere: No such file or directory"


def test_ipsecctl_says_what_it_loads(t):
    """Macros and rules with -v; with -m what comes and goes."""
    monitor = t.server1.start("monitor.log", "stdbuf", "-oL", program("penstockctl"), "ipsecctl", "-m")
    rules = 'far = 10.0.9.0/24\nflow from 10.0.1.0/24 to $far peer 198.51.100.9 srcid "a b"\n'
    t.server1.write("/etc/more.conf", rules, 0o600)
    shown = ["flow esp out from 10.0.1.0/24 to 10.0.9.0/24 peer 198.51.100.9 srcid \"a b\" type require",
             "flow esp in from 10.0.9.0/24 to 10.0.1.0/24 peer 198.51.100.9 srcid \"a b\" type require"]
    assert ipsecctl(t.server1, "-nvf", "/etc/more.conf").stdout.splitlines() == ['far = "10.0.9.0/24"'] + shown
    assert ipsecctl(t.server1, "-nvf", "/etc/more.conf", "-D", "far=10.0.8.0/24").stdout.splitlines() == [
        'far = "10.0.8.0/24"'] + [line.replace("10.0.9", "10.0.8") for line in shown]
    assert ipsecctl(t.server1, "-f", "/etc/more.conf").stdout == ""
    wait_until("both come", lambda: t.server1.log("monitor.log").count("sadb_addflow: satype esp ") == 2)
    ipsecctl(t.server1, "-d", "-f", "/etc/more.conf")
    wait_until("both go", lambda: t.server1.log("monitor.log").count("sadb_delflow: satype esp ") == 2)
    t.server1.stop(monitor)


def test_decouple_and_couple(t):
    """The FAQ's way to pause: nothing is left in the data plane, the IKE SA stays."""
    assert t.two.ikectl("decouple").stdout == ""
    wait_until("nothing loaded", lambda: ipsecctl(t.server2, "-sa").stdout == "FLOWS:\nNo flows\n\nSAD:\nNo entries\n")
    assert t.two.is_established("FQDN/server1.domain")
    assert t.two.ikectl("couple").stdout == ""
    wait_until("the tunnel", lambda: reaches(t.site1, "10.0.2.24"), 20)
    assert len(ipsecctl(t.server2, "-sf").stdout.splitlines()) == 3


# ---- explain ----

def explain(host, *words):
    text = ctl(host, "explain", "--json", *words).stdout
    return json.loads(text)


def test_explain_tells_flow_sa_next_hop_and_mtu(t):
    assert received(t.site1, "10.0.2.24", 3) == 3
    out = next(sa for sa in show(t.server1, "sa") if sa["direction"] == "out" and sa["state"] == "mature")
    said = explain(t.server1, "10.0.1.13:1000", "10.0.2.24:53", "udp")
    assert said["packet"] == "10.0.1.13:1000 > 10.0.2.24:53 proto 17" and said["verdict"] == "encrypted"
    assert said["flow"] == "out from 10.0.1.0/24 to 10.0.2.0/24 peer 198.51.100.1 type require"
    assert said["sa-spi"] == out["spi"] and said["mtu"] == out["mtu"] and said["sa-packets"] >= 3
    assert said["port"] == "wan" and said["next-hop"].startswith("192.0.2.254 at ")
    assert said["answer-verdict"].startswith("accepted out of an SA only")
    assert said["answer-sa-spi"] != said["sa-spi"] and said["answer-sa-packets"] >= 3
    by_spi = explain(t.server1, out["spi"])
    assert len(by_spi) == 1 and by_spi[0]["sa"] == said["sa"]


EXPLAINED = [  # words, part of the verdict
    (["10.0.1.13", "8.8.8.8"], "goes on in clear: no flow matches"),
    (["fd01::1", "fd02::2"], "dropped: deny"),
    (["[fd01::1]:5", "[fd02::2]:6", "tcp"], "dropped: deny"),
    (["10.0.1.13", "192.0.2.1"], "in clear: accepted"),
]


@pytest.mark.parametrize("words,verdict", EXPLAINED, ids=lambda x: " ".join(x) if isinstance(x, list) else "")
def test_explain_verdicts(t, words, verdict):
    assert verdict in explain(t.server1, *words)["verdict"]


@pytest.mark.parametrize("words", [["foo"], ["1.2.3.4", "::1"], ["1.2.3.4:99999", "1.2.3.5"], ["0"],
                                   ["1.2.3.4", "1.2.3.5", "bogus"], ["1.2.3.4", "1.2.3.5", "300"]])
def test_explain_refuses(t, words):
    result = ctl(t.server1, "explain", *words, check=False)
    assert result.returncode == 1 and "expected SRC[:PORT] DST[:PORT] [PROTO], or an SPI" in result.stdout


# ---- DPDK's telemetry ----

TELEMETRY = """
import glob, json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(10)
s.connect(glob.glob("/run/dpdk/*/dpdk_telemetry.v2")[0])
s.recv(4096)
for command in sys.argv[1:]:
    s.send(command.encode())
    print(json.dumps(list(json.loads(s.recv(65536)).values())[0]))
"""


def telemetry(host, *commands):
    return [json.loads(line) for line in
            host.run("/usr/bin/python3", "-c", TELEMETRY, *commands).stdout.splitlines()]


def test_telemetry_answers_as_the_view(t):
    spi = show(t.server1, "sa")[0]["spi"]
    state, drops, port, spis, sa = telemetry(t.server1, "/penstock/state", "/penstock/drops",
                                             "/penstock/port,wan", "/penstock/sas", f"/penstock/sa,{spi}")
    assert state["state"] == "ready" and state["flows"] == len(show(t.server1, "flow"))
    assert set(drops) == {row["reason"].replace("-", "_") for row in show(t.server1, "drops")}
    assert port["driver"] == "net_af_packet" and port["rx_packets"] > 0
    assert spi in spis and sa["direction"] in ("in", "out")
    nothing = telemetry(t.server1, "/penstock/worker,99", "/penstock/worker,x", "/penstock/worker", "/penstock/sa,1",
                        "/penstock/port,none", "/penstock/port")
    assert nothing == [None] * 6
    mode = t.server1.run("stat", "-c", "%a", "/run/dpdk").stdout.strip()
    assert mode == "700", "what DPDK itself tells is root's alone"


# ---- metrics ----

PORT = 9470


class Scraper:
    """The exporter beside the gateway, asked from inside its network namespace."""

    def __init__(self, host):
        self.host = host
        self.proc = host.start("exporter.log", program("penstockctl"), "exporter", "--listen", f"127.0.0.1:{PORT}")
        wait_until("the exporter", lambda: self.get("/", check=False).returncode == 0)

    def get(self, path, check=True):
        return self.host.run("/usr/bin/python3", "-c",
                             "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1]).read().decode())",
                             f"http://127.0.0.1:{PORT}{path}", check=check)

    def metrics(self):
        text = self.get("/metrics").stdout
        samples, typed = {}, {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                assert name not in typed, f"{name} twice"
                typed[name] = kind
            elif not line.startswith("#"):
                series, value = line.rsplit(" ", 1)
                assert series not in samples, f"{series} twice"
                assert series.split("{")[0] in typed, f"{series} before its TYPE"
                samples[series] = int(value)
        for name, kind in typed.items():
            assert name.startswith("penstock_") and (kind == "counter") == name.endswith("_total"), (name, kind)
        return samples


TUNNEL = 'local="10.0.1.0/24",remote="10.0.2.0/24"'


@pytest.fixture(scope="module")
def scraper(t):
    s = Scraper(t.server1)
    yield s
    t.server1.stop(s.proc)


def test_counters_go_on_over_rekeys(t, scraper):
    """The tunnel's counters are not those of an SA: a new SA counts from zero, they do not."""
    out = f'penstock_tunnel_packets_total{{{TUNNEL},direction="out"}}'
    assert received(t.site1, "10.0.2.24", 10) == 10
    wait_until("the first count", lambda: scraper.metrics()[out] >= 10, 10)
    first = scraper.metrics()[out]
    t.two.ikectl("reset", "sa")
    t.two.ikectl("reset", "all")
    wait_until("the tunnel", lambda: reaches(t.site1, "10.0.2.24"), 30)
    assert received(t.site1, "10.0.2.24", 10) == 10
    wait_until("the second count", lambda: scraper.metrics()[out] >= first + 10, 10)
    assert scraper.metrics()[f"penstock_tunnel_up{{{TUNNEL}}}"] == 1


def test_a_tunnel_that_is_down_does_not_vanish(t, scraper):
    up = f"penstock_tunnel_up{{{TUNNEL}}}"
    assert scraper.metrics()[up] == 1
    t.two.stop()
    t.one.ikectl("reset", "id", "FQDN/server2.domain")
    wait_until("the tunnel is down", lambda: scraper.metrics()[up] == 0, 20)
    assert received(t.site1, "10.0.2.24", 1) == 0
    said = explain(t.server1, "10.0.1.13", "10.0.2.24")
    assert said["verdict"].startswith("dropped: no-sa-for-flow") and said["last-drop-reason"] == "no-sa-for-flow"
    counted = scraper.metrics()[f'penstock_tunnel_packets_total{{{TUNNEL},direction="out"}}']
    assert counted > 0
    t.kill_espd(t.server1)
    samples = scraper.metrics()
    assert samples["penstock_up"] == 0 and samples[up] == 0
    text = ctl(t.server1, "show", "state", check=False)
    assert text.returncode == 1 and "penstock-espd is not running" in text.stdout
    t.run_espd(t.server1)
    t.two.start()
    wait_until("the tunnel", lambda: reaches(t.site1, "10.0.2.24"), 60)
    wait_until("it is up again", lambda: scraper.metrics()[up] == 1, 10)
    assert scraper.metrics()[f'penstock_tunnel_packets_total{{{TUNNEL},direction="out"}}'] >= counted


def test_exporter_refuses_what_is_not_a_scrape(t, scraper):
    for request, status in ((b"GET /x HTTP/1.0\r\n\r\n", b" 404 "),
                            (b"DELETE /metrics HTTP/1.0\r\n\r\n", b" 501 "),
                            (b"GET /metrics HTTP/1.0\r\nX: " + b"a" * 20000 + b"\r\n\r\n", b" 400 "),
                            (b"\x00\x01\x02\r\n\r\n", b" 400 ")):
        answer = t.server1.run("/usr/bin/python3", "-c", (
            "import socket, sys\n"
            f"s = socket.create_connection(('127.0.0.1', {PORT}), 5)\n"
            "s.sendall(bytes.fromhex(sys.stdin.read()))\n"
            "sys.stdout.write(s.recv(200).hex())"), input=request.hex()).stdout
        head = bytes.fromhex(answer).split(b"\r\n")[0]
        assert not head or status in head + b" ", (request[:20], head)
    assert scraper.metrics()["penstock_up"] == 1


def test_top_in_batch(t):
    text = ctl(t.server1, "top", "-n", "1", "-i", "0.2").stdout
    assert "\033" not in text and text.count("PORT ") == 1
    assert re.search(r"^10\.0\.1\.0/24 - 10\.0\.2\.0/24 +up ", text, re.M), text
