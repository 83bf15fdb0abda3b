"""What a test can learn and arrange: records, aborted clients, faults ahead."""

import httpx2
import pytest

from model_vendor.wiretap import body, listen
from support.vendor import Vendor

SLOW = "first-token-ms=0,tokens-per-second=200"
LONG = "Explain HTTP in 300 words"


def hang_up_after(http: httpx2.Client, asked: dict[str, object], chunks: int) -> int:
    """Read some content chunks, then close the connection; how many were read."""
    read = 0
    with http.stream("POST", "/chat/completions", json=asked) as response:
        for line in response.iter_lines():
            read += '"content":' in line and '"role"' not in line
            if read >= chunks:
                break
    return read


class TestClientsThatLeave:
    def test_generation_stops_when_the_client_hangs_up(self, http: httpx2.Client, vendor: Vendor) -> None:
        """T-30: tokens generated after the disconnect are bounded."""
        read = hang_up_after(http, body(f"sim-small!{SLOW}", question=LONG), 3)
        (record,) = vendor.requests()
        assert record["client_aborted"] is True and record["ending"] == "client_left"
        generated, planned = record["tokens_generated"], record["tokens_planned"]
        assert isinstance(generated, int) and isinstance(planned, int)
        assert read <= generated < planned
        assert record["tokens_after_disconnect"] == 0

    def test_some_vendors_keep_generating(self, http: httpx2.Client, vendor: Vendor) -> None:
        """T-30: the bill of the vendor can be higher than what was delivered."""
        hang_up_after(http, body(f"sim-small!keep-generating,{SLOW}", question=LONG), 3)
        (record,) = vendor.requests(wait_ms=20_000)
        generated, at_disconnect = record["tokens_generated"], record["tokens_at_disconnect"]
        assert isinstance(generated, int) and isinstance(at_disconnect, int)
        assert generated == record["tokens_planned"]
        assert record["tokens_after_disconnect"] == generated - at_disconnect > 0

    def test_leaving_during_a_stall_is_noticed(self, http: httpx2.Client, vendor: Vendor) -> None:
        hang_up_after(http, body("sim-small!stall-after=2"), 2)
        (record,) = vendor.requests()
        assert (record["client_aborted"], record["tokens_generated"]) == (True, 2)

    def test_leaving_a_plain_request_is_noticed(self, http: httpx2.Client, vendor: Vendor) -> None:
        """T-31."""
        with pytest.raises(httpx2.ReadTimeout):
            http.post("/chat/completions", json=body("sim-small!slow", stream=False), timeout=0.2)
        (record,) = vendor.requests()
        assert (record["client_aborted"], record["tokens_generated"]) == (True, 0)

    def test_leaving_before_an_answer_is_noticed(self, http: httpx2.Client, vendor: Vendor) -> None:
        with pytest.raises(httpx2.ReadTimeout):
            http.post("/chat/completions", json=body("sim-small!timeout"), timeout=0.2)
        (record,) = vendor.requests()
        assert (record["client_aborted"], record["ending"]) == (True, "timeout")


class TestRecords:
    def test_a_record_says_what_was_asked_and_done(self, http: httpx2.Client, vendor: Vendor) -> None:
        heard = listen(http, body("sim-small", max_tokens=9, user="alice"))
        (record,) = vendor.requests()
        params = record["params"]
        assert isinstance(params, dict)
        assert (params["max_tokens"], params["include_usage"], params["messages"]) == (9, True, 1)
        assert record["user"] == "alice" and record["stream"] is True and record["usage_sent"] is True
        assert record["tokens_generated"] == len(heard.content) == 9
        assert (record["client_aborted"], record["tokens_at_disconnect"], record["ending"]) == (False, None, "length")

    def test_records_can_be_chosen(self, http: httpx2.Client, vendor: Vendor) -> None:
        for model, user in (("sim-small", "alice"), ("sim-large", "alice"), ("sim-small", "bob")):
            listen(http, body(model, user=user))
        control = vendor.base_url.removesuffix("/v1") + "/__sim/requests"
        found = httpx2.get(control, params={"user": "alice", "model": "sim-small"}).json()
        assert found["totals"]["requests"] == 1
        assert httpx2.get(control, params={"last": 2}).json()["requests"][-1]["user"] == "bob"
        assert httpx2.get(control, params={"lst": 2}).status_code == 400

    def test_refusals_are_recorded(self, http: httpx2.Client, vendor: Vendor) -> None:
        http.post("/chat/completions", json=body("gpt-4o"))
        (record,) = vendor.requests()
        assert (record["status"], record["ending"]) == (404, "model_not_found")


class TestArrangedFaults:
    def test_a_fault_hits_as_often_as_arranged(self, http: httpx2.Client, vendor: Vendor) -> None:
        vendor.arrange("status=503", times=2)
        asked = body("sim-small", stream=False)
        assert [http.post("/chat/completions", json=asked).status_code for _ in range(3)] == [503, 503, 200]

    def test_a_fault_waits_for_its_request(self, http: httpx2.Client, vendor: Vendor) -> None:
        vendor.arrange("status=500", contains="caching", model="sim-small")
        assert listen(http, body("sim-small", question="What is DNS?")).status == 200
        assert listen(http, body("sim-large")).status == 200
        assert listen(http, body("sim-small")).status == 500

    def test_a_malformed_fault_is_refused(self, vendor: Vendor) -> None:
        control = vendor.base_url.removesuffix("/v1") + "/__sim/faults"
        assert httpx2.post(control, json={"fault": "bogus"}).status_code == 400
        assert httpx2.post(control, json={"falt": "reset"}).status_code == 400
        assert httpx2.get(control).json() == {"faults": []}

    def test_arranged_faults_can_be_dropped(self, http: httpx2.Client, vendor: Vendor) -> None:
        vendor.arrange("status=500", times=None)
        httpx2.delete(vendor.base_url.removesuffix("/v1") + "/__sim/faults")
        assert listen(http, body("sim-small")).status == 200
