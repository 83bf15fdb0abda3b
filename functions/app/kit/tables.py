"""Reads one table of a TOML file strictly: a field that is missing, of another type or unknown is refused by name."""

from collections.abc import Iterator, Mapping

from app.kit.errors import Failure


class Table:
    """The fields of one table. `where` names it in refusals, which are raised as `refuse`."""

    def __init__(self, where: str, raw: object, refuse: type[Failure]) -> None:
        if not isinstance(raw, dict):
            raise refuse(f"{where} should be a table")
        self.where = where
        self.refuse = refuse
        self._raw: Mapping[str, object] = raw

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def value(self, name: str) -> object:
        """A field of any type."""
        if name not in self._raw:
            raise self.refuse(f"{self.where}: {name} is missing")
        return self._raw[name]

    def text(self, name: str, *, default: str | None = None) -> str:
        """A text that is not empty."""
        if default is not None and name not in self._raw:
            return default
        value = self.value(name)
        if not isinstance(value, str) or not value:
            raise self.refuse(f"{self.where}.{name} should be text")
        return value

    def one_of(self, name: str, known: tuple[str, ...], *, default: str | None = None) -> str:
        """One of the texts in `known`."""
        value = self.text(name, default=default)
        if value not in known:
            raise self.refuse(f"{self.where}.{name} should be one of {', '.join(known)}, and is {value!r}")
        return value

    def whole(self, name: str, low: int, high: int, *, default: int | None = None) -> int:
        """A whole number between two bounds, both allowed."""
        value = self._raw.get(name, default)
        if type(value) is not int or not low <= value <= high:
            raise self.refuse(f"{self.where}.{name} should be a whole number from {low} to {high}")
        return value

    def rows(self, name: str) -> list[object]:
        """A list, by default an empty one."""
        value = self._raw.get(name, [])
        if not isinstance(value, list):
            raise self.refuse(f"{self.where}.{name} should be a list")
        return value

    def words(
        self, name: str, known: tuple[str, ...] | None = None, *, default: tuple[str, ...] | None = None
    ) -> list[str]:
        """A list of texts; of those in `known` and at least one, unless that is None."""
        value = self._raw.get(name, default if default is None else [*default])
        if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
            raise self.refuse(f"{self.where}.{name} should be a list of names")
        if known is not None and (not value or not set(value) <= set(known)):
            raise self.refuse(f"{self.where}.{name} should hold some of {', '.join(known)}")
        return value

    def table(self, name: str) -> "Table":
        """The table below a name."""
        return Table(f"{self.where}.{name}", self.value(name), self.refuse)

    def tables(self, name: str) -> Iterator[tuple[str, "Table"]]:
        """The tables below a name, each with its own name."""
        for own, value in Table(name, self._raw.get(name), self.refuse).items():
            yield own, Table(f"{name}.{own}", value, self.refuse)

    def items(self) -> Iterator[tuple[str, object]]:
        """All fields."""
        yield from self._raw.items()

    def nothing_but(self, *names: str) -> None:
        """Refuses a field with any other name."""
        unknown = self._raw.keys() - set(names)
        if unknown:
            raise self.refuse(f"{self.where}: unknown {', '.join(sorted(unknown))}")
