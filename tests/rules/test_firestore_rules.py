"""firestore.rules: closed to clients, whoever they are and whatever they ask."""

from support.clients import Rest, Sdk, Step, documents_of, rest_as
from support.suite import RunningSuite, User

DENIED = "permission-denied"


def steps_against(uid: str) -> list[Step]:
    steps: list[Step] = []
    for path in documents_of(uid):
        collection = path.rpartition("/")[0]
        steps += [
            ("getDoc", path),
            ("getDocs", collection),
            ("setDoc", path, {"balance": 9999}),
            ("addDoc", collection, {"balance": 9999}),
            ("deleteDoc", path),
        ]
    return steps


class TestFirestore:
    def test_is_closed_even_to_the_owner_of_the_data(self, suite: RunningSuite, alice: User) -> None:
        steps = steps_against(alice.uid)
        assert [outcome.refused for outcome in Sdk(suite, alice).take(steps)] == [DENIED] * len(steps)

    def test_is_closed_to_a_second_user(self, suite: RunningSuite, alice: User, mallory: User) -> None:
        steps = steps_against(alice.uid)
        assert [outcome.refused for outcome in Sdk(suite, mallory).take(steps)] == [DENIED] * len(steps)

    def test_is_closed_to_nobody_in_particular(self, suite: RunningSuite, alice: User) -> None:
        steps = steps_against(alice.uid)
        assert [outcome.refused for outcome in Sdk(suite, None).take(steps)] == [DENIED] * len(steps)

    def test_is_closed_over_rest_too(self, suite: RunningSuite, alice: User, mallory: User, owner: Rest) -> None:
        for who in (alice, mallory, None):
            client = rest_as(suite, who)
            for path in documents_of(alice.uid):
                collection = path.rpartition("/")[0]
                body = {"fields": {"balance": {"integerValue": "9999"}}}
                assert client.firestore("GET", path).status_code == 403, path
                assert client.firestore("GET", collection).status_code == 403, collection
                assert client.firestore("PATCH", path, body).status_code == 403, path
                assert client.firestore("POST", collection, body).status_code == 403, collection
                assert client.firestore("DELETE", path).status_code == 403, path
        for path in documents_of(alice.uid):
            kept = owner.firestore("GET", path).json()
            assert kept["fields"]["balance"] == {"integerValue": "1000"}, path

    def test_is_closed_to_an_admin(self, suite: RunningSuite, alice: User) -> None:
        """Roles count in the API, not here."""
        admin = suite.create_user(claims={"role": "admin"})
        for path in documents_of(alice.uid):
            assert rest_as(suite, admin).firestore("GET", path).status_code == 403
