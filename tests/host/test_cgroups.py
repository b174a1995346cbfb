"""What a control group stands for, by its path, with either driver of each runtime."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.host.cgroups import ROOT, Group, group_of, nearest

ID = "0123456789ab" + "cd" * 26
SHORT = ID[:12]
KUBE = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a_2b.slice"
MANAGER = "user.slice/user-1000.slice/user@1000.service"


def parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        ("system.slice", "system.slice", "slice"),
        ("system.slice/nginx.service", "nginx.service", "service"),
        ("system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", "service"),
        ("system.slice/run-r12.scope", "run-r12.scope", "scope"),
        ("system.slice/dev-disk-by\\x2dlabel.swap", "dev-disk-by\\x2dlabel.swap", "service"),
        ("init.scope", "init.scope", "scope"),
        ("user.slice/user-1000.slice/session-3.scope", "user-1000/session-3.scope", "session"),
        (MANAGER, "user@1000.service", "service"),
        (f"{MANAGER}/app.slice/dbus.service", "user@1000.service/dbus.service", "service"),
        (f"system.slice/docker-{ID}.scope", f"docker:{SHORT}", "container"),
        (f"docker/{ID}", f"docker:{SHORT}", "container"),
        (f"machine.slice/libpod-{ID}.scope", f"podman:{SHORT}", "container"),
        (f"{MANAGER}/user.slice/libpod-{ID}.scope", f"podman:{SHORT}", "container"),
        (f"libpod_parent/libpod-{ID}", f"podman:{SHORT}", "container"),
        (f"machine.slice/libpod-conmon-{ID}.scope", f"libpod-conmon-{ID}.scope", "scope"),
        (f"{KUBE}/cri-containerd-{ID}.scope", f"containerd:{SHORT}", "container"),
        (f"{KUBE}/crio-{ID}.scope", f"crio:{SHORT}", "container"),
        (f"kubepods/burstable/pod1a-2b/{ID}", f"kubernetes:{SHORT}", "container"),
        (f"system.slice/containerd.service/x.slice:cri-containerd:{ID}", f"containerd:{SHORT}", "container"),
        (f"system.slice/nerdctl-{ID}.scope", f"containerd:{SHORT}", "container"),
        (f"default/{ID}", f"container:{SHORT}", "container"),
        ("lxc.payload.web", "lxc:web", "container"),
        ("lxc/web", "lxc:web", "container"),
        ("machine.slice/systemd-nspawn@deb.service", "systemd-nspawn@deb.service", "container"),
        ("machine.slice/machine-qemu\\x2d1\\x2dvm.scope", "machine-qemu\\x2d1\\x2dvm.scope", "vm"),
        ("kubepods/burstable", "/kubepods/burstable", "cgroup"),
        ("my job", "/my job", "cgroup"),
    ],
)
def test_each_group_has_the_name_and_kind_under_which_its_owner_knows_it(path: str, name: str, kind: str) -> None:
    assert group_of(parts(path)) is not None
    assert group_of(parts(path))[:2] == (name, kind)  # type: ignore[index]
    assert nearest(parts(path))[:2] == (name, kind)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("system.slice/nginx.service/worker", "nginx.service"),
        ("system.slice/nginx.service/a/b", "nginx.service"),
        (f"system.slice/docker-{ID}.scope/system.slice/nginx.service", f"docker:{SHORT}"),
        (f"machine.slice/libpod-{ID}.scope/container", f"podman:{SHORT}"),
        ("lxc.payload.web/system.slice/cron.service", "lxc:web"),
        ("", "/"),
    ],
)
def test_what_runs_below_a_service_or_container_belongs_to_it(path: str, name: str) -> None:
    assert nearest(parts(path)).name == name


def test_a_part_of_a_service_is_no_group_of_its_own() -> None:
    assert group_of(["system.slice", "nginx.service", "worker"]) is None
    assert group_of([]) == ROOT == Group("/", "root")


@given(st.lists(st.text(min_size=1, max_size=255).filter(lambda part: "/" not in part), max_size=6))
def test_any_path_belongs_to_something(path: list[str]) -> None:
    assert nearest(path).name
