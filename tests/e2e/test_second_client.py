"""The Python Admin SDK as a second client: sees what the app sees, gives roles; and what a stranger's token opens."""

from collections.abc import Iterator

import firebase_admin
import pytest
from firebase_admin import auth, db
from google.auth.credentials import AnonymousCredentials

from e2e.admin_listener import listening
from e2e.person import Json, Person, messages, problem_of
from emulators.suite import seed
from emulators.suite.places import BUCKET, DATABASE_NAMESPACE, HOST, PROJECT
from support.suite import RunningSuite, User, eventually

QUESTION = "What is a ledger?"


class Anonymous(firebase_admin.credentials.Base):
    """The emulators take no credentials."""

    def get_credential(self) -> AnonymousCredentials:
        return AnonymousCredentials()


@pytest.fixture(scope="module")
def admin(suite: RunningSuite) -> Iterator[firebase_admin.App]:
    """An Admin SDK of its own, apart from the one that the app's code may have made in this process."""
    options = {
        "projectId": PROJECT,
        "storageBucket": BUCKET,
        "databaseURL": _database_url(suite),
    }
    app = firebase_admin.initialize_app(Anonymous(), options, name="second-client")
    yield app
    firebase_admin.delete_app(app)


class TestListening:
    def test_sees_the_balance_change_until_it_is_the_authoritative_one(
        self, suite: RunningSuite, person: Person
    ) -> None:
        seen: list[Json] = []
        with listening(_database_url(suite), f"users/{person.uid}/balance") as listener:
            assert listener.next() == {"path": "/", "data": None}
            answer = person.ask(person.begin(), QUESTION).json()
            while not seen or (seen[-1]["available"], seen[-1]["reserved"]) != (answer["available"], "0"):
                event = listener.next()
                assert event["path"] == "/", "the whole value is replaced at once, so that no reader sees half of it"
                assert isinstance(event["data"], dict)
                seen.append(event["data"])
        assert seen[-1] == person.balance()
        assert [each["updated_at"] for each in seen] == sorted(str(each["updated_at"]) for each in seen)

    def test_reads_the_stream_as_it_was_told(self, admin: firebase_admin.App, person: Person) -> None:
        answer = person.ask(person.begin(), QUESTION).json()
        place = db.reference(f"users/{person.uid}/streams/{answer['message_id']}", app=admin)
        stream = eventually(lambda: _done(place.get()), what="the end of the stream")
        chunks = stream["chunks"]
        assert isinstance(chunks, dict)
        assert "".join(chunks[key] for key in sorted(chunks)) == answer["answer"]


class TestRoles:
    def test_come_from_custom_claims(self, suite: RunningSuite, admin: firebase_admin.App, person: Person) -> None:
        stranger = suite.create_user()
        audit = f"/v1/credits/audit?uid={person.uid}"
        person.balance()
        assert Person(suite, stranger).call("GET", audit).status_code == 403
        auth.set_custom_user_claims(stranger.uid, {"role": "admin"}, app=admin)
        seen = _again(suite, stranger).call("GET", audit)
        assert (seen.status_code, seen.json()["report"]["account"]) == (200, person.uid)
        auth.set_custom_user_claims(stranger.uid, {"role": "emperor"}, app=admin)
        assert _again(suite, stranger).call("GET", audit).status_code == 403
        auth.set_custom_user_claims(stranger.uid, None, app=admin)
        assert _again(suite, stranger).call("GET", audit).status_code == 403


class TestAStranger:
    """Another user's object does not exist: 404 and never 403, and nothing about it changes."""

    @pytest.fixture
    def theirs(self, person: Person) -> tuple[str, dict[str, str]]:
        conversation = person.begin()
        answer: dict[str, str] = person.ask(conversation, QUESTION).json()
        return conversation, answer

    def test_finds_no_conversation(self, person: Person, other: Person, theirs: tuple[str, dict[str, str]]) -> None:
        conversation, answer = theirs
        place = f"/v1/chat/conversations/{conversation}"
        tries = [
            other.call("GET", place),
            other.call("PATCH", place, {"title": "mine"}),
            other.call("DELETE", place),
            other.call("GET", messages(conversation)),
            other.ask(conversation, "hello"),
        ]
        assert [problem_of(each)["code"] for each in tries] == ["not_found"] * 5
        assert [each.status_code for each in tries] == [404] * 5
        turn = person.turn(conversation, answer["message_id"])
        assert {**turn, **answer} == turn
        assert other.balance()["balance"] == "1000"

    def test_finds_no_message_and_no_entry(
        self, person: Person, other: Person, theirs: tuple[str, dict[str, str]]
    ) -> None:
        _, answer = theirs
        other.balance()
        tries = [
            other.cancel(answer["message_id"]),
            other.call("GET", f"/v1/credits/verify/{answer['transaction_id']}"),
            other.call("GET", f"/v1/credits/receipts/{answer['transaction_id']}"),
        ]
        assert [each.status_code for each in tries] == [404] * 3
        assert person.get(f"/v1/credits/verify/{answer['transaction_id']}")["valid"]

    def test_gets_the_same_words_as_for_what_never_was(self, other: Person, theirs: tuple[str, dict[str, str]]) -> None:
        def body(conversation: str) -> dict[str, object]:
            problem = problem_of(other.call("GET", f"/v1/chat/conversations/{conversation}"))
            return {name: value for name, value in problem.items() if name != "request_id"}

        assert body(theirs[0]) == body("cnv_00000000000000000000000000")

    def test_does_not_stop_another_users_stream(self, person: Person, other: Person) -> None:
        conversation = person.begin()
        with person.stream(conversation, QUESTION) as stream:
            message = stream.until("start")[0].data["message_id"]
            assert other.cancel(message).status_code == 404
            assert stream.rest()[-1].data["finish_reason"] == "stop"


def _database_url(suite: RunningSuite) -> str:
    return f"http://{HOST}:{suite.ports.database}/?ns={DATABASE_NAMESPACE}"


def _done(value: object) -> dict[str, object] | None:
    return value if isinstance(value, dict) and value.get("status") == "done" else None


def _again(suite: RunningSuite, user: User) -> Person:
    """The same user with a token of now."""
    signed = seed.sign_in(suite.ports, user.email, user.password)
    return Person(suite, User(signed.uid, user.email, user.password, signed.id_token))
