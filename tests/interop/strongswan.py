"""strongSwan's charon on a Host of tests/system/netns.py, for interop tests.

    charon = Charon(host)
    charon.start()
    charon.load(connection("site", local_ts="10.0.2.0/24", ...), secrets)
    charon.swanctl("--initiate", "--child", "site")

charon has the host's own /run and /etc/swanctl, so several live on one machine. ESP is done by
kernel-libipsec in user space (a TUN device), as the kernel need not know IPsec.
"""
import os
import re
import shutil
import signal

from netns import sh, wait_until

CHARON = "/usr/lib/ipsec/charon"
PLUGINS = ("random nonce openssl aesni kdf pem pkcs1 pkcs8 x509 pubkey curve25519 kernel-libipsec "
           "kernel-netlink socket-default vici updown")


def is_installed():
    return os.access(CHARON, os.X_OK) and shutil.which("swanctl") is not None


class Charon:
    """settings: lines for the section `charon` of strongswan.conf ("fragment_size = 300")."""

    def __init__(self, host, settings=(), plugins=PLUGINS):
        self.host = host
        self.proc = None
        lines = "\n  ".join(settings)
        host.run("sh", "-c", "rm -rf /etc/swanctl; mkdir -p /etc/swanctl/private /etc/swanctl/pubkey "
                             "/etc/swanctl/x509 /etc/swanctl/x509ca")
        host.write("/etc/strongswan-test.conf", f"""
charon {{
  load = {plugins}
  install_routes = yes
  retransmit_timeout = 1.0
  filelog {{ stderr {{ default = 1
      ike = 2
      cfg = 2
      flush_line = yes }} }}
  plugins {{
    kernel-libipsec {{ allow_peer_ts = yes }}
    vici {{ socket = unix:///run/charon.vici }}
  }}
  {lines}
}}
swanctl {{ load = pem pkcs1 pkcs8 x509 pubkey openssl random nonce }}
""")

    def start(self):
        self.host.run("rm", "-f", "/run/charon.vici")
        self.proc = self.host.start("charon.log", "env", "STRONGSWAN_CONF=/etc/strongswan-test.conf", CHARON)

        def ready():
            if self.proc.poll() is not None:
                raise RuntimeError(f"charon ended\n{self.log()}")
            return self.host.run("test", "-S", "/run/charon.vici", check=False).returncode == 0
        wait_until("charon's vici socket", ready)
        return self

    def swanctl(self, command, *args, check=True):
        return self.host.run("env", "STRONGSWAN_CONF=/etc/strongswan-test.conf", "swanctl", command,
                             "--uri", "unix:///run/charon.vici", *args, check=check)

    def load(self, connections, secrets=""):
        """Replaces all connections, secrets and keys."""
        self.host.write("/etc/swanctl/swanctl.conf",
                        f"connections {{\n{connections}\n}}\nsecrets {{\n{secrets}\n}}\n", 0o600)
        return self.swanctl("--load-all", "--clear", "--noprompt").stdout

    def make_key(self, kind="rsa:2048"):
        """A private key in /etc/swanctl/private; returns its public half in PEM."""
        option = ["-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{kind.split(':')[1]}"] \
            if kind.startswith("rsa:") else ["-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{kind}"]
        path = "/etc/swanctl/private/local.pem"
        self.host.run("openssl", "genpkey", *option, "-out", path)
        return self.host.run("openssl", "pkey", "-in", path, "-pubout").stdout

    def peer_key(self, pem, name="peer.pem"):
        """Stores a peer's public key; name it in a connection's remote_keys."""
        self.host.write(f"/etc/swanctl/pubkey/{name}", pem)
        return name

    def own_key(self, pem, name="own.pem"):
        self.host.write(f"/etc/swanctl/pubkey/{name}", pem)
        return name

    def sas(self):
        return self.swanctl("--list-sas").stdout

    def is_established(self, ike_name):
        return re.search(rf"^{re.escape(ike_name)}: .*ESTABLISHED", self.sas(), re.M) is not None

    def log(self):
        return self.host.log("charon.log")

    def stop(self, sig=signal.SIGTERM):
        if self.proc:
            self.host.stop(self.proc, sig)
        self.proc = None


def connection(name, local, remote, local_id, remote_id, local_ts, remote_ts, local_auth="psk", remote_auth=None,
               proposals="aes256-sha256-curve25519", esp="aes256-sha256", local_keys="", remote_keys="",
               extra="", child_extra=""):
    """A connection with one child of the same name. Values are swanctl.conf's."""
    return f"""
  {name} {{
    version = 2
    local_addrs = {local}
    remote_addrs = {remote}
    proposals = {proposals}
    {extra}
    local {{
      auth = {local_auth}
      id = {local_id}
      {"pubkeys = " + local_keys if local_keys else ""}
    }}
    remote {{
      auth = {remote_auth or local_auth}
      id = {remote_id}
      {"pubkeys = " + remote_keys if remote_keys else ""}
    }}
    children {{
      {name} {{
        local_ts = {local_ts}
        remote_ts = {remote_ts}
        esp_proposals = {esp}
        {child_extra}
      }}
    }}
  }}"""


def psk(*ids, secret):
    lines = "\n".join(f"    id-{n} = {i}" for n, i in enumerate(ids))
    return f"""  ike-psk {{
{lines}
    secret = "{secret}"
  }}"""


__all__ = ["Charon", "connection", "psk", "is_installed", "sh"]
