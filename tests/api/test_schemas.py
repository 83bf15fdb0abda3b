"""Types that every feature's schemas use."""

import pytest
from pydantic import TypeAdapter, ValidationError

from app.api.schemas import AmountIn, CreditAmount, Page, PageParameters, Parameters, RequestBody, ResponseBody
from app.kit.money import MAX_MICRO


class Purchase(RequestBody):
    amount: AmountIn
    count: int = 1


class Receipt(ResponseBody):
    amount: CreditAmount


class TestAnAmountThatComesIn:
    @pytest.mark.parametrize(
        ("text", "micro"), [("0", 0), ("12.5", 12_500_000), ("0.000001", 1), ("9007199254.740991", MAX_MICRO)]
    )
    def test_is_micro_credits_inside(self, text: str, micro: int) -> None:
        assert Purchase.model_validate({"amount": text}).amount == micro

    @pytest.mark.parametrize(
        "given",
        [1, 1.5, None, True, "", "-1", "+1", "01", ".5", "1.", "1e3", "1,5", "١", "1.0000001", "9" * 12, " 1", "1\n"],
    )
    def test_is_plain_decimal_text_or_refused(self, given: object) -> None:
        """T-41: a number of JSON is a binary fraction in most clients."""
        with pytest.raises(ValidationError):
            Purchase.model_validate({"amount": given})

    def test_is_documented_as_text(self) -> None:
        assert TypeAdapter(AmountIn).json_schema()["type"] == "string"


class TestBodies:
    @pytest.mark.parametrize("extra", [{"count": "1"}, {"count": 1.0}, {"count": True}, {"colour": "red"}])
    def test_refuse_what_is_unknown_or_of_another_type(self, extra: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            Purchase.model_validate({"amount": "1", **extra})


class TestAnswers:
    def test_refuse_an_amount_that_is_no_decimal(self) -> None:
        with pytest.raises(ValidationError):
            Receipt(amount="1e3")

    def test_pages_carry_their_items(self) -> None:
        page = Page[Receipt](items=[Receipt(amount="1")], next_cursor=None)
        assert page.model_dump() == {"items": [{"amount": "1"}], "next_cursor": None}


class TestParameters:
    def test_are_text_that_is_converted(self) -> None:
        assert PageParameters.model_validate({"limit": "7"}).limit == 7

    def test_make_their_schema_once_and_each_their_own(self) -> None:
        """flask-openapi asks for the schema with every request."""

        class Narrow(PageParameters):
            kind: str

        assert Narrow.model_json_schema() is Narrow.model_json_schema()
        assert "kind" in Narrow.model_json_schema()["properties"]
        assert "kind" not in PageParameters.model_json_schema()["properties"]
        assert Parameters.model_json_schema()["properties"] == {}
