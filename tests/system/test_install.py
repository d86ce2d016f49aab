"""What `meson install` puts where: beside Debian's openiked, strongSwan and libreswan, not over them."""
import os
import re
import shutil
import subprocess

import pytest

from netns import BUILD

# Files of those packages (Debian 12 and 13) whose names ours come near to.
TAKEN = {"/usr/sbin/ikectl", "/usr/sbin/iked", "/usr/sbin/ipsec", "/usr/sbin/swanctl", "/usr/sbin/charon-systemd",
         "/etc/ipsec.conf", "/etc/iked.conf", "/etc/ipsec.secrets", "/usr/lib/tmpfiles.d/libreswan.conf",
         "/usr/lib/systemd/system/ipsec.service", "/usr/lib/systemd/system/openiked.service",
         "/usr/lib/systemd/system/strongswan.service", "/usr/lib/systemd/system/strongswan-starter.service",
         "/usr/share/man/man5/iked.conf.5", "/usr/share/man/man5/ipsec.conf.5", "/usr/share/man/man8/iked.8",
         "/usr/share/man/man8/ikectl.8", "/usr/share/man/man8/ipsec.8"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    if not shutil.which("meson"):
        pytest.fail("meson is what installs; scripts/setup brings it")
    root = str(tmp_path_factory.mktemp("root"))
    subprocess.run(["meson", "install", "-C", os.path.abspath(BUILD), "--no-rebuild", "--quiet"], check=True,
                   env=dict(os.environ, DESTDIR=root))
    files = [os.path.join(at, name)[len(root):] for at, _, names in os.walk(root) for name in names]
    return root, sorted(files)


def test_no_file_of_another_package(installed):
    """Also with the prefix /usr, where the OpenBSD names go to a folder of their own."""
    _, files = installed
    assert any(f.endswith("/penstock-espd") for f in files), files
    for f in files:
        at_usr = f.replace("/usr/local/", "/usr/")
        if os.path.basename(f) in ("ikectl", "ipsecctl"):
            at_usr = "/usr/lib/penstock/" + os.path.basename(f)
        assert at_usr not in TAKEN and not f.startswith("/etc/"), f
    ours = re.compile(r"penstock|/espd\.conf\.5$|/(ikectl|ipsecctl)$")
    assert [f for f in files if not ours.search(f)] == []


def test_units_start_what_is_installed(installed):
    root, files = installed
    units = [f for f in files if f.endswith(".service")]
    assert {os.path.basename(u) for u in units} == {"penstock-espd.service", "penstock-iked.service",
                                                    "penstock-ipsec.service", "penstock-exporter.service"}
    for unit in units:
        with open(root + unit) as f:
            text = f.read()
        assert "@" not in re.sub(r"^#.*$", "", text, flags=re.M), unit
        for command in re.findall(r"^Exec\w+=-?(/\S+)", text, re.M):
            # Links are absolute: followed inside the root.
            target = root + command
            while os.path.islink(target):
                target = root + os.readlink(target)
            assert os.access(target, os.X_OK) or command.startswith("/bin/"), f"{unit}: {command}"


def test_every_manual_page_named_by_a_unit_is_there(installed):
    root, files = installed
    pages = {os.path.basename(f) for f in files if "/man/" in f}
    for unit in (f for f in files if f.endswith(".service")):
        with open(root + unit) as f:
            for name, section in re.findall(r"man:([\w.-]+)\((\d)\)", f.read()):
                assert f"{name}.{section}" in pages, f"{unit} names {name}({section})"
