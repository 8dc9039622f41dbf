"""A wrong setting stops the start with the field, the value and what was expected."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from batuta.schemas.errors import UsageError
from batuta.schemas.pipeline import Parking
from batuta.streams.settings import Settings, client_options, load_settings

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("BATUTA_") and not name.startswith("BATUTA_TEST_"):
            monkeypatch.delenv(name)


def refusal(**overrides: object) -> str:
    with pytest.raises(UsageError) as refused:
        load_settings(**overrides)
    return str(refused.value)


def test_flags_win_over_the_environment_and_that_over_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BATUTA_PARTITIONS", "8")
    monkeypatch.setenv("BATUTA_METRICS_PORT", "9464")
    settings = load_settings(partitions=2, bootstrap=None)
    assert (settings.partitions, settings.metrics_port) == (2, 9464)
    assert settings.session_timeout_ms == 6_000
    assert settings.bootstrap is None


def test_an_empty_variable_counts_as_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATUTA_WEBHOOK_URL", "")
    assert load_settings().webhook_url is None


def test_a_refusal_names_field_variable_flag_value_and_what_was_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BATUTA_SESSION_TIMEOUT_MS", "abc")
    assert refusal() == (
        "session_timeout_ms (BATUTA_SESSION_TIMEOUT_MS, --session-timeout-ms) is 'abc':"
        " expected a whole number"
    )


def test_every_wrong_setting_is_named_at_once() -> None:
    lines = refusal(metrics_port=70_000, log_format="xml", ssl_cafile="/no/such/file").splitlines()
    assert [line.split(" ")[0] for line in lines] == ["ssl_cafile", "metrics_port", "log_format"]


@pytest.mark.parametrize(
    "address",
    ["localhost", "localhost:", ":9092", "a:0", "a:65536", "a:1,,b:2", "http://a:1", "a:1;b:2", ""],
)
def test_an_address_without_host_and_port_is_refused(address: str) -> None:
    assert f"is {address!r}: expected HOST:PORT" in refusal(bootstrap=address)


@pytest.mark.parametrize(
    ("address", "brokers"),
    [("k:9092", "k:9092"), ("a:1, b:2", "a:1,b:2"), ("[::1]:9092", "[::1]:9092")],
)
def test_addresses_are_taken(address: str, brokers: str) -> None:
    assert load_settings(bootstrap=address).brokers == brokers


def test_without_a_broker_the_fix_is_named() -> None:
    with pytest.raises(UsageError, match="--bootstrap HOST:PORT or BATUTA_BOOTSTRAP"):
        _ = load_settings().brokers


def test_an_unknown_variable_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BATUTA_BOOTSRAP", "k:9092")
    monkeypatch.setenv("BATUTA_TEST_ANYTHING", "left alone")
    monkeypatch.setenv("BATUTA_DATA", "left alone")
    assert refusal() == "BATUTA_BOOTSRAP is not a setting: did you mean BATUTA_BOOTSTRAP?"


def test_an_unknown_field_is_refused_with_the_nearest_name() -> None:
    assert refusal(batch_record_max=5) == (
        "batch_record_max is not a setting: did you mean batch_records_max?"
    )


@pytest.mark.parametrize(
    ("overrides", "field", "expected"),
    [
        (
            {"heartbeat_interval_ms": 2_000},
            "heartbeat_interval_ms",
            "less than a third of session_timeout_ms (6000)",
        ),
        (
            {"session_timeout_ms": 30_000},
            "session_timeout_ms",
            "less than rebalance_timeout_ms (30000)",
        ),
        (
            {"rebalance_timeout_ms": 40_000},
            "rebalance_timeout_ms",
            "less than request_timeout_ms (40000)",
        ),
        (
            {"fetch_wait_ms_max": 60_000},
            "fetch_wait_ms_max",
            "less than request_timeout_ms (40000)",
        ),
        (
            {"fetch_bytes_max": 1_000},
            "fetch_partition_bytes_max",
            "at most fetch_bytes_max (1000)",
        ),
        ({"retry_backoff_ms": 9_000}, "retry_backoff_ms", "at most retry_backoff_ms_max (5000)"),
        ({"sasl_username": "me"}, "sasl_username", "no value while security_protocol is PLAINTEXT"),
        ({"ssl_cafile": __file__}, "ssl_cafile", "no value while security_protocol is PLAINTEXT"),
        ({"security_protocol": "SASL_SSL"}, "sasl_mechanism", "a value, as security_protocol is"),
        (
            {"security_protocol": "SSL", "ssl_keyfile": __file__},
            "ssl_certfile",
            "a value, as ssl_keyfile is given",
        ),
        ({"webhook_url": "https://example.com"}, "webhook_secret", "a value, as webhook_url is"),
        ({"security_protocol": "SASL_PLAINTEXT"}, "security_protocol", "SASL_SSL: SASL_PLAINTEXT"),
        ({"transaction_timeout_ms": 900_001}, "transaction_timeout_ms", "less than or equal to"),
    ],
)
def test_limits_that_contradict_each_other_are_refused(
    overrides: dict[str, object], field: str, expected: str
) -> None:
    said = refusal(**overrides)
    assert said.startswith(f"{field} (BATUTA_{field.upper()}, ")
    assert expected in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("webhook_secret", "hunter2-hunter2"),
        ("webhook_url", "ftp://hunter2-token@example.com"),
        ("sasl_password", "hunter2"),
    ],
)
def test_no_message_shows_a_secret(field: str, value: str) -> None:
    with pytest.raises(UsageError) as refused:
        load_settings(**{field: value})
    assert field in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_printed_settings_show_no_secret() -> None:
    settings = load_settings(
        webhook_url="https://example.com/hooks/token-in-the-path", webhook_secret=SECRET
    )
    assert "token-in-the-path" not in repr(settings)
    assert SECRET not in repr(settings)


def test_settings_are_frozen() -> None:
    settings: Settings = load_settings()
    with pytest.raises(ValidationError):
        settings.partitions = 9  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]


def test_plain_clients_get_no_certificate_and_no_password() -> None:
    assert client_options(load_settings(bootstrap="k:9092")) == {
        "bootstrap_servers": "k:9092",
        "security_protocol": "PLAINTEXT",
        "ssl_context": None,
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": None,
        "sasl_plain_password": None,
        "request_timeout_ms": 40_000,
    }


def test_a_password_travels_only_with_a_verified_certificate() -> None:
    options = client_options(
        load_settings(
            bootstrap="k:9093",
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username="batuta",
            sasl_password="hunter2",
        )
    )
    context = options["ssl_context"]
    assert context is not None
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert options["sasl_plain_password"] == "hunter2"


def test_a_file_without_an_authority_is_a_usage_error(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing here")
    settings = load_settings(bootstrap="k:9093", security_protocol="SSL", ssl_cafile=str(empty))
    with pytest.raises(UsageError, match=r"ssl_cafile .* holds no authority"):
        client_options(settings)


def test_a_lane_may_park_more_than_all_batches_that_are_under_way() -> None:
    settings = load_settings()
    assert Parking().steps_max >= 2 * settings.batches_in_flight_max * settings.batch_records_max
