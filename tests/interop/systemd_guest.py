"""An emulated machine that runs this machine's own systemd and programs, and our installed units.

The guest's root is the machine's root file system, read-only over virtiofs, under a writable layer
in memory. Of the machine's units only what basic.target wants is started, and a shell on the serial
console that obeys run().

    with SystemdGuest(build) as guest:
        guest.run("systemctl start penstock-espd")
"""
import gzip
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guest as plain  # noqa: E402
from netns import sh, wait_until  # noqa: E402

VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
MODULES = ("virtio_pci", "virtiofs", "overlay", "tun", "veth", "sch_ingress", "cls_bpf", "nf_tables")

INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /host /up /new
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do insmod /modules/$m; done
mount -t virtiofs -o ro host /host || sh
mount -t tmpfs -o size=400m tmpfs /up
mkdir /up/u /up/w
mount -t overlay -o lowerdir=/host,upperdir=/up/u,workdir=/up/w overlay /new || sh
rm -rf /new/etc/systemd/system /new/etc/fstab /new/etc/iked /new/etc/iked.conf /new/etc/ipsec.conf /new/etc/penstock
mkdir -p /new/etc/systemd/system /new/etc/penstock
# Of what the machine would start at boot the journal alone: emulation is slow.
rm -rf /new/usr/lib/systemd/system/*.wants /new/usr/lib/systemd/system-generators/*
mkdir /new/usr/lib/systemd/system/sysinit.target.wants
ln -s ../systemd-journald.service /new/usr/lib/systemd/system/sysinit.target.wants/
cp -a /files/. /new/
echo server1.domain > /new/etc/hostname
umount /proc /sys
mount --move /dev /new/dev
exec switch_root /new /lib/systemd/systemd systemd.unit=penstock-shell.target
"""
SHELL_TARGET = """\
[Unit]
Requires=basic.target penstock-shell.service
After=basic.target
AllowIsolate=yes
"""
SHELL_SERVICE = """\
[Unit]
After=basic.target
[Service]
Type=simple
ExecStart=/bin/sh /penstock-shell.sh
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""
SHELL = r"""
stty -echo
echo guest-ready
while read -r line; do
	sh -c "$line" </dev/null 2>&1
	echo "guest-done $?"
done
"""


class SystemdGuest(plain.Guest):
    def __init__(self, build, files=()):
        self.dir = tempfile.mkdtemp(prefix="penstock-systemd-")
        self.view = None
        image, modules, version = plain.kernel()
        self._make_files(build, files)
        saved, plain.MODULES = plain.MODULES, MODULES
        try:
            order = plain.module_files(modules, version)
        finally:
            plain.MODULES = saved
        self._make_initrd(order)
        self._share()
        self.proc = subprocess.Popen(
            ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-nographic",
             "-no-reboot", "-kernel", image, "-initrd", f"{self.dir}/initrd.gz",
             "-append", "console=ttyS0 quiet panic=1 net.ifnames=0", "-nic", "none",
             "-object", "memory-backend-memfd,id=mem,size=1024M,share=on", "-numa", "node,memdev=mem",
             "-chardev", f"socket,id=fs,path={self.dir}/fs.sock", "-device", "vhost-user-fs-pci,chardev=fs,tag=host"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True)
        self.lines = queue.Queue()
        self.seen = []
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self._until("guest-ready", 300)
        except BaseException:
            self.close()
            raise

    def _make_files(self, build, files):
        root = f"{self.dir}/root/files"
        sh("meson", "install", "-C", build, "--no-rebuild", "--destdir", root)
        units = f"{root}/etc/systemd/system"
        os.makedirs(units)
        for path, text in (("/etc/systemd/system/penstock-shell.target", SHELL_TARGET),
                           ("/etc/systemd/system/penstock-shell.service", SHELL_SERVICE),
                           ("/penstock-shell.sh", SHELL), *files):
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            with open(root + path, "w") as f:
                f.write(text)
            os.chmod(root + path, 0o600 if path.endswith(".conf") else 0o644)

    def _make_initrd(self, order):
        root = f"{self.dir}/root"
        os.makedirs(f"{root}/bin")
        os.makedirs(f"{root}/modules")
        shutil.copy(shutil.which("busybox"), f"{root}/bin/busybox")
        for path in order:
            shutil.copy(path, f"{root}/modules/")
        with open(f"{root}/modules/order", "w") as f:
            f.write("\n".join(os.path.basename(path) for path in order) + "\n")
        with open(f"{root}/init", "w") as f:
            f.write(INIT)
        os.chmod(f"{root}/init", 0o755)
        archive = subprocess.run(f"cd {root} && find . | busybox cpio -o -H newc 2>/dev/null", shell=True,
                                 capture_output=True, check=True).stdout
        with gzip.open(f"{self.dir}/initrd.gz", "wb", compresslevel=1) as f:
            f.write(archive)
        shutil.rmtree(root)

    def _share(self):
        """virtiofsd shows the root file system alone, and cannot write to it."""
        script = (f"mkdir {self.dir}/host && mount --make-rprivate / && mount --bind / {self.dir}/host && "
                  f"mount -o remount,bind,ro {self.dir}/host && "
                  f"exec {VIRTIOFSD} --socket-path={self.dir}/fs.sock -o source={self.dir}/host -o cache=always "
                  f"-o sandbox=chroot")
        with open(f"{self.dir}/virtiofsd.log", "wb") as log:
            self.view = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdin=subprocess.DEVNULL,
                                         stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        wait_until("virtiofsd", lambda: os.path.exists(f"{self.dir}/fs.sock"))

    def show(self, unit, *properties):
        """The unit's properties, as a dict."""
        text = self.run(f"systemctl show {unit} " + " ".join(f"-p {p}" for p in properties))
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def wait(self, line, seconds=60):
        """Until the command succeeds."""
        end = time.monotonic() + seconds
        while True:
            text = self.run(f"{line} && echo yes", check=False)
            if text.endswith("yes"):
                return text
            if time.monotonic() > end:
                raise TimeoutError(f"guest: {line}\n{text}")
            time.sleep(0.3)

    def close(self):
        super().close()
        if self.view:
            self.view.kill()
            self.view.wait()
