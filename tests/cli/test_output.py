"""Tables: as wide as the terminal, and where there is none, one line for each row."""

import pytest

from app.cli.output import say_table

ROWS = [("node1", "10.77.1.11", "pool shared: there is no /srv/holdfast/shared/images, is it mounted? " * 3, "ok")]


def test_a_row_is_one_line_where_nobody_set_a_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    say_table(("node", "address", "health", "state"), ROWS)
    (line,) = (row for row in capsys.readouterr().out.splitlines() if "node1" in row)
    assert all(cell.strip() in line for cell in ROWS[0])


def test_a_row_goes_on_below_where_the_width_is_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    say_table(("node", "address", "health", "state"), ROWS)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60
