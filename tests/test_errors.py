"""Every error has an exit code and a status of the contract."""

import inspect

import pytest

from service import errors
from service.errors import TidemarkError

CONTRACT = {
    "BadParameter": (2, 400),
    "QueryRefused": (1, 400),
    "BadSetting": (78, 500),
    "ForeignDatabase": (78, 500),
    "NewerDatabase": (76, 500),
    "AlreadyRunning": (75, 500),
    "CannotCreate": (73, 500),
    "StartFailed": (74, 500),
}
CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_has_an_exit_code_and_a_status_of_the_contract(kind: type[TidemarkError]) -> None:
    assert issubclass(kind, TidemarkError)
    assert kind.exit_code in (1, 2, 73, 74, 75, 76, 78)
    assert (kind.exit_code, kind.status) == CONTRACT.get(kind.__name__, (kind.exit_code, 500))


def test_no_error_of_the_contract_is_missing() -> None:
    assert set(CONTRACT) <= {kind.__name__ for kind in CLASSES}
