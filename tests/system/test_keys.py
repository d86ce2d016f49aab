"""ipsecctl -k: keys are shown to root who asks for them, and nowhere else."""
import os
import re


from netns import FaqTopology, program, wait_until
from test_espd import AUTH, ENC, ipsecctl, load
from tunnel import Tunnel, show

LISTED = re.compile(r"^(esp tunnel from \S+ to \S+ spi (0x[0-9a-f]{8}).*?) \\\n\tauthkey 0x([0-9a-f]+) \\\n"
                    r"\tenckey 0x([0-9a-f]+)\n", re.M)
SHORT = ("esp transport from 192.0.2.1 to 198.51.100.1 spi 0x2001:0x2002 auth hmac-sha1 enc aes "
         "authkey 0x{0}:0x{1} enckey 0x{2}:0x{3}\n")
AUTH_SHORT = {1: "e5" * 20, 2: "f6" * 20}
ENC_SHORT = {1: "17" * 16, 2: "28" * 16}


def files_of(gateway, *names):
    """The bytes of files as the gateway has them."""
    data = b""
    for name in names:
        with open(f"/proc/{gateway.holder.pid}/root{name}", "rb") as f:
            data += f.read()
    return data


def assert_no_key(gateway, keys, logs=("espd.log",)):
    """No output but -k's holds one of the keys, as digits or as bytes."""
    texts = {"-sa": ipsecctl(gateway, "-sa").stdout, "-sa -v": ipsecctl(gateway, "-sa", "-v").stdout,
             "-ss -vv": ipsecctl(gateway, "-ss", "-vv").stdout}
    for what in ("sa", "flow", "counters", "drops", "port", "pipeline"):
        texts[f"show {what}"] = gateway.run(program("penstockctl"), "show", what).stdout
        texts[f"show {what} as JSON"] = gateway.run(program("penstockctl"), "-j", "show", what).stdout
    for name in logs:
        texts[name] = gateway.log(name)
    shared = files_of(gateway, "/run/penstock/view", "/run/penstock/sequence")
    assert "key" not in texts["-sa -v"]
    for key in keys:
        for name, text in texts.items():
            assert key not in text.lower(), f"a key in {name}"
        assert bytes.fromhex(key) not in shared, "a key in the view"
        assert key.encode() not in shared.lower(), "a key in the view"


def test_manual_keys():
    with FaqTopology("keyst") as t:
        g = t.server1
        t.start_espd(g, "-v", conf="standalone\n")
        assert load(g).returncode == 0
        g.write("/etc/more.conf", SHORT.format(*AUTH_SHORT.values(), *ENC_SHORT.values()), mode=0o600)
        assert ipsecctl(g, "-f", "/etc/more.conf").returncode == 0
        wait_until("four SAs", lambda: len(show(g, "sa")) == 4)
        line = "esp tunnel from {} to {} spi 0x0000100{} auth hmac-sha2-256 enc aes-256"
        short = "esp transport from {} to {} spi 0x0000200{} auth hmac-sha1 enc aes"
        ends = {1: ("192.0.2.1", "198.51.100.1"), 2: ("198.51.100.1", "192.0.2.1")}
        plain = "".join(line.format(*ends[n], n) + "\n" for n in (1, 2))
        plain += "".join(short.format(*ends[n], n) + "\n" for n in (1, 2))
        keyed = "".join(f"{line.format(*ends[n], n)} \\\n\tauthkey 0x{AUTH[n]} \\\n\tenckey 0x{ENC[n]}\n"
                        for n in (1, 2))
        keyed += "".join(f"{short.format(*ends[n], n)} \\\n\tauthkey 0x{AUTH_SHORT[n]} \\\n"
                         f"\tenckey 0x{ENC_SHORT[n]}\n" for n in (1, 2))
        assert ipsecctl(g, "-ss").stdout == plain
        assert ipsecctl(g, "-ss", "-k").stdout == keyed
        details = ipsecctl(g, "-ss", "-k", "-v").stdout
        for n in (1, 2):
            assert f"\tkey_auth: bits 256: {AUTH[n]}\n\tkey_encrypt: bits 256: {ENC[n]}\n" in details
            assert f"\tkey_auth: bits 160: {AUTH_SHORT[n]}\n\tkey_encrypt: bits 128: {ENC_SHORT[n]}\n" in details
        assert_no_key(g, [key for keys in (AUTH, ENC, AUTH_SHORT, ENC_SHORT) for key in keys.values()])
        # Who is not root gets none, even past the socket's mode.
        g.run("chmod", "666", "/run/penstock/keys.sock")
        other = g.run("setpriv", "--reuid=65534", "--clear-groups", "--regid=65534", "--inh-caps=-all",
                      os.path.join(g.dir, "ipsecctl"), "-ss", "-k", check=False)
        assert other.returncode != 0 and not re.search("a1a1|c3c3|e5e5|1717", other.stdout)
        # Gone with the SA.
        ipsecctl(g, "-F")
        wait_until("no SA", lambda: ipsecctl(g, "-sa", "-k").stdout.endswith("SAD:\nNo entries\n"))


def test_a_thousand_keys_and_a_reader_that_stops():
    """More records than a socket takes; a client that reads nothing holds nobody up."""
    with FaqTopology("keysm") as t:
        g = t.server1
        t.start_espd(g, conf="standalone\n")
        rules = "".join(f"esp tunnel from 192.0.2.1 to 198.51.100.{n % 200 + 1} spi {n + 0x3000:#x} "
                        f"auth hmac-sha2-256 enc aes authkey 0x{n:064x} enckey 0x{n:032x}\n" for n in range(1000))
        g.write("/etc/many.conf", rules, mode=0o600)
        assert ipsecctl(g, "-f", "/etc/many.conf").returncode == 0
        wait_until("all SAs", lambda: len(show(g, "sa")) == 1000)
        lazy = [g.start("lazy.log", "/usr/bin/python3", "-c", "import socket, struct, time\n"
                        "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
                        "s.connect('/run/penstock/keys.sock')\n"
                        f"{ask}\nprint('asked', flush=True)\ntime.sleep(60)") for ask in ("", "s.send(b'nonsense')")]
        wait_until("both are there", lambda: g.log("lazy.log").count("asked") == 2)
        listed = LISTED.findall(ipsecctl(g, "-ss", "-k").stdout)
        assert len(listed) == 1000
        for _, spi, auth, enc in listed:
            assert int(auth, 16) == int(enc, 16) == int(spi, 16) - 0x3000
        for proc in lazy:
            g.stop(proc)


def test_negotiated_keys():
    with Tunnel("keysi") as t:
        keys = {}
        for g in (t.server1, t.server2):
            text = ipsecctl(g, "-ss", "-k").stdout
            keys[g.name] = {spi: (auth, enc) for _, spi, auth, enc in LISTED.findall(text)}
            assert len(keys[g.name]) == 2, text
        assert keys["server1"] == keys["server2"]
        flat = [key for pair in keys["server1"].values() for key in pair]
        assert len(set(flat)) == 4 and {len(key) for key in flat} == {64}
        for g in (t.server1, t.server2):
            assert_no_key(g, flat, ("espd.log", "iked.log"))
