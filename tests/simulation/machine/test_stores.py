"""The simulator's indexed stores answer as the plain ones in memory, which contract tests compare with real ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.kit.errors import InvariantViolation
from app.kit.stores.documents import Create, Delete, Merge, Operator, Query, Replace, Value, Where, Write
from app.kit.stores.realtime import Json
from simulation.machine.stores import IndexedDocuments, QuickRealtime
from support.memory import MemoryDocuments, MemoryRealtime

_IDS = st.sampled_from("abcdefgh")
_VALUES: st.SearchStrategy[Value] = st.sampled_from([None, True, 1, 1.0, 2, -3, "", "a", "b", "ż", "🐵"])
_FIELDS = st.fixed_dictionaries({}, optional={"x": _VALUES, "y": _VALUES})
_WRITES: st.SearchStrategy[Write] = st.one_of(
    st.builds(lambda name, fields: Replace(f"things/{name}", fields), _IDS, _FIELDS),
    st.builds(lambda name, fields: Merge(f"things/{name}", fields), _IDS, _FIELDS),
    st.builds(lambda name: Delete(f"things/{name}"), _IDS),
    st.builds(lambda name: Replace(f"others/{name}", {"x": 1}), _IDS),
)
_BOUNDS = _VALUES.filter(lambda value: value is not None)

_OPERATORS: tuple[tuple[Operator, ...], ...] = (("<=",), ("<",), ("==",), (">",), (">=",), (">", "<="), (">=", "<"))


@st.composite
def _queries(draw: st.DrawFn) -> Query:
    operators = draw(st.sampled_from(_OPERATORS))
    where = tuple(Where("x", operator, draw(_BOUNDS)) for operator in operators)
    order = draw(st.sampled_from([("x",), ("x", "__name__"), ("-x",), (), ("y",), ("-__name__",)]))
    after: tuple[Value, ...] = ()
    if order[:1] == ("x",):
        after = draw(st.one_of(st.just(()), st.tuples(_BOUNDS), st.tuples(_BOUNDS, _IDS)))
    return Query("things", where, order, draw(st.sampled_from([None, 1, 3, 9])), after)


_REFUSED: tuple[tuple[Write, ...], ...] = (
    (Create("things", {}),),
    (Create("things/a", {"__x__": 1}),),
    (Create("things/a", {}), Create("things/a", {})),
    (Merge("things/a", {"x": "x" * 600_000}), Merge("things/a", {"y": "y" * 600_000})),
    tuple(Delete(f"things/{number}") for number in range(501)),
)


class TestDocuments:
    @given(st.lists(st.one_of(_WRITES, _queries()), max_size=40), _queries())
    @settings(max_examples=300, deadline=None)
    def test_every_query_finds_what_looking_at_everything_finds(self, steps: list[Write | Query], last: Query) -> None:
        plain, quick = MemoryDocuments(), IndexedDocuments()
        for step in [*steps, last]:
            if isinstance(step, Query):
                assert _answer(quick, step) == _answer(plain, step)
            else:
                assert quick.commit([step]) == plain.commit([step])

    @pytest.mark.parametrize("writes", _REFUSED)
    def test_what_memory_refuses_is_refused_and_nothing_is_written(self, writes: tuple[Write, ...]) -> None:
        quick = IndexedDocuments()
        with pytest.raises(InvariantViolation):
            quick.commit([Create("things/z", {}), *writes])
        assert quick.all() == {}

    def test_a_page_goes_on_where_the_last_one_ended(self) -> None:
        quick = IndexedDocuments()
        quick.commit([Create(f"things/{number:03d}", {"x": number // 10}) for number in range(100)])
        found: list[str] = []
        after: tuple[Value, ...] = ()
        while page := quick.query(Query("things", (Where("x", "<=", 5),), ("x", "__name__"), 7, after)):
            found += [one.id for one in page]
            after = (page[-1].fields["x"], page[-1].id)
        assert found == [f"{number:03d}" for number in range(60)]


def _answer(store: MemoryDocuments, query: Query) -> list[tuple[str, object]] | str:
    """What is found, or why the store refuses to look."""
    try:
        return [(one.path, one.fields) for one in store.query(query)]
    except InvariantViolation as refused:
        return str(refused)


_PATHS = st.sampled_from(["q", "q/a", "q/b", "q/c", "q/c/d", "q/c/e", "q/a/x", "z", "q2/a"])
_JSON: st.SearchStrategy[Json] = st.sampled_from([None, 1, "text", {"a": 1, "b": {"c": 2}}, {"d": {"e": 1}}, {}])
_ASKED = st.tuples(st.sampled_from(["q", "q/c", "z"]), st.integers(1, 3), st.sampled_from(["", "a", "b", "bb", "d"]))


class TestRealtime:
    @given(st.lists(st.one_of(st.tuples(_PATHS, _JSON), _ASKED), max_size=40))
    @settings(max_examples=300, deadline=None)
    def test_the_first_children_are_those_of_the_whole_node(
        self, steps: list[tuple[str, Json] | tuple[str, int, str]]
    ) -> None:
        plain, quick = MemoryRealtime(), QuickRealtime()
        for step in steps:
            if len(step) == 3:
                path, limit, start_at = step
                expected = plain.first(path, limit, start_at=start_at)
                assert [*quick.first(path, limit, start_at=start_at).items()] == [*expected.items()]
            else:
                plain.update({step[0]: step[1]})
                quick.update({step[0]: step[1]})
            assert quick.get("q") == plain.get("q")
