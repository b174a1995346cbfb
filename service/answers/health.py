"""Health: whether samples are being taken and stored."""

from typing import Literal

from msgspec import UNSET, UnsetType

from service.answers.answer import Answer


class Forwarding(Answer, frozen=True):
    """`lag_seconds`: from the last sample acknowledged to the newest stored. `last_error`: of the last sending."""

    lag_seconds: int | None
    last_error: str | None


class Health(Answer, frozen=True):
    """`degraded`: it records, but `last_error` says what is wrong. `spooled_samples` wait in memory for the disk.
    `forward`: only where the history is forwarded.
    """

    status: Literal["ok", "degraded", "failing"]
    newest_sample_age_seconds: float | None
    interval: int
    last_error: str | None
    database_bytes: int | None
    spooled_samples: int
    forward: Forwarding | UnsetType = UNSET
