"""The operators' settings: read, changed in part, refused with the field's name."""

from typing import Any

import pytest

from app.domain.cluster_settings import ClusterSettings
from app.services.load_view import current_settings
from tests.api.conftest import Api, error_of

PATH = "/admin/v1/settings"


def test_they_are_there_from_the_start(api: Api) -> None:
    shown = api.call("GET", PATH).json()["settings"]
    assert shown["strategy"] == "fewest-vms"
    assert shown["guarantee"] == 0
    assert shown["armed"] is True


def test_a_change_in_part_leaves_the_rest_and_is_written_down(api: Api) -> None:
    answer = api.call("PATCH", PATH, {"strategy": "best-fit", "memory_overcommit": 1.5, "rebalance": True})
    assert answer.status_code == 200, answer.text
    kept = api.store.run(current_settings)
    assert kept == ClusterSettings(strategy="best-fit", memory_overcommit=1.5, rebalance=True)
    assert answer.json()["settings"] == api.call("GET", PATH).json()["settings"]
    (event,) = api.call("GET", "/admin/v1/events?kind=cluster.settings").json()["events"]
    assert "strategy fewest-vms -> best-fit" in event["text"]
    (entry,) = api.call("GET", "/admin/v1/audit").json()["audit"]
    assert entry["details"]["memory_overcommit"] == "1.5"


def test_what_is_so_already_is_not_written_again(api: Api) -> None:
    assert api.call("PATCH", PATH, {"guarantee": 0}).status_code == 200
    assert api.call("GET", "/admin/v1/events?kind=cluster.settings").json()["events"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"strategy": "luck"}, "strategy"),
        ({"guarantee": -1}, "guarantee"),
        ({"guarantee": 1.5}, "guarantee"),
        ({"guarantee": None}, "guarantee"),
        ({"memory_overcommit": 0.5}, "memory_overcommit"),
        ({"storm_share": 0}, "storm_share"),
        ({"storm_share": 1.01}, "storm_share"),
        ({"quarantine_losses": 0}, "quarantine_losses"),
        ({"quarantine_seconds": -1}, "quarantine_seconds"),
        ({"migrations_max": 0}, "migrations_max"),
        ({"migrations_per_node_max": 5}, "migrations_per_node_max"),
        ({"rebalance": "yes"}, "rebalance"),
        ({"isolated_keep_seconds": -1}, "isolated_keep_seconds"),
        ({"isolated_then": "hope"}, "isolated_then"),
        ({"armed": False}, "armed"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_value_that_cannot_be_is_named_and_nothing_is_written(api: Api, body: dict[str, Any], field: str) -> None:
    error = error_of(api.call("PATCH", PATH, body), 422, "invalid_input")
    assert error["details"]["fields"][0]["name"] == field
    assert api.store.run(current_settings) == ClusterSettings()


def test_only_operators_see_and_set_them(api: Api) -> None:
    error_of(api.call("GET", PATH, token=api.tokens.project), 403, "forbidden")
    error_of(api.call("PATCH", PATH, {"guarantee": 1}, token=api.tokens.project), 403, "forbidden")
