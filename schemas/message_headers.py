"""The CloudEvents 1.0 binary mode headers around every public message."""

from functools import lru_cache

from batuta.schemas.event import DEFAULT_TENANT
from batuta.schemas.record import Headers

__all__ = ["headers_of"]


@lru_cache(maxsize=1024)
def headers_of(kind: str, pipeline: str, tenant: str) -> Headers:
    """Return the headers that stand around every message of one kind; each adds its `ce_id`."""
    constant = (
        ("ce_specversion", b"1.0"),
        ("ce_type", kind.encode()),
        ("ce_source", f"/batuta/{pipeline}".encode()),
        ("content-type", b"application/json"),
    )
    return constant if tenant == DEFAULT_TENANT else (*constant, ("ce_tenant", tenant.encode()))
