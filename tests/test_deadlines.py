from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from tds_runtime.deadlines import Deadlines

steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 5), st.integers(0, 100)),
        st.tuples(st.just("clear"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("due"), st.just(0), st.integers(0, 100)),
    ),
    max_size=300,
)


@given(steps)
def test_deadlines_are_a_dictionary_with_an_earliest(steps):
    """Whatever is set, cleared and taken: each key has at most its newest deadline, and due ones come in order."""
    deadlines: Deadlines[int] = Deadlines()
    model: dict[int, float] = {}
    for kind, key, when in steps:
        if kind == "set":
            deadlines.set(key, when)
            model[key] = when
        elif kind == "clear":
            deadlines.clear(key)
            model.pop(key, None)
        else:
            due = deadlines.due(when)
            assert [model[key] for key in due] == sorted(at for at in model.values() if at <= when)
            for done in due:
                del model[done]
        assert len(deadlines) == len(model)
        assert deadlines.earliest() == min(model.values(), default=inf)


def test_infinity_is_no_deadline():
    """A key whose deadline is set to infinity has none."""
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 3)
    deadlines.set("a", inf)
    assert deadlines.earliest() == inf
    assert not deadlines.due(1e9)


def test_outdated_entries_do_not_pile_up():
    """Moving one deadline again and again keeps the heap small."""
    deadlines: Deadlines[str] = Deadlines()
    for when in range(10_000):
        deadlines.set("a", 10_000 - when)
    assert len(deadlines._heap) < 100
