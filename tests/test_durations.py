"""Durations as text: every form that people and servers write is read in one place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unspool import durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        (" 1.5 ", 1.5),
        (".5s", 0.5),
        ("300ms", 0.3),
        ("2m", 120.0),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("2d", 172800.0),
        ("1w", 604800.0),
        ("0", 0.0),
    ],
)
def test_a_duration_is_read_with_each_unit(text: str, seconds: float) -> None:
    assert durations.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "soon", "-1s", "+1s", "1s2", "1 s", "1e3", "inf", "nan", "1_000", "٣s", "999y", "1.2.3s", "ms"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        durations.parse(text)


@given(st.text(alphabet="0123456789.mshdwy -é٣"))
def test_any_text_is_a_bounded_duration_or_a_value_error(text: str) -> None:
    try:
        assert 0.0 <= durations.parse(text) < 1e9
    except ValueError:
        pass
