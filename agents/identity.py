"""Names that never clash: ids derived from what they are about, and keys told apart by tenant."""

from hashlib import sha256
from typing import Final

__all__ = ["DEFAULT_TENANT", "derived_id", "scoped"]

DEFAULT_TENANT: Final = "default"
_MARK: Final = "\x1f"
_HEX_DIGITS: Final = 32


def derived_id(*parts: str) -> str:
    """Return the id of whatever `parts` name: the same parts give the same id, everywhere.

    Returns:
        32 hex digits: 128 bits of the SHA-256 over the parts, each behind its length in bytes.
    """
    digest = sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:_HEX_DIGITS]


def scoped(tenant: str, name: str) -> str:
    """Return `name` as `tenant` knows it, so that two tenants never share an id or an entity.

    The default tenant's names stay as they are; a name that looks like another tenant's does not.
    """
    if tenant == DEFAULT_TENANT and not name.startswith(_MARK):
        return name
    return f"{_MARK}{len(tenant)}{_MARK}{tenant}{name}"
