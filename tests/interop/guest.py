"""A Linux kernel with IPsec in an emulated machine, for the ESP of another implementation.

Debian's cloud kernel is unpacked, not installed; the root file system is an initramfs of busybox
and the programs that are asked for, with their libraries. The guest's eth0 is a TAP in a host's
namespace, bridged to one of its devices. Commands go over the serial console.

    with Guest(topology.internet, device="to2", address="198.51.100.1/24", router=...) as guest:
        guest.shell("ip xfrm state | grep spi")

It has run, write, read, start, stop and log as a Host of tests/system/netns.py has.
"""
import base64
import glob
import gzip
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from netns import sh  # noqa: E402

MODULES = ("virtio_pci", "virtio_net", "esp4", "esp6", "xfrm_user", "authenc", "cbc", "gcm", "ctr", "sha256_generic",
           "sha512_generic", "sha1_generic", "aes_generic", "chacha20poly1305", "chacha_generic", "poly1305_generic",
           "des_generic", "seqiv", "echainiv", "dummy", "tunnel4", "xfrm_interface", "aesni_intel", "cmac", "drbg", "authencesn",
           "ghash_generic", "af_key")
CACHE = os.path.join(tempfile.gettempdir(), "penstock-guest-kernel")
# The console's line is 4096 bytes; longer commands go in pieces.
LINE_MAX = 1000


def kernel():
    """(vmlinuz, module tree, version); unpacked once a boot of the machine."""
    if not glob.glob(f"{CACHE}/boot/vmlinuz-*"):
        work = tempfile.mkdtemp(prefix="penstock-kernel-")
        os.chmod(work, 0o777)
        depends = sh("apt-cache", "depends", "linux-image-cloud-amd64").stdout
        package = re.search(r"Depends: (linux-image-\S+)", depends)[1]
        sh("apt-get", "-qq", "download", package, cwd=work)
        sh("dpkg", "-x", glob.glob(f"{work}/*.deb")[0], f"{work}/x")
        shutil.rmtree(CACHE, ignore_errors=True)
        shutil.move(f"{work}/x", CACHE)
        shutil.rmtree(work)
    image = glob.glob(f"{CACHE}/boot/vmlinuz-*")[0]
    version = image.split("vmlinuz-", 1)[1]
    modules = CACHE if os.path.isdir(f"{CACHE}/lib/modules") else f"{CACHE}/usr"
    sh("depmod", "-b", modules, version)
    return image, modules, version


def unpacked(name, *packages):
    """A folder with the files of packages that are not installed; downloaded once."""
    folder = os.path.join(tempfile.gettempdir(), f"penstock-guest-{name}")
    if not os.path.isdir(folder):
        work = tempfile.mkdtemp(prefix="penstock-packages-")
        os.chmod(work, 0o777)
        sh("apt-get", "-qq", "download", *packages, cwd=work)
        for package in glob.glob(f"{work}/*.deb"):
            sh("dpkg", "-x", package, f"{work}/x")
        os.rename(f"{work}/x", folder)
        shutil.rmtree(work)
    return folder


def module_files(modules, version, names):
    files = []
    for name in names:
        shown = sh("modprobe", "-d", modules, "-S", version, "--show-depends", name, check=False)
        for line in shown.stdout.splitlines():
            if line.startswith("insmod ") and line.split()[1] not in files:
                files.append(line.split()[1])
    return files


def copy_with_libraries(root, path, done, base=""):
    """A file at its place under root, with the shared libraries that it names. What is not
    installed is taken from the folder base."""
    libraries = f"{base}/usr/lib/{os.uname().machine}-linux-gnu"
    todo = [path]
    while todo:
        item = todo.pop()
        if item in done:
            continue
        done.add(item)
        source = item if item.startswith(base) or not os.path.exists(base + item) else base + item
        target = root + item.removeprefix(base)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(os.path.realpath(source), target)
        shown = sh("ldd", source, check=False, env=dict(os.environ, LD_LIBRARY_PATH=libraries if base else ""))
        todo += re.findall(r"(/\S+) \(0x", shown.stdout)


INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run /tmp/logs /var /etc /root
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs run /run
ln -s /run /var/run
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
for m in $(cat /modules/order); do insmod /modules/$m 2>/dev/null; done
echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
ip link set lo up
ip link set eth0 up
@SETUP@
stty -echo 2>/dev/null
printf '\nguest-ready\n'
while read -r line; do
	# busybox would take its own ip before the real one.
	sh -c "ip() { /usr/bin/ip \"\$@\"; }; $line" </dev/null 2>&1
	printf '\nguest-done %s\n' $?
done
"""


class Process:
    """What runs in the guest; the pid is the guest's."""

    def __init__(self, guest, name, pid):
        self.guest, self.name, self.pid = guest, name, pid
        self.returncode = None

    def poll(self):
        running = self.guest.shell(f"grep -q '^State:.[^ZX]' /proc/{self.pid}/status", check=None) == 0
        self.returncode = None if running else -1
        return self.returncode


class Guest:
    def __init__(self, host, device, address, router=None, programs=(), files=(), mac="52:54:00:12:34:56",
                 memory=768, unpacked_programs=(), more_modules=()):
        self.host = host
        self.name = "guest"
        self.dir = tempfile.mkdtemp(prefix=f"{host.ns}-guest-")
        image, modules, version = kernel()
        setup = f"ip addr add {address} dev eth0"
        if router:
            setup += f"\nip route add default via {router}"
        self._make_initramfs(module_files(modules, version, MODULES + tuple(more_modules)), setup, programs, files,
                             unpacked_programs)
        bridge, tap = "gbr0", "gtap0"
        host.run("ip", "link", "add", bridge, "type", "bridge")
        host.run("ip", "tuntap", "add", tap, "mode", "tap")
        for dev in (tap, device):
            host.run("ip", "link", "set", dev, "master", bridge)
        for dev in (bridge, tap):
            host.run("ip", "link", "set", dev, "up")
        command = host.command(
            "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", memory, "-nographic",
            "-no-reboot", "-kernel", image, "-initrd", f"{self.dir}/initrd.gz",
            "-append", "console=ttyS0 quiet panic=1", "-netdev", f"tap,id=n,ifname={tap},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=n,mac={mac}")
        self.proc = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
        self.lines = queue.Queue()
        self.seen = []
        threading.Thread(target=self._read, daemon=True).start()
        self._until("guest-ready", 180)

    def _make_initramfs(self, modules, setup, programs, files, unpacked_programs):
        root = f"{self.dir}/root"
        os.makedirs(f"{root}/bin")
        os.makedirs(f"{root}/modules")
        shutil.copy(shutil.which("busybox"), f"{root}/bin/busybox")
        order = []
        for path in modules:
            name = os.path.basename(path)
            shutil.copy(path, f"{root}/modules/{name}")
            order.append(name)
        with open(f"{root}/modules/order", "w") as f:
            f.write("\n".join(order) + "\n")
        done = set()
        for program in (os.path.realpath(shutil.which("ip")), *programs):
            copy_with_libraries(root, program, done)
        for base, path in unpacked_programs:
            copy_with_libraries(root, path, done, base)
        for path, text in files:
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            with open(root + path, "w") as f:
                f.write(text)
        with open(f"{root}/init", "w") as f:
            f.write(INIT.replace("@SETUP@", setup))
        os.chmod(f"{root}/init", 0o755)
        archive = subprocess.run(f"cd {root} && find . | busybox cpio -o -H newc 2>/dev/null", shell=True,
                                 capture_output=True, check=True).stdout
        with gzip.open(f"{self.dir}/initrd.gz", "wb", compresslevel=1) as f:
            f.write(archive)
        shutil.rmtree(root)

    def _read(self):
        for line in self.proc.stdout:
            self.lines.put(line.rstrip("\r\n"))
        self.lines.put(None)

    def _until(self, word, seconds):
        got, end = [], time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"guest: no {word!r}\n" + "\n".join(self.seen[-40:])) from None
            if line is None:
                raise RuntimeError("guest ended\n" + "\n".join(self.seen[-40:]))
            self.seen.append(line)
            if line.startswith(word):
                return got, line
            got.append(line)

    def _line(self, line, seconds):
        self.proc.stdin.write(line + "\n")
        self.proc.stdin.flush()
        got, done = self._until("guest-done", seconds)
        return int(done.split()[-1]), "\n".join(got).rstrip("\n")

    def _in_pieces(self, text):
        """Puts text into the guest's /tmp/.line."""
        data = base64.b64encode(text.encode()).decode()
        for n in range(0, len(data), LINE_MAX):
            self._line(f"printf %s {data[n:n + LINE_MAX]} {'>>' if n else '>'} /tmp/.base64", 30)
        self._line("base64 -d /tmp/.base64 > /tmp/.line", 30)

    def shell(self, line, check=True, seconds=60):
        """Shell text in the guest; its output. check None: its exit status instead."""
        if "\n" in line or len(line) > LINE_MAX:
            self._in_pieces(line)
            status, text = self._line(". /tmp/.line", seconds)
        else:
            status, text = self._line(line, seconds)
        if check and status != 0:
            raise RuntimeError(f"guest: {line}: status {status}\n{text}")
        return status if check is None else text

    # ---- as a Host ----

    def run(self, *args, check=True, seconds=60):
        line = shlex.join(str(a) for a in args)
        status, text = (self._line(line, seconds) if len(line) < LINE_MAX
                        else (self._in_pieces(line), self._line(". /tmp/.line", seconds))[1])
        if check and status != 0:
            raise RuntimeError(f"guest: {line}: status {status}\n{text}")
        return subprocess.CompletedProcess(args, status, text)

    def write(self, path, text, mode=0o644):
        self._in_pieces(text)
        self.shell(f"mkdir -p $(dirname {path}); cp /tmp/.line {path}; chmod {mode:o} {path}")

    def read(self, path):
        return self.shell(f"cat {path}") + "\n"

    def start(self, name, *args):
        line = shlex.join(str(a) for a in args)
        text = self.shell(f"setsid {line} >> /tmp/logs/{name} 2>&1 </dev/null & echo $!")
        return Process(self, name, int(text.split()[-1]))

    def stop(self, proc, sig=signal.SIGTERM, seconds=10):
        self.shell(f"kill -{int(sig)} {proc.pid} 2>/dev/null; n=0; "
                   f"while grep -q '^State:.[^ZX]' /proc/{proc.pid}/status 2>/dev/null && [ $n -lt {seconds * 10} ]; do "
                   f"usleep 100000; n=$((n + 1)); done; kill -9 {proc.pid} 2>/dev/null; true", seconds=seconds + 30)
        proc.returncode = -1

    def log(self, name, size=200000):
        return self.shell(f"tail -c {size} /tmp/logs/{name}", check=False)

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        self.proc.stdin.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
