"""The histories of this folder."""

import pytest

from service.store.writer import Store
from tests.answers.insights.past import Past
from tests.conftest import Fill, Record


@pytest.fixture
def past(store: Store, record: Record, fill: Fill) -> Past:
    return Past(store, record, fill)
