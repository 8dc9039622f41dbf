"""Every setting of a worker, read and checked once, before anything starts.

Flags come before the environment (`BATUTA_` and the field's name), the environment before the
defaults here. Nobody else reads the environment. Names beginning with `BATUTA_TEST_` belong to the
test suite and are left alone.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import os
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypedDict

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FilePath,
    HttpUrl,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from batuta.schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic_core import ErrorDetails

__all__ = ["ClientOptions", "Settings", "client_options", "console_command", "load_settings"]

_PREFIX: Final = "BATUTA_"
_TEST_PREFIX: Final = "BATUTA_TEST_"
#: Where data sets to evaluate on lie: a place that others may name, not a setting of a process.
_DATA_VARIABLE: Final = "BATUTA_DATA"
_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})")
_PORT_MAX: Final = 65_535
_MIB: Final = 1_048_576
_SIGNING_PREFIX: Final = "whsec_"
_SECRET_BYTES_MIN: Final = 24
_SECRET_BYTES_MAX: Final = 64
#: What pydantic says of a value, said as what was expected.
_EXPECTED: Final = {
    "int_parsing": "a whole number",
    "path_not_file": "the path of a file that exists",
}
#: Fields whose value no message may show; a webhook's address often carries a token.
_HIDDEN: Final = frozenset({"sasl_password", "webhook_secret", "webhook_url"})


def _addresses(value: str) -> str:
    parts = [part.strip() for part in value.split(",")]
    for part in parts:
        found = _ADDRESS.fullmatch(part)
        if found is None or not 0 < int(found[2]) <= _PORT_MAX:
            expected = "HOST:PORT[,HOST:PORT...] with ports from 1 to 65535"
            raise PydanticCustomError("address", "{expected}", {"expected": expected})
    return ",".join(parts)


def _protocol(value: object) -> object:
    if value == "SASL_PLAINTEXT":
        expected = "SASL_SSL: SASL_PLAINTEXT sends the password readable by anyone"
        raise PydanticCustomError("protocol", "{expected}", {"expected": expected})
    return value


def _signing_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().removeprefix(_SIGNING_PREFIX)
    try:
        length = len(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except (binascii.Error, ValueError):
        length = 0
    if not _SECRET_BYTES_MIN <= length <= _SECRET_BYTES_MAX:
        expected = "24 to 64 random bytes in base64, after an optional 'whsec_'"
        raise PydanticCustomError("secret", "{expected}", {"expected": expected})
    return value


Milliseconds = Annotated[int, Field(ge=1, le=86_400_000)]
Bytes = Annotated[int, Field(ge=1, le=2_147_483_647)]


class Settings(BaseSettings):
    """The settings of one process; frozen, and checked against each other.

    Example:
        >>> load_settings(bootstrap="127.0.0.1:9092").brokers
        '127.0.0.1:9092'
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        validate_default=False,
    )

    # The brokers, and how we speak to them.
    bootstrap: Annotated[str, AfterValidator(_addresses)] | None = None
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_SSL"], BeforeValidator(_protocol)
    ] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = Field(default=None, min_length=1)
    sasl_password: SecretStr | None = Field(default=None, min_length=1)
    ssl_cafile: FilePath | None = Field(default=None, description="else the system's authorities")
    ssl_certfile: FilePath | None = None
    ssl_keyfile: FilePath | None = None
    request_timeout_ms: Milliseconds = 40_000
    connect_timeout_ms: Milliseconds | None = Field(
        default=None, description="how long to look for a broker before exit 3; else for ever"
    )

    # Topics we create.
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 4
    replication_factor: Annotated[int, Field(ge=1, le=32_767)] = 1

    # What a lane takes at once.
    batch_records_max: Annotated[int, Field(ge=1, le=100_000)] = 8_000
    batches_in_flight_max: Annotated[int, Field(ge=1, le=16)] = 2
    # How long a batch waits for a model; then its events are parked and the batch goes on.
    soft_deadline_ms: Milliseconds = 20
    fetch_bytes_max: Bytes = 50 * _MIB
    fetch_partition_bytes_max: Bytes = 4 * _MIB
    # A long poll that waits for idle partitions holds back the next fetch of busy ones.
    fetch_wait_ms_max: Milliseconds = 25
    poll_timeout_ms: Milliseconds = 200
    pause_after_ms: Milliseconds = Field(
        default=5_000, description="a lane that takes no records for so long is paused"
    )
    # Watermarks go to every partition downstream: not at every batch.
    watermark_interval_ms: Milliseconds = 200
    # How long a changed partition count may stay unseen.
    metadata_age_ms_max: Milliseconds = 30_000

    # Who owns a lane, and for how long nothing is heard of a dead owner.
    instance_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")] | None = Field(
        default=None, description="makes a static member: one of its own for each worker"
    )
    session_timeout_ms: Milliseconds = 6_000
    heartbeat_interval_ms: Milliseconds = 1_500
    rebalance_timeout_ms: Milliseconds = 30_000
    transaction_timeout_ms: Annotated[int, Field(ge=1, le=900_000)] = 10_000
    # The broker says "not yet" to a transaction that begins while the last one's markers are
    # being written: 100 ms of patience there would halve the rate.
    transaction_backoff_ms: Milliseconds = 5

    # The outside world fails: how often and how patiently it is asked again.
    retry_attempts_max: Annotated[int, Field(ge=1, le=100)] = 5
    retry_backoff_ms: Milliseconds = 100
    retry_backoff_ms_max: Milliseconds = 5_000
    drain_timeout_ms: Milliseconds = 20_000

    # What an operator sees.
    metrics_host: str = Field(default="127.0.0.1", min_length=1)
    metrics_port: Annotated[int, Field(ge=0, le=_PORT_MAX)] = Field(
        default=0, description="0 takes any free port"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"

    # Snapshots of lanes' state: a restart reads the tail of the changelog alone.
    state_dir: Path | None = Field(
        default=None, description="where snapshots are kept; none are taken without one"
    )
    snapshot_interval_ms: Milliseconds = 300_000
    snapshot_records_min: Annotated[int, Field(ge=1)] = 20_000

    # Models and notifications.
    model_dir: Path = Field(default_factory=lambda: Path.home() / ".cache" / "batuta" / "models")
    webhook_url: HttpUrl | None = Field(default=None, repr=False)
    webhook_secret: Annotated[SecretStr, AfterValidator(_signing_secret)] | None = None
    webhook_timeout_ms: Milliseconds = 5_000

    @property
    def brokers(self) -> str:
        """The brokers' addresses.

        Raises:
            UsageError: none was given.
        """
        if self.bootstrap is None:
            raise UsageError("no Kafka broker given: say --bootstrap HOST:PORT or BATUTA_BOOTSTRAP")
        return self.bootstrap

    @model_validator(mode="after")
    def _related(self) -> Settings:
        for relation in _RELATIONS:
            if not relation.holds(self):
                context = {"field": relation.field, "expected": relation.expected(self)}
                raise PydanticCustomError("relation", "{expected}", context)
        return self


@dataclass(frozen=True, slots=True)
class _Relation:
    """What one field must be in view of others."""

    field: str
    holds: Callable[[Settings], bool]
    expected: Callable[[Settings], str]


def _below(field: str, limit: str, parts: int = 1) -> _Relation:
    share = {1: "", 3: "a third of "}[parts]
    return _Relation(
        field,
        lambda s: getattr(s, field) * parts < getattr(s, limit),
        lambda s: f"less than {share}{limit} ({getattr(s, limit)})",
    )


def _at_most(field: str, limit: str) -> _Relation:
    return _Relation(
        field,
        lambda s: getattr(s, field) <= getattr(s, limit),
        lambda s: f"at most {limit} ({getattr(s, limit)})",
    )


def _only_with(field: str, protocols: tuple[str, ...]) -> _Relation:
    return _Relation(
        field,
        lambda s: getattr(s, field) is None or s.security_protocol in protocols,
        lambda s: f"no value while security_protocol is {s.security_protocol}",
    )


def _needed_with_sasl(field: str) -> _Relation:
    return _Relation(
        field,
        lambda s: getattr(s, field) is not None or s.security_protocol != "SASL_SSL",
        lambda _: "a value, as security_protocol is SASL_SSL",
    )


def _needed_with(field: str, other: str) -> _Relation:
    return _Relation(
        field,
        lambda s: getattr(s, field) is not None or getattr(s, other) is None,
        lambda _: f"a value, as {other} is given",
    )


_ENCRYPTED: Final = ("SSL", "SASL_SSL")
_RELATIONS: Final = (
    _below("heartbeat_interval_ms", "session_timeout_ms", parts=3),
    _below("session_timeout_ms", "rebalance_timeout_ms"),
    _below("poll_timeout_ms", "session_timeout_ms"),
    _below("transaction_backoff_ms", "transaction_timeout_ms"),
    # aiokafka waits for the answer to JoinGroup no longer than for any other.
    _below("rebalance_timeout_ms", "request_timeout_ms"),
    _below("fetch_wait_ms_max", "request_timeout_ms"),
    _at_most("fetch_partition_bytes_max", "fetch_bytes_max"),
    _at_most("retry_backoff_ms", "retry_backoff_ms_max"),
    *(_only_with(name, _ENCRYPTED) for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile")),
    *(
        _only_with(name, ("SASL_SSL",))
        for name in ("sasl_mechanism", "sasl_username", "sasl_password")
    ),
    *(_needed_with_sasl(name) for name in ("sasl_mechanism", "sasl_username", "sasl_password")),
    _needed_with("ssl_certfile", "ssl_keyfile"),
    _needed_with("ssl_keyfile", "ssl_certfile"),
    _needed_with("webhook_secret", "webhook_url"),
)


def load_settings(**overrides: object) -> Settings:
    """Read the settings from flags and environment.

    Args:
        overrides: what flags said, by field name; None counts as not said.

    Returns:
        The settings, checked.

    Raises:
        UsageError: what is wrong, one line each: field, variable, flag, value, what was expected.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    problems = [_unknown(name) for name in _unknown_variables()]
    try:
        settings = Settings.model_validate(given)
    except ValidationError as refused:
        problems += [_sentence(error, given) for error in refused.errors(include_url=False)]
    else:
        if not problems:
            return settings
    # The refused input may hold a secret, so it does not travel on as a cause.
    raise UsageError("\n".join(problems)) from None


def _unknown_variables() -> Iterator[str]:
    known = {f"{_PREFIX}{name}".upper() for name in Settings.model_fields}
    for name in sorted(os.environ):
        shouted = name.upper()
        ours = shouted.startswith(_PREFIX) and not shouted.startswith(_TEST_PREFIX)
        if ours and shouted not in {_DATA_VARIABLE, *known}:
            yield name


def _unknown(variable: str) -> str:
    known = [f"{_PREFIX}{name}".upper() for name in Settings.model_fields]
    near = difflib.get_close_matches(variable.upper(), known, n=1, cutoff=0.0)[0]
    return f"{variable} is not a setting: did you mean {near}?"


def _sentence(error: ErrorDetails, given: Mapping[str, object]) -> str:
    context = error.get("ctx", {})
    field = str(context["field"] if error["type"] == "relation" else error["loc"][0])
    if field not in Settings.model_fields:
        near = difflib.get_close_matches(field, Settings.model_fields, n=1, cutoff=0.0)[0]
        return f"{field} is not a setting: did you mean {near}?"
    variable, flag = f"{_PREFIX}{field}".upper(), f"--{field.replace('_', '-')}"
    expected = _EXPECTED.get(error["type"], error["msg"].removeprefix("Input should be "))
    return f"{field} ({variable}, {flag}) is {_shown(field, given)}: expected {expected}"


def _shown(field: str, given: Mapping[str, object]) -> str:
    variables = {name.upper(): value for name, value in os.environ.items()}
    default = Settings.model_fields[field].get_default()
    value = given.get(field, variables.get(f"{_PREFIX}{field}".upper()) or default)
    if value is None:
        return "not given"
    return "set to a value not shown here" if field in _HIDDEN else repr(value)


def console_command() -> str:
    """Return how this process was called: under `uv run` nothing else finds the console script."""
    return "uv run batuta" if "UV" in os.environ else "batuta"


class ClientOptions(TypedDict):
    """What every aiokafka client is given to reach the brokers."""

    bootstrap_servers: str
    security_protocol: str
    ssl_context: ssl.SSLContext | None
    sasl_mechanism: str
    sasl_plain_username: str | None
    sasl_plain_password: str | None
    request_timeout_ms: int


def client_options(settings: Settings) -> ClientOptions:
    """Return the connection arguments of an aiokafka consumer, producer or admin client.

    Args:
        settings: the process's settings.

    Returns:
        Keyword arguments; the SSL context is made anew by each call, so make them once.

    Raises:
        UsageError: no broker was given, or a certificate file cannot be used.
    """
    password = settings.sasl_password
    return ClientOptions(
        bootstrap_servers=settings.brokers,
        security_protocol=settings.security_protocol,
        ssl_context=None if settings.security_protocol == "PLAINTEXT" else _ssl_context(settings),
        sasl_mechanism=settings.sasl_mechanism or "PLAIN",
        sasl_plain_username=settings.sasl_username,
        sasl_plain_password=None if password is None else password.get_secret_value(),
        request_timeout_ms=settings.request_timeout_ms,
    )


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ssl_cafile)
    except (ssl.SSLError, OSError) as cause:
        raise UsageError(f"ssl_cafile {settings.ssl_cafile} holds no authority: {cause}") from cause
    if settings.ssl_certfile is not None:
        try:
            context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
        except (ssl.SSLError, OSError) as cause:
            files = f"ssl_certfile {settings.ssl_certfile}, ssl_keyfile {settings.ssl_keyfile}"
            raise UsageError(f"{files} are no certificate and its key: {cause}") from cause
    return context
