"""What the start insists on: a token that nobody else can read, and one daemon for each database."""

from pathlib import Path

import pytest

from service.daemon.startup import Lock, in_child, read_token
from service.errors import AlreadyRunning, BadSetting
from tests.conftest import settings_for

TOKEN = "sixteen-letters."


def token_file(folder: Path, content: str = TOKEN + "\n", mode: int = 0o600) -> Path:
    file = folder / "token"
    file.write_text(content)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_token_that_only_its_owner_can_read_is_taken(path: Path, tmp_path: Path, mode: int) -> None:
    settings = settings_for(path, server__token_file=str(token_file(tmp_path, mode=mode)))
    assert read_token(settings) == TOKEN


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601])
def test_a_token_file_that_group_or_others_can_get_at_is_refused(path: Path, tmp_path: Path, mode: int) -> None:
    settings = settings_for(path, server__token_file=str(token_file(tmp_path, mode=mode)))
    with pytest.raises(BadSetting, match="can be read by others: chmod 600 it"):
        read_token(settings)


@pytest.mark.parametrize("content", ["", TOKEN[:-1], f"  {TOKEN[:-1]}\n"])
def test_a_token_of_fewer_than_16_characters_is_refused(path: Path, tmp_path: Path, content: str) -> None:
    settings = settings_for(path, server__token_file=str(token_file(tmp_path, content)))
    with pytest.raises(BadSetting, match="fewer than 16 characters"):
        read_token(settings)


def test_an_address_that_others_reach_needs_a_token_or_the_option(path: Path) -> None:
    settings = settings_for(path, server__host="0.0.0.0")
    with pytest.raises(BadSetting, match=r"server\.token_file"):
        read_token(settings)
    assert read_token(settings, is_open_to_all=True) is None


def test_of_two_locks_the_second_names_the_pid_of_the_first_until_that_is_given_back(path: Path) -> None:
    with Lock(path), pytest.raises(AlreadyRunning, match=r"another Tidemark \(pid \d+\)"):
        Lock(path)
    with Lock(path) as again:
        assert again.was_there


def test_a_child_that_ends_by_a_defect_says_so_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise UnicodeError("no\nway")

    with pytest.raises(SystemExit) as ended:
        in_child(fail)
    assert ended.value.code == 1
    assert capfd.readouterr().err == "tidemark: a defect in Tidemark: UnicodeError: no way\n"
