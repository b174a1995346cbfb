"""Which file systems can fill up, from the kernel's list of mounts."""

import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.host import mounted
from service.host.mounted import FileSystem, device_types, file_systems, is_real, parsed, printable, that_fill_up

AUTOFS = "0:50 / /auto rw,relatime shared:9 - autofs /etc/auto.misc rw,fd=6,pgrp=1,timeout=300,minproto=5,indirect"


def paths(*mounts: str) -> list[tuple[str, ...]]:
    """Where those of these mounts are that can fill up. Each is a line of mountinfo without its two numbers."""
    lines = "".join(f"{number} 1 {mount}\n" for number, mount in enumerate(mounts, 2))
    return [one.paths for one in that_fill_up(parsed(os.fsencode(lines)), {"ext4", "btrfs"})]


def test_the_root_is_known_by_the_number_of_its_device() -> None:
    (root,) = [one for one in file_systems() if one.paths[0] == "/"]
    assert root.st_dev in (os.stat("/").st_dev, None)


def test_what_lives_in_memory_or_is_an_image_is_no_real_file_system() -> None:
    types = device_types()
    assert [is_real(fstype, types) for fstype in ("proc", "tmpfs", "squashfs", "overlay")] == [False] * 4
    assert is_real("nfs4", types)


def test_a_file_system_that_is_mounted_at_several_paths_comes_once_with_the_shortest_first() -> None:
    assert paths(
        "8:1 /in /a/inside/it rw - ext4 /dev/a rw",
        "8:1 / /srv rw - ext4 /dev/a rw",
        "8:1 /hosts /h rw - ext4 /dev/root rw",
        "8:2 / / rw - ext4 /dev/a rw",
    ) == [("/",), ("/h", "/srv", "/a/inside/it")]


def test_two_fuse_mounts_of_one_source_are_two_file_systems() -> None:
    assert paths(
        "0:40 / /one rw - fuse.sshfs host:/ rw,user_id=0", "0:41 / /other rw - fuse.sshfs host:/ rw,user_id=0"
    ) == [("/one",), ("/other",)]


def test_subvolumes_are_one_file_system_whose_paths_have_numbers_of_their_own() -> None:
    lines = (
        b"2 1 0:30 /@ / rw - btrfs /dev/a rw,subvolid=256\n3 2 0:30 /@home /home rw - btrfs /dev/a rw,subvolid=257\n"
    )
    assert that_fill_up(parsed(lines), {"btrfs"}) == [FileSystem(None, ("/", "/home"))]


def test_the_root_counts_also_where_it_is_a_containers_overlay() -> None:
    assert paths("0:30 / / rw - overlay overlay rw,lowerdir=/a", "0:31 / /x rw - overlay overlay rw") == [("/",)]


@pytest.mark.parametrize(
    "mount",
    [
        "8:1 / /mnt ro,relatime - ext4 /dev/a ro",
        "8:1 / / ro,relatime - squashfs /dev/a ro,errors=continue",
        "8:1 / /mnt rw,relatime - ext4 /dev/a rw,emergency_ro",
        "0:40 / /mnt rw,nosuid - fuse.squashfuse squashfuse rw,user_id=0",
        "0:40 / /mnt rw,nosuid - fuse squashfuse rw,user_id=0",
        "0:40 / /mnt rw,nosuid - fuse.archivemount archivemount rw,user_id=0",
        "0:40 / /mnt ro,nosuid - fuse.Editor-1.2.AppImage Editor-1.2.AppImage rw,user_id=0",
    ],
)
def test_what_cannot_be_written_cannot_fill_up(mount: str) -> None:
    assert paths(mount) == []


@pytest.mark.parametrize(
    "mount",
    [
        "0:41 / /home/a/merged rw,nodev - fuse.fuse-overlayfs fuse-overlayfs rw,user_id=0",
        "0:42 / /home/a/view rw - fuse /usr/bin/bindfs rw,user_id=0",
        "0:43 / /run/user/1000/doc rw,nosuid - fuse.portal portal rw,user_id=1000",
    ],
)
def test_what_only_shows_the_files_of_others_has_no_room_of_its_own(mount: str) -> None:
    assert paths("8:1 / / rw - ext4 /dev/a rw", mount) == [("/",)]


def test_a_mount_that_is_read_only_for_this_process_alone_fills_up_all_the_same() -> None:
    assert paths("8:1 / / ro,relatime master:1 - ext4 /dev/a rw") == [("/",)]


def test_below_an_autofs_mount_with_a_timeout_nothing_is_asked() -> None:
    assert paths(AUTOFS, "8:1 / /auto/data rw - ext4 /dev/a rw", "8:2 / /automatic rw - ext4 /dev/b rw") == [
        ("/automatic",)
    ]
    direct = AUTOFS.replace("/auto ", "/boot ").replace("indirect", "direct").replace("/etc/auto.misc", "systemd-1")
    assert paths(direct, "8:1 / /boot rw - ext4 /dev/a rw") == []


def test_a_file_system_below_autofs_is_asked_where_it_is_mounted_besides() -> None:
    bound = "8:1 /x /srv/bound rw - ext4 /dev/a rw"
    assert paths(AUTOFS, "8:1 / /auto/data rw - ext4 /dev/a rw", bound) == [("/srv/bound",)]


def test_what_autofs_never_unmounts_is_asked() -> None:
    forever = AUTOFS.replace("timeout=300", "timeout=0")
    assert paths(forever, "8:1 / /auto/data rw - ext4 /dev/a rw") == [("/auto/data",)]


def test_paths_are_read_to_the_byte() -> None:
    line = b"2 1 8:1 / /a\\040b\\011\\012\\134\xff rw - ext4 /dev/a rw\n"
    ((one),) = that_fill_up(parsed(line), {"ext4"})
    assert os.fsencode(one.paths[0]) == b"/a b\t\n\\\xff"


def test_lines_that_make_no_sense_are_left_out() -> None:
    assert list(parsed(b"\nnonsense\n2 1 8:1 / /a rw\n - ext4 /dev/a rw\n")) == []


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"/a\xffb", r"/a\xffb"),
        (rb"/a\xffb", r"/a\\xffb"),
        ("/ä\\040\n".encode(), "/ä\\040\n"),
    ],
)
def test_a_path_that_is_no_text_is_printed_with_its_odd_bytes_as_escapes(raw: bytes, shown: str) -> None:
    assert printable(os.fsdecode(raw)) == shown


PIECES = st.lists(st.sampled_from([b"\\", b"x", b"ff", b"\xff", b"\xc3", "ä".encode(), b"/", b"8"])).map(b"".join)


@given(PIECES)
def test_what_is_printed_for_a_path_is_never_printed_for_another_one(raw: bytes) -> None:
    shown = printable(os.fsdecode(raw))
    assert (printable(shown) == shown) == (raw == shown.encode())


def test_where_there_is_no_proc_the_source_stands_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    partitions = [
        SimpleNamespace(device=device, mountpoint=path, fstype="apfs", opts=options)
        for device, path, options in (
            ("/dev/a", "/", "rw"),
            ("/dev/b", "/Volumes/b", "rw"),
            ("/dev/c", "/c", "ro,x"),
            ("/dev/a", "/elsewhere", "rw"),
            ("pool", "/pool", "rw"),
            ("pool", "/pool/home", "rw"),
        )
    ]

    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", missing)
    monkeypatch.setattr(mounted.psutil, "disk_partitions", lambda all: partitions)
    assert file_systems() == [
        FileSystem(None, ("/", "/elsewhere")),
        FileSystem(None, ("/Volumes/b",)),
        # One name that is no device's may stand for many file systems.
        FileSystem(None, ("/pool",)),
        FileSystem(None, ("/pool/home",)),
    ]
