"""Reports of errors: what Python itself would print, without keeping a frame."""

import traceback
from collections.abc import Callable

import pytest

from tds_runtime.failure import failure_of

NOTHING: dict[str, str] = {}


def _chained() -> None:
    try:
        NOTHING["price"]
    except KeyError as error:
        raise ValueError("no such column") from error


def _in_passing() -> None:
    try:
        NOTHING["price"]
    except KeyError:
        raise ValueError("no such column")  # noqa: B904 # the chain that nobody asked for is what is tested


def _grouped() -> None:
    errors: list[Exception] = []
    for fail in (_chained, _in_passing):
        try:
            fail()
        except ValueError as error:
            error.add_note(f"in {fail.__name__}")
            errors.append(error)
    raise ExceptionGroup("two of them", errors)


def _endless() -> None:
    _endless()


def _circular() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def _misspelt() -> None:
    compile("price = = 3", "mapping.py", "exec")


@pytest.mark.parametrize("fail", [_chained, _in_passing, _grouped, _endless, _circular, _misspelt])
def test_a_report_is_what_python_would_print(fail: Callable[[], None]) -> None:
    """Causes, contexts, groups, notes and the marks below a line are there, at each reading."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 # one of each kind
        fail()
    failure = failure_of(caught.value)
    expected = "".join(traceback.format_exception(caught.value))
    assert failure.text == expected
    assert failure.text == expected
