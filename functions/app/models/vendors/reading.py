"""Reads the entries of the vendors (`vendors.toml` and the deployment's own) and their keys from the environment.

An entry of the deployment takes the place of the one with the same id that comes with the project.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, cast, get_args

from app.kit.deployment import LONGEST_REQUEST_S
from app.kit.environment import BadSetting, Environment, is_address
from app.kit.errors import Failure
from app.kit.tables import Table
from app.models.catalogue import Catalogue, dialect_of
from app.models.vendors.vendor import PLATFORM, Parameter, Vendor

BUNDLED: Final = Path(__file__).with_name("vendors.toml")
_ID: Final = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)
_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
_FIELDS: Final = (
    *("name", "base_url", "base_url_from", "key", "dialect", "takes"),
    *("connect_seconds", "first_token_seconds", "silence_seconds"),
)


class BadVendors(Failure):
    """An entry is wrong, and none was taken. The message says where and why."""


def read(env: Environment, own: str) -> dict[str, Vendor]:
    """All vendors by id: those of the project, and over them those of the file that `own` names (none if empty).

    Raises:
        BadSetting: the file or a variable that an entry names is wrong. The sentence names the variable.
    """
    found = parse(BUNDLED.read_text(encoding="utf-8"), env)
    if not own:
        return found
    try:
        return {**found, **parse(Path(own).read_text(encoding="utf-8"), env)}
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"MODEL_VENDORS: {own} cannot be read: {error}") from error
    except BadVendors as error:
        raise BadSetting(f"MODEL_VENDORS names a file that cannot be used: {error}") from error


def parse(text: str, env: Environment) -> dict[str, Vendor]:
    """The vendors of one file.

    Raises:
        BadVendors: the first thing that is wrong with it.
        BadSetting: a variable that it names has a value that cannot be used.
    """
    try:
        raw: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadVendors(f"it is not TOML: {error}") from error
    table = Table("vendors", raw, BadVendors)
    table.nothing_but("vendors")
    return {id: _vendor(id, one, env) for id, one in table.tables("vendors")}


def variables(text: str) -> list[str]:
    """The variables that the entries of a file read."""
    table = Table("vendors", tomllib.loads(text), BadVendors)
    named = [_variable(one, name) for _, one in table.tables("vendors") for name in ("base_url_from", "key")]
    return [name for name in named if name]


def offered(catalogue: Catalogue, vendors: Mapping[str, Vendor]) -> Catalogue:
    """The catalogue over these vendors: models of a vendor without its key are closed.

    A model that names no dialect gets that of its vendor.

    Raises:
        BadVendors: a model names a vendor that is not there.
    """
    models = {}
    for model in catalogue:
        vendor = vendors.get(model.vendor)
        if vendor is None:
            raise BadVendors(f"models.{model.id}: its vendor {model.vendor!r} is none of {', '.join(sorted(vendors))}")
        models[model.id] = model if model.dialect else replace(model, dialect=vendor.dialect)
    closed = frozenset(model.id for model in models.values() if not vendors[model.vendor].configured)
    return catalogue.over(models, closed)


def _vendor(id: str, table: Table, env: Environment) -> Vendor:
    table.nothing_but(*_FIELDS)
    if not _ID.fullmatch(id) or id == PLATFORM:
        raise BadVendors(f"vendors.{id}: an id has small letters, digits and hyphens, and {PLATFORM!r} is taken")
    base_url, key_name = table.text("base_url").rstrip("/"), _variable(table, "key")
    if not is_address(base_url):
        raise BadVendors(f"vendors.{id}.base_url should be an address that starts with https://")
    if moved := _variable(table, "base_url_from"):
        base_url = env.url(moved, base_url)
    return Vendor(
        id=id,
        name=table.text("name"),
        base_url=base_url,
        key_name=key_name,
        key=env.credential(key_name) if key_name else "",
        dialect=dialect_of(table),
        takes=frozenset(cast("list[Parameter]", _parameters(table))),
        connect_seconds=table.whole("connect_seconds", 0, LONGEST_REQUEST_S, default=0),
        first_token_seconds=table.whole("first_token_seconds", 0, LONGEST_REQUEST_S, default=0),
        silence_seconds=table.whole("silence_seconds", 0, LONGEST_REQUEST_S, default=0),
    )


def _parameters(table: Table) -> list[str]:
    known = get_args(Parameter)
    found = table.words("takes", default=known)
    if not set(found) <= set(known):
        raise BadVendors(f"{table.where}.takes should hold some of {', '.join(known)}, or nothing")
    return found


def _variable(table: Table, name: str) -> str:
    """The name of a variable, empty when the entry names none."""
    found = table.text(name, default="")
    if found and not _VARIABLE.fullmatch(found):
        raise BadVendors(f"{table.where}.{name} should be the name of a variable, such as EXAMPLE_API_KEY")
    return found
