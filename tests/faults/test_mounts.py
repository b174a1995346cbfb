"""Mounts as hosts have them, each in a mount namespace of its own: which of them are asked how full they are."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from service.place import CHECKOUT as ROOT
from tests.faults.kit import needs_root
from tests.faults.kit_host import tool

pytestmark = needs_root

# Asks once, as the daemon does each minute.
ASK = """
import json, threading
from service.host.mounts import MountWatch
watch, found = MountWatch(), []
def capture():
    found.clear()
    watch.capture(found.extend)
    for thread in threading.enumerate():
        if thread.name == "file systems":
            thread.join(20)
"""
ONCE = ASK + "capture()\nprint(json.dumps({usage.path: usage.available_bytes for usage in found}))"


def alone(setup: str, code: str, folder: Path) -> str:
    """What `code` prints in a mount namespace in which `setup`, a shell script, ran in `folder`."""
    ready = subprocess.run([tool("unshare"), "-m", "true"], capture_output=True, text=True, check=False)
    if ready.returncode:
        pytest.skip(f"cannot have a mount namespace: {ready.stderr.strip()}")
    python = shlex.join([sys.executable, "-c", code])
    script = f"mount --make-rprivate /; cd {shlex.quote(str(folder))}\n{setup}\ncd {shlex.quote(str(ROOT))}\n{python}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", script], capture_output=True, text=True, check=False, timeout=120
    )
    if "failed to setup loop device" in done.stderr:
        pytest.skip(f"needs loop devices: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def measured(setup: str, folder: Path) -> dict[str, int]:
    """Available bytes of what is measured below `folder`, by the rest of the path."""
    found: dict[str, int] = json.loads(alone(setup, ONCE, folder).splitlines()[-1])
    return {path.removeprefix(f"{folder}/"): size for path, size in found.items() if path.startswith(str(folder))}


@pytest.fixture
def image(tmp_path: Path) -> str:
    """The name of a file with an ext4 of 8 MB."""
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(8 * 2**20)
    subprocess.run([tool("mkfs.ext4"), "-q", "-F", tmp_path / "disk.img"], check=True)
    return "disk.img"


def test_a_file_of_a_volume_that_is_bound_at_a_shorter_path_does_not_hide_the_volume(
    tmp_path: Path, image: str
) -> None:
    """As a container's /etc/hosts."""
    setup = f"""
        mkdir -p long/path; mount -o loop {image} long/path; touch h long/path/hosts
        mount --bind long/path/hosts h
    """
    assert list(measured(setup, tmp_path)) == ["long/path"]


def test_a_full_disk_is_measured_while_it_can_be_written_and_not_once_it_is_read_only(
    tmp_path: Path, image: str
) -> None:
    full = f"mkdir d; mount -o loop {image} d; dd if=/dev/zero of=d/x bs=1M 2>/dev/null || true; sync"
    assert measured(full, tmp_path) == {"d": 0}
    (tmp_path / "d").rmdir()
    assert measured(f"{full}; mount -o remount,ro d", tmp_path) == {}


def test_an_image_that_is_mounted_by_fuse_is_not_measured(tmp_path: Path) -> None:
    subprocess.run([tool("mksquashfs"), ROOT / "config", tmp_path / "app.img", "-quiet"], check=True)
    # Its server ends when it is unmounted.
    setup = f"mkdir -p snap; {tool('squashfuse')} app.img snap; trap 'umount {tmp_path}/snap' EXIT"
    assert f"{tmp_path}/snap" in alone(setup, "print(open('/proc/self/mounts').read())", tmp_path)
    assert measured(setup, tmp_path) == {}


def test_the_last_of_57_mounts_is_measured(tmp_path: Path, image: str) -> None:
    setup = f"""
        for i in $(seq 56) z; do mkdir $i; cp --sparse=always {image} $i.img; mount -o loop $i.img $i; done
        dd if=/dev/zero of=z/x bs=1M 2>/dev/null || true
    """
    found = measured(setup, tmp_path)
    assert (len(found), found["z"]) == (57, 0)


def test_two_paths_that_differ_in_a_byte_that_is_no_text_are_two(tmp_path: Path, image: str) -> None:
    setup = rf"""
        for i in 377 376; do d=$(printf "a\\$i"); mkdir "$d"; cp {image} $i.img; mount -o loop $i.img "$d"; done
    """
    assert sorted(measured(setup, tmp_path)) == [r"a\xfe", r"a\xff"]


def test_a_mount_that_another_hides_is_not_given_the_sizes_of_the_other(tmp_path: Path, image: str) -> None:
    setup = f"""
        cp {image} other.img; mkdir -p a/b; mount -o loop {image} a/b
        mount -o loop other.img a; mkdir a/b
    """
    assert list(measured(setup, tmp_path)) == ["a"]


def test_to_ask_reads_nothing_from_the_disk(tmp_path: Path, image: str) -> None:
    """So a disk that sleeps is not woken."""
    count = f"""
import os
from service.host.mounts import usage_at
folder = {str(tmp_path / "d")!r}
device = os.stat(folder).st_dev
def reads():
    return open(f"/sys/dev/block/{{os.major(device)}}:{{os.minor(device)}}/stat").read().split()[0]
before = reads()
assert usage_at(folder, device) is not None
print(int(reads()) - int(before), before)
"""
    answer = alone(f"mkdir d; mount -o loop {image} d; sync", count, tmp_path).split()
    assert answer[0] == "0"
    assert int(answer[1]) > 0  # reads are counted


UNTIL_UNMOUNTED = """
import time
deadline = time.monotonic() + 40
while time.monotonic() < deadline and "/auto/data" in open("/proc/self/mounts").read():
    capture()
    time.sleep(0.3)
print("still mounted" if "/auto/data" in open("/proc/self/mounts").read() else "unmounted")
"""


def test_autofs_unmounts_what_nobody_else_uses(tmp_path: Path, image: str) -> None:
    tool("automount")
    setup = f"""
        mkdir auto; echo "{tmp_path}/auto {tmp_path}/map --timeout=2" > master
        echo "data -fstype=ext4,loop :{tmp_path}/{image}" > map
        # In a session of its own: autofs mounts nothing for its own process group.
        setsid automount -f -p {tmp_path}/pid {tmp_path}/master > log 2>&1 &
        for i in $(seq 50); do [ -e auto/data/lost+found ] && break; sleep 0.2; done
        grep -q /auto/data /proc/self/mounts
    """
    code = ASK + UNTIL_UNMOUNTED
    try:
        assert alone(setup, code, tmp_path).split("\n")[-2] == "unmounted"
    finally:
        pid = tmp_path / "pid"
        if pid.exists():
            os.kill(int(pid.read_text()), 15)


COME_AND_GO = """
import subprocess, sys, threading
from pathlib import Path
from service.host.mounts import MountWatch
from service.store import database, filesystems
from service.store.reader import History
from service.store.writer import Store
folder = Path(sys.argv[1])
database.migrate(folder / "t.db")
store, ts = Store(folder / "t.db"), 0
store.open()
def look(watch):
    global ts
    ts += 60
    def keep(usages):
        listed, at = watch.listed, ts
        riding.append(lambda s: filesystems.insert(s, at, usages, 1, listed))
    riding = []
    watch.capture(keep)
    for thread in threading.enumerate():
        if thread.name == "file systems":
            thread.join(20)
    store.write(riding[0])
def do(*command):
    subprocess.run(command, check=True, cwd=folder)
first = MountWatch()
look(first)
do("mount", "-o", "loop", "disk.img", "d")
look(first)
do("mount", "-o", "remount,ro", "d")
look(first)
do("umount", "d")
look(MountWatch())  # another run
with History(folder / "t.db").view() as view:
    print([(event.ts, event.kind, event.mount, event.since_ts) for event in view.events(0, 10**9)])
"""


def test_a_mount_that_comes_is_made_read_only_and_goes_is_two_events(tmp_path: Path, image: str) -> None:
    assert image == "disk.img"
    code = f"import sys; sys.argv = ['-', {str(tmp_path)!r}]\n{COME_AND_GO}"
    mount = f"{tmp_path}/d"
    found = f"[(120, 'mount_appeared', {mount!r}, 60), (240, 'mount_vanished', {mount!r}, 180)]"
    assert alone("mkdir d", code, tmp_path).splitlines()[-1] == found
