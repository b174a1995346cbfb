"""What the folder of a cgroup is: every runtime, both drivers, and names that were made to deceive."""

import pytest

from service.host.units import DEEPEST, unit_at

ID = "0123456789abcdef" * 4
SHORT = "0123456789ab"
POD = "pod0a5f1c1e-5b0e-4f51-9d6c-0d4a3a1b2c3d"
USER = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        ("/", "/", "root"),
        ("/system.slice", "system.slice", "slice"),
        ("/system.slice/nginx.service", "nginx.service", "service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", "service"),
        (r"/system.slice/dev-disk\x2dby.service", r"dev-disk\x2dby.service", "service"),
        ("/init.scope", "init.scope", "scope"),
        ("/user.slice/user-1000.slice", "user-1000.slice", "slice"),
        ("/user.slice/user-1000.slice/session-3.scope", "user-1000/session-3.scope", "session"),
        ("/user.slice/user-120.slice/session-c1.scope", "user-120/session-c1.scope", "session"),
        (USER, "user@1000.service", "service"),
        (f"{USER}/app.slice", "user@1000.service/app.slice", "slice"),
        (f"{USER}/app.slice/foo.service", "user@1000.service/foo.service", "service"),
        (f"{USER}/init.scope", "user@1000.service/init.scope", "scope"),
        ("/system.slice/srv.mount", "srv.mount", "service"),
        ("/batch/night", "/batch/night", "cgroup"),
        ("/kubepods/burstable", "/kubepods/burstable", "cgroup"),
    ],
)
def test_units_of_systemd_have_its_names_and_other_folders_their_path(path: str, name: str, kind: str) -> None:
    assert unit_at(path)[:2] == (name, kind)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"/system.slice/docker-{ID}.scope", f"docker:{SHORT}"),
        (f"/docker/{ID}", f"docker:{SHORT}"),
        (f"/system.slice:docker:{ID}", f"docker:{SHORT}"),
        (f"/machine.slice/libpod-{ID}.scope", f"podman:{SHORT}"),
        (f"/libpod_parent/libpod-{ID}", f"podman:{SHORT}"),
        (f"{USER}/user.slice/libpod-{ID}.scope", f"podman:{SHORT}"),
        (f"/system.slice/nerdctl-{ID}.scope", f"containerd:{SHORT}"),
        (f"/default/{ID}", f"containerd:{SHORT}"),
        (f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-x.slice/cri-containerd-{ID}.scope",
         f"containerd:{SHORT}"),
        (f"/kubepods.slice/kubepods-x.slice/crio-{ID}.scope", f"crio:{SHORT}"),
        (f"/kubepods/burstable/{POD}/crio-{ID}", f"crio:{SHORT}"),
        (f"/kubepods/burstable/{POD}/{ID}", f"kubernetes:{SHORT}"),
        (f"/kubepods/{POD}/{ID}", f"kubernetes:{SHORT}"),
        (f"/kubelet-x.slice:cri-containerd:{ID}", f"containerd:{SHORT}"),
        (f"/ours/{ID}", f"container:{SHORT}"),
        ("/lxc.payload.web", "lxc:web"),
        ("/lxc/101", "lxc:101"),
        ("/lxc.payload/old", "lxc:old"),
        ("/machine.slice/systemd-nspawn@deb.service", "nspawn:deb"),
        (r"/machine.slice/machine-my\x2dbox.scope", r"machine:my\x2dbox"),
        (r"/machine.slice/machine-lxc\x2d77\x2dshop.scope", "libvirt:shop"),
    ],
)  # fmt: skip
def test_a_container_is_named_by_its_runtime_with_either_driver(path: str, name: str) -> None:
    assert unit_at(path)[:2] == (name, "container")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (r"/machine.slice/machine-qemu\x2d4\x2dweb\x2d1.scope", r"libvirt:web\x2d1"),
        ("/machine/qemu-4-web.libvirt-qemu", "libvirt:web"),
        ("/qemu.slice/104.scope", "qemu:104"),
    ],
)
def test_a_virtual_machine_keeps_its_name_from_start_to_start(path: str, name: str) -> None:
    assert unit_at(path)[:2] == (name, "vm")


@pytest.mark.parametrize("beneath", ["/init.scope", "/system.slice/sshd.service", f"/docker/{ID}", "/a/b"])
def test_all_beneath_a_container_or_machine_is_its_own(beneath: str) -> None:
    assert unit_at(f"/lxc.payload.web{beneath}").name == "lxc:web"
    assert unit_at(f"/qemu.slice/104.scope{beneath}").name == "qemu:104"


def test_a_plain_folder_of_a_service_is_the_service_and_a_container_in_it_is_not() -> None:
    assert unit_at("/system.slice/ci.service/jobs/7")[:2] == ("ci.service", "service")
    assert unit_at(f"/system.slice/ci.service/jobs/docker-{ID}.scope").name == f"docker:{SHORT}"
    assert unit_at("/user.slice/user-7.slice/session-3.scope/x").name == "user-7/session-3.scope"


def test_what_an_account_makes_below_its_own_does_not_pass_for_a_service_of_the_host() -> None:
    assert unit_at(f"{USER}/sshd.service").name == "user@1000.service/sshd.service"
    assert unit_at(f"{USER}/user-0.slice/session-1.scope").name == "user@1000.service/session-1.scope"
    assert (
        unit_at("/user.slice/user-7.slice/session-3.scope/cron.service").name == "user-7/session-3.scope/cron.service"
    )


@pytest.mark.parametrize(
    "folder", [f"docker-{ID}0.scope", f"docker-{ID[:-1]}.scope", f"libpod-conmon-{ID}.scope", f"crio-conmon-{ID}.scope"]
)
def test_what_only_looks_like_a_container_is_a_scope(folder: str) -> None:
    assert unit_at(f"/machine.slice/{folder}")[:2] == (folder, "scope")


def test_a_name_of_any_bytes_is_text_of_bounded_length() -> None:
    assert unit_at("/" + b"\xff\x1b[2J".decode("utf-8", "surrogateescape")).name == "/�\x1b[2J"
    assert unit_at("/" + "ä.service").name == "ä.service"
    deep = unit_at("/" + "/".join(f"{'x' * 240}.service" for _ in range(4)))
    assert len(deep.name) == 255
    assert deep.name.endswith("…")


def test_what_lies_very_deep_belongs_to_what_it_lies_in() -> None:
    assert unit_at("/a" * 100).name == "/a" * DEEPEST
