"""A price that binds, through the running suite."""

from decimal import Decimal

from e2e.person import Person, problem_of

QUESTION = "What is a ledger, and what is it for?"


def test_a_quote_binds_one_message(person: Person) -> None:
    conversation = person.begin()
    asked = {"content": QUESTION, "model": "auto", "max_cost": "0.5"}
    made = person.call("POST", "/v1/chat/quotes", {**asked, "conversation_id": conversation})
    assert made.status_code == 201, made.text
    quote = made.json()
    answer = person.ask(conversation, QUESTION, quote_id=quote["quote_id"])
    assert answer.status_code == 200, answer.text
    turn = answer.json()
    assert (turn["model"], turn["ceiling"], turn["choice"]) == (quote["model"], quote["ceiling"], quote["choice"])
    assert Decimal(turn["cost"]) <= Decimal(quote["ceiling"]) <= Decimal("0.5")
    again = person.ask(person.begin(), QUESTION, quote_id=quote["quote_id"])
    assert (again.status_code, problem_of(again)["code"]) == (422, "quote_mismatch")
    again = person.ask(conversation, QUESTION, quote_id=quote["quote_id"])
    assert (again.status_code, problem_of(again)["code"]) == (409, "quote_used")
