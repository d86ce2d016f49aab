"""ESP of penstock-espd with that of the Linux kernel, by manual SAs; the kernel is a guest's.

    site1-host --- server1 (espd) --- internet --- server2 (guest: ip xfrm)
    10.0.1.13      192.0.2.1                       198.51.100.1, 10.0.2.24 on a dummy device
"""
import re

import pytest
from netns import program, wait_until
from world import PEER as GUEST
from world import US

ENC = {"aes-128": 16, "aes-192": 24, "aes-256": 32}
# ipsec.conf's name: the kernel's, bytes of the key, bits of the ICV.
AUTH = {"hmac-sha1": ("hmac(sha1)", 20, 96), "hmac-sha2-256": ("hmac(sha256)", 32, 128),
        "hmac-sha2-384": ("hmac(sha384)", 48, 192), "hmac-sha2-512": ("hmac(sha512)", 64, 256)}


class Pair:
    def __init__(self, world):
        self.world, self.t, self.guest, self.sas = world, world.t, world.guest, world.sas
        world.stop_iked()
        world.start_espd("standalone\n")

    def load(self, text):
        server1 = self.t.server1
        server1.run(program("penstockctl"), "ipsecctl", "-F")
        server1.write("/etc/ipsec.conf", text, 0o600)
        result = server1.run(program("penstockctl"), "ipsecctl", "-f", "/etc/ipsec.conf", check=False)
        assert result.returncode == 0, result.stdout

    def sas_after(self, packets):
        """Both SAs, when espd has published that each carried so many packets."""
        def done():
            sas = self.sas()
            return len(sas) == 2 and all(sa["packets"] == packets for sa in sas) and sas
        try:
            return wait_until(f"{packets} packets", done, 5)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.sas()}") from None


@pytest.fixture(scope="module")
def pair(world):
    p = Pair(world)
    yield p
    p.guest.shell("ip xfrm state flush; ip xfrm policy flush")
    world.t.server1.run(program("penstockctl"), "ipsecctl", "-F")


def key(n, byte):
    return (f"{byte:02x}" * n)


def kernel_states(enc, auth, mode, selectors):
    name, auth_len, icv = AUTH[auth]
    lines = []
    # One SA for inner IPv4 and IPv6.
    flag = "flag af-unspec" if mode == "tunnel" else ""
    for src, dst, spi, byte in ((US, GUEST, "0x1001", 0xa1), (GUEST, US, "0x1002", 0xb2)):
        lines.append(f"ip xfrm state add src {src} dst {dst} proto esp spi {spi} mode {mode} replay-window 32 {flag} "
                     f"auth-trunc '{name}' 0x{key(auth_len, byte)} {icv} "
                     f"enc 'cbc(aes)' 0x{key(ENC[enc], byte ^ 0xff)}")
    for a, b in selectors:
        template = f"tmpl src {GUEST} dst {US} proto esp mode {mode}"
        back = f"tmpl src {US} dst {GUEST} proto esp mode {mode}"
        lines.append(f"ip xfrm policy add src {a} dst {b} dir out {template}")
        lines.append(f"ip xfrm policy add src {b} dst {a} dir in {back}")
    return lines


def our_rules(enc, auth, mode, flows):
    _, auth_len, _ = AUTH[auth]
    text = "".join(f"flow esp from {b} to {a} peer {GUEST} type require\n" for a, b in flows)
    return text + (
        f"esp {mode} from {US} to {GUEST} spi 0x1001:0x1002 auth {auth} enc {enc} "
        f"authkey 0x{key(auth_len, 0xa1)}:0x{key(auth_len, 0xb2)} "
        f"enckey 0x{key(ENC[enc], 0x5e)}:0x{key(ENC[enc], 0x4d)}\n")


def pings(run, *args):
    out = run("ping", *args)
    match = re.search(r"(\d+) (?:packets )?received", out)
    return int(match.group(1)) if match else 0, out


@pytest.mark.parametrize("auth", AUTH)
@pytest.mark.parametrize("enc", ENC)
def test_tunnel(pair, enc, auth):
    nets = [("10.0.2.0/24", "10.0.1.0/24"), ("fd00:2::/64", "fd00:1::/64")]
    pair.guest.shell("ip xfrm state flush; ip xfrm policy flush")
    pair.guest.shell("; ".join(kernel_states(enc, auth, "tunnel", nets)))
    pair.load(our_rules(enc, auth, "tunnel", nets))
    site1 = pair.t.site1
    for address in ("10.0.2.24", "fd00:2::24"):
        for size in ("1", "56", "1300"):
            received, out = pings(lambda *a: site1.run(*a, check=False).stdout,
                                  "-n", "-c", "3", "-i", "0.05", "-W", "2", "-s", size, address)
            assert received == 3, out + pair.guest.shell("cat /proc/net/xfrm_stat; ip -s xfrm state") + str(pair.sas())
    for line in ("ping -c 1 -I 10.0.2.24 10.0.1.13", "ping -6 -c 1 -I fd00:2::24 fd00:1::13"):
        out = pair.guest.shell(line, check=False)
        assert "1 packets received" in out, out
    for sa in pair.sas_after(20):
        # ipsecctl lists aes-128 as OpenBSD does.
        assert (sa["enc"].replace("aes-128", "aes"), sa["auth"], sa["mode"]) == (
            enc.replace("aes-128", "aes"), auth, "tunnel"), sa
        assert sa["drop_icv"] == sa["drop_replay"] == 0, sa


@pytest.mark.parametrize("auth", AUTH)
def test_transport(pair, auth):
    """Between the two gateways themselves."""
    hosts = [(f"{GUEST}/32", f"{US}/32")]
    pair.guest.shell("ip xfrm state flush; ip xfrm policy flush")
    pair.guest.shell("; ".join(kernel_states("aes-256", auth, "transport", hosts)))
    pair.load(our_rules("aes-256", auth, "transport", hosts))
    server1 = pair.t.server1
    received, out = pings(lambda *a: server1.run(*a, check=False).stdout,
                          "-n", "-c", "3", "-i", "0.05", "-W", "2", GUEST)
    assert received == 3, out + pair.guest.shell("cat /proc/net/xfrm_stat; ip -s xfrm state") + str(pair.sas())
    out = pair.guest.shell(f"ping -c 1 {US}", check=False)
    assert "1 packets received" in out, out
    for sa in pair.sas_after(4):
        assert (sa["auth"], sa["mode"], sa["drop_icv"]) == (auth, "transport", 0), sa
