"""Health: whether samples are being taken and stored."""

from typing import Literal

from service.answers.answer import Answer


class Health(Answer, frozen=True):
    """`degraded`: it records, but `last_error` says what is wrong. `spooled_samples` wait in memory for the disk."""

    status: Literal["ok", "degraded", "failing"]
    newest_sample_age_seconds: float | None
    interval: int
    last_error: str | None
    database_bytes: int | None
    spooled_samples: int
