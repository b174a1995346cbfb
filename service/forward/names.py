"""What `forward.names` says, as code; node_exporter's names are imported only where they are asked for."""

from typing import Protocol

from service.forward.delivery import Delivery
from service.forward.hours import Read
from service.forward.lines import TIDEMARK, Naming
from service.forward.points import Series, State
from service.store.forwards import Position


class Apart(Protocol):
    """Sends what belongs to no sample; see `NodeDevices`."""

    def deliver(self, read: Read, state: State, until: Position, is_new: bool) -> State: ...


def naming(names: str) -> Naming:
    """`names`: the value of the setting."""
    if names == "tidemark":
        return TIDEMARK
    from service.forward.node import NODE

    return NODE


def apart(names: str, series: Series, delivery: Delivery) -> Apart | None:
    """What is sent beside the samples under these names."""
    if names == "tidemark":
        return None
    from service.forward.node_devices import NodeDevices

    return NodeDevices(series, delivery)
