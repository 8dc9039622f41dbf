"""Drives a broker without sockets on a clock that stands still: for tests and simulations."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, TypeVar, cast

from batuta.streams.broker.api import APIS
from batuta.streams.broker.broker import Broker, Caller, Dropped, KeptOn
from batuta.streams.broker.clock import ManualClock
from batuta.streams.broker.pending import Pending
from batuta.streams.broker.raw_client import encode_request

if TYPE_CHECKING:
    from batuta.streams.broker.faults import Faults
    from batuta.streams.broker.settings import BrokerSettings

__all__ = ["ManualDriver"]

R = TypeVar("R")

#: The newest version that every API's answers are asked in, unless told otherwise.
VERSION_MAX = 12

_BY_REQUEST = {api.request: api for api in APIS.values()}


class ManualDriver:
    """One broker, asked in the protocol's own bytes, in this very thread."""

    def __init__(
        self,
        settings: BrokerSettings | None = None,
        faults: Faults | None = None,
        kept: KeptOn | None = None,
        clock: ManualClock | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self.broker = Broker(self.clock, settings, faults, kept)

    def start(self, request: object, version: int | None = None) -> Pending[object]:
        """Ask, and get the answer now or later; None or Dropped where there is none."""
        api = _BY_REQUEST[type(request)]
        spoken = min(api.versions[1], VERSION_MAX) if version is None else version
        frame = encode_request(api, request, spoken)
        outcome: Pending[object] = Pending()

        def answered(answer: object) -> None:
            if answer is None or isinstance(answer, Dropped):
                outcome.resolve(answer)
                return
            data = BytesIO(b"".join(cast("list[bytes]", answer)))
            data.read(5 if api.is_flexible(spoken) else 4)
            outcome.resolve(api.response_codec(spoken).decode(data))

        self.broker.handle(frame, Caller()).then(answered)
        return outcome

    def ask(self, request: object, answer: type[R], version: int | None = None) -> R:
        """Ask, and get the answer, which must be there at once."""
        pending = self.start(request, version)
        found: list[object] = []
        pending.then(found.append)
        assert found, "this answer is given later"
        assert isinstance(found[0], answer)
        return found[0]
