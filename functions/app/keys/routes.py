"""`/keys`: a user's API keys. No key reaches these routes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from flask_openapi import APIBlueprint, Tag

from app.api.auth import Scope, caller, spends
from app.api.schemas import Problem, microseconds
from app.keys.api_key import ApiKey, digest_of, rotated, text_of
from app.keys.schemas import (
    ApiKeyAnswer,
    ApiKeyBody,
    ApiKeyChanges,
    ApiKeyPath,
    ApiKeyRotation,
    ApiKeysAnswer,
    Budget,
    BudgetAnswer,
    NewApiKeyAnswer,
)
from app.keys.store import KeyStore
from app.kit.clock import Clock, optional_rfc3339, seconds, to_rfc3339
from app.kit.errors import Invalid
from app.kit.ids import Ids

_TAG: Final = Tag(name="keys", description="API keys, with which programs act for you")


Spent = Callable[[str, Sequence[ApiKey]], Sequence[list[BudgetAnswer]]]
"""What counts now in the budgets of each of these keys of a user."""


def routes(store: KeyStore, spent: Spent, clock: Clock, ids: Ids, new_secret: Callable[[], str]) -> APIBlueprint:
    """The blueprint; see the module. `new_secret` gives 43 URL-safe characters."""
    blueprint = APIBlueprint("keys", __name__, abp_tags=[_TAG], url_prefix="/keys")

    @blueprint.post(
        "",
        summary="Make an API key",
        description="`key` is shown this once. Whoever loses the answer deletes the key and makes another.",
        responses={201: NewApiKeyAnswer, 409: Problem, 422: Problem},
    )
    @spends
    def create(body: ApiKeyBody) -> tuple[NewApiKeyAnswer, int]:
        now_us, id = clock.now_us(), ids.new("key")
        text = text_of(id, new_secret())
        expires_us = _to_come(microseconds(body.expires_at), now_us)
        key = ApiKey(
            id,
            caller().uid,
            body.name,
            _once(body.scopes),
            digest_of(text),
            now_us,
            expires_us,
            budgets=_budgets(body.budgets),
        )
        answer = _new(key, text, spent)  # Before it is stored: what fails here must not lose the text of a key.
        store.add(key)
        return answer, 201

    @blueprint.get("", summary="Your API keys", responses={200: ApiKeysAnswer})
    def read_keys() -> ApiKeysAnswer:
        return ApiKeysAnswer(items=_shown(caller().uid, store.list(caller().uid), spent))

    _one(blueprint, store, spent, clock, new_secret)
    return blueprint


def _one(blueprint: APIBlueprint, store: KeyStore, spent: Spent, clock: Clock, new_secret: Callable[[], str]) -> None:
    """The routes of one key."""

    @blueprint.patch(
        "/<key_id>",
        summary="Rename an API key, change its scopes, budgets or end",
        description="Holds everywhere within a minute.",
        responses={200: ApiKeyAnswer, 404: Problem, 422: Problem},
    )
    @spends
    def change(path: ApiKeyPath, body: ApiKeyChanges) -> ApiKeyAnswer:
        given = body.model_fields_set
        expires_us = _to_come(microseconds(body.expires_at), clock.now_us())

        def changed(key: ApiKey) -> ApiKey:
            return replace(
                key,
                name=key.name if body.name is None else body.name,
                scopes=key.scopes if body.scopes is None else _once(body.scopes),
                expires_us=expires_us if "expires_at" in given else key.expires_us,
                budgets=key.budgets if body.budgets is None else _budgets(body.budgets),
            )

        [answer] = _shown(caller().uid, [store.change(caller().uid, path.key_id, changed)], spent)
        return answer

    @blueprint.delete(
        "/<key_id>",
        summary="Delete an API key",
        description="It is refused everywhere within a minute.",
        responses={204: None, 404: Problem},
    )
    def delete(path: ApiKeyPath) -> tuple[str, int]:
        store.delete(caller().uid, path.key_id)
        return "", 204

    @blueprint.post(
        "/<key_id>/rotate",
        summary="Replace the text of an API key",
        description="The new `key` is shown this once; what counted before ends after `overlap_seconds`.",
        responses={200: NewApiKeyAnswer, 404: Problem, 422: Problem},
    )
    @spends
    def rotate(path: ApiKeyPath, body: ApiKeyRotation) -> NewApiKeyAnswer:
        text, now_us = text_of(path.key_id, new_secret()), clock.now_us()
        overlap_us = seconds(body.overlap_seconds)
        key = store.change(caller().uid, path.key_id, lambda key: rotated(key, digest_of(text), now_us, overlap_us))
        return _new(key, text, spent)


def _to_come(expires_us: int | None, now_us: int) -> int | None:
    if expires_us is not None and expires_us <= now_us:
        raise Invalid("A key cannot end in the past.", field="expires_at")
    return expires_us


def _once(scopes: list[Scope]) -> tuple[Scope, ...]:
    return tuple(dict.fromkeys(scopes))


def _budgets(given: list[Budget]) -> tuple[tuple[str, int], ...]:
    return tuple((one.window, one.credits) for one in given)


def _shown(uid: str, keys: Sequence[ApiKey], spent: Spent) -> list[ApiKeyAnswer]:
    return [_answer(key, budgets) for key, budgets in zip(keys, spent(uid, keys), strict=True)]


def _answer(key: ApiKey, budgets: list[BudgetAnswer]) -> ApiKeyAnswer:
    return ApiKeyAnswer(
        id=key.id,
        name=key.name,
        scopes=[*key.scopes],
        budgets=budgets,
        created_at=to_rfc3339(key.created_us),
        expires_at=optional_rfc3339(key.expires_us),
        rotated_at=optional_rfc3339(key.rotated_us),
        older_until=optional_rfc3339(max((one.until_us for one in key.older), default=None)),
    )


def _new(key: ApiKey, text: str, spent: Spent) -> NewApiKeyAnswer:
    [answer] = _shown(key.account, [key], spent)
    return NewApiKeyAnswer(**answer.model_dump(), key=text)
