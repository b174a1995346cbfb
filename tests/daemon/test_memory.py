"""Memory that answers leave behind is given back, and not asked for again and again."""

from service.daemon.memory import Memory, resident_bytes

MB = 2**20


class Host:
    """How much is resident, and how often it was asked to release what it can."""

    def __init__(self, resident: int | None, kept: int = 0) -> None:
        self.resident, self.kept, self.releases = resident, kept, 0

    def release(self) -> None:
        self.releases += 1
        if self.resident is not None:
            self.resident -= 20 * MB - self.kept

    def memory(self) -> Memory:
        return Memory(self.release, lambda: self.resident)


def test_what_has_grown_is_released_once() -> None:
    host = Host(40 * MB)
    memory = host.memory()
    memory.check()
    host.resident = 62 * MB
    memory.check()
    assert (host.releases, host.resident) == (1, 42 * MB)
    memory.check()
    assert host.releases == 1


def test_a_little_growth_is_left_alone() -> None:
    host = Host(40 * MB)
    memory = host.memory()
    for more in range(5):
        host.resident = (40 + more) * MB
        memory.check()
    assert host.releases == 0


def test_what_cannot_be_released_is_tried_ever_more_rarely() -> None:
    host = Host(40 * MB, kept=20 * MB)
    memory = host.memory()
    memory.check()
    host.resident = 60 * MB
    releases = []
    for _ in range(1 + 2 + 4 + 8):
        memory.check()
        releases.append(host.releases)
    assert releases == [1] * 2 + [2] * 4 + [3] * 8 + [4]
    host.kept = 0
    for _ in range(16):
        memory.check()
    assert host.resident == 40 * MB


def test_while_answers_go_on_it_is_released_again_and_again() -> None:
    host = Host(40 * MB)
    memory = host.memory()
    memory.check()
    for _ in range(5):
        host.resident = 60 * MB
        memory.check()
    assert host.releases == 5


def test_where_it_is_unknown_nothing_is_released() -> None:
    host = Host(None)
    memory = host.memory()
    memory.check()
    memory.check()
    assert host.releases == 0


def test_this_process_knows_its_own() -> None:
    assert (resident_bytes() or 0) > MB


def test_what_needed_much_can_have_it_given_back_at_once() -> None:
    host = Host(62 * MB)
    host.memory().give_back()
    assert (host.releases, host.resident) == (1, 42 * MB)
