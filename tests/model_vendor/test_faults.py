"""Each fault as it is on the wire."""

import httpx2
import pytest

from model_vendor.wiretap import body, choices, listen
from support.vendor import Vendor

USAGE_FIELDS = {
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
}


def completion_tokens(usage: object) -> int:
    assert isinstance(usage, dict) and set(usage) == USAGE_FIELDS
    return int(usage["completion_tokens"])


class TestInterruptions:
    @pytest.mark.parametrize("k", [0, 1, 2, 5])
    def test_the_connection_is_reset_after_k_chunks(self, http: httpx2.Client, vendor: Vendor, k: int) -> None:
        """T-1: the client sees exactly k tokens and no usage."""
        heard = listen(http, body(f"sim-small!disconnect-after={k}"))
        assert heard.broke and heard.status == 200
        assert len(heard.content) == k
        (record,) = vendor.requests()
        assert (record["ending"], record["tokens_generated"]) == ("disconnect", k)

    def test_a_k_beyond_the_end_comes_before_the_finish_chunk(self, http: httpx2.Client) -> None:
        whole = listen(http, body("sim-small"))
        cut = listen(http, body("sim-small!disconnect-after=100000"))
        assert cut.broke and cut.content == whole.content
        assert all(choice["finish_reason"] is None for chunk in cut.chunks for choice in choices(chunk))

    def test_a_reset_comes_before_any_byte(self, http: httpx2.Client) -> None:
        heard = listen(http, body("sim-small!reset"))
        assert heard.broke and heard.status == 0

    @pytest.mark.parametrize("fault", ["disconnect-after=1", "truncate-after=1"])
    def test_a_plain_answer_breaks_in_the_body(self, http: httpx2.Client, fault: str) -> None:
        heard = listen(http, body(f"sim-small!{fault}", stream=False))
        assert heard.broke and heard.status == 200

    def test_a_truncated_stream_ends_cleanly_without_a_finish(self, http: httpx2.Client) -> None:
        heard = listen(http, body("sim-small!truncate-after=3"))
        assert not heard.broke and not heard.done
        assert len(heard.content) == 3

    def test_an_error_object_ends_the_stream(self, http: httpx2.Client) -> None:
        """T-2."""
        heard = listen(http, body("sim-small!error-after=2"))
        assert len(heard.content) == 2 and not heard.done
        assert set(heard.chunks[-1]) == {"error"}

    def test_a_malformed_chunk_stands_between_good_ones(self, http: httpx2.Client) -> None:
        heard = listen(http, body("sim-small!malformed-after=1"))
        broken = [line for line in heard.lines if not line.endswith("}") and line != "[DONE]"]
        assert len(broken) == 1 and heard.done

    def test_a_malformed_plain_answer_is_half_a_document(self, http: httpx2.Client) -> None:
        answer = http.post("/chat/completions", json=body("sim-small!malformed-after=0", stream=False))
        assert answer.status_code == 200 and not answer.text.endswith("}")

    def test_a_stall_goes_on_when_it_is_over(self, http: httpx2.Client) -> None:
        heard = listen(http, body("sim-small!stall-after=2,stall-ms=5"))
        assert heard.done and heard.content == listen(http, body("sim-small")).content

    def test_a_timeout_with_seconds_ends_in_a_reset(self, http: httpx2.Client) -> None:
        assert listen(http, body("sim-small!timeout=0.01")).broke

    def test_html_is_no_event_stream(self, http: httpx2.Client) -> None:
        heard = listen(http, body("sim-small!html"))
        assert (heard.status, heard.content_type, heard.lines) == (200, "text/html; charset=utf-8", [])

    def test_done_can_be_missing(self, http: httpx2.Client) -> None:
        heard = listen(http, body("sim-small!no-done"))
        assert not heard.done and not heard.broke and heard.chunks[-1]["choices"] == []


class TestKeys:
    @pytest.mark.parametrize("value", [None, "", "Basic abc", "Bearer bad-key"])
    def test_no_answer_without_a_good_bearer_key(self, vendor: Vendor, value: str | None) -> None:
        headers = {} if value is None else {"Authorization": value}
        answer = httpx2.get(vendor.base_url + "/models", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "invalid_request_error"


class TestUsage:
    """T-12, T-13, T-5, T-23: every dialect in which vendors report usage, or do not."""

    def test_missing_is_never_sent(self, http: httpx2.Client) -> None:
        heard = listen(http, body("sim-small!usage=missing"))
        assert set(map(str, heard.usages)) == {"absent"} and heard.done

    def test_null_is_only_null(self, http: httpx2.Client) -> None:
        assert set(map(str, listen(http, body("sim-small!usage=null")).usages)) == {"None"}

    def test_zero_negative_and_absurd_stand_in_the_normal_place(self, http: httpx2.Client) -> None:
        true = completion_tokens(listen(http, body("sim-small")).usages[-1])
        for fault, expected in (("zero", 0), ("negative", -true), ("absurd", 2**53 + 1)):
            heard = listen(http, body(f"sim-small!usage={fault}"))
            assert heard.chunks[-1]["choices"] == []
            assert completion_tokens(heard.usages[-1]) == expected

    def test_cumulative_counts_up_in_every_chunk(self, http: httpx2.Client) -> None:
        heard = listen(http, body("sim-small!usage=cumulative"))
        counted = [completion_tokens(usage) for usage in heard.usages if usage != "absent"]
        total = len(heard.content)
        assert counted == [*range(1, total + 1), total]

    def test_last_content_is_the_only_place(self, http: httpx2.Client) -> None:
        heard = listen(http, body("sim-small!usage=last-content", usage=False))
        places = [index for index, usage in enumerate(heard.usages) if usage != "absent"]
        assert places == [len(heard.content)]  # the role chunk is number 0
        assert completion_tokens(heard.usages[places[0]]) == len(heard.content)

    def test_with_finish_stands_in_the_finish_chunk(self, http: httpx2.Client) -> None:
        heard = listen(http, body("sim-small!usage=with-finish", usage=False))
        assert choices(heard.chunks[-1])[0]["finish_reason"] == "stop"
        assert completion_tokens(heard.usages[-1]) == len(heard.content)

    def test_after_finish_comes_in_a_chunk_with_a_choice(self, http: httpx2.Client) -> None:
        heard = listen(http, body("sim-small!usage=after-finish", usage=False))
        assert choices(heard.chunks[-2])[0]["finish_reason"] == "stop"
        assert choices(heard.chunks[-1])[0]["finish_reason"] is None
        assert completion_tokens(heard.usages[-1]) == len(heard.content)

    def test_usage_only_comes_unasked_too(self, http: httpx2.Client) -> None:
        heard = listen(http, body("sim-small!usage=usage-only", usage=False))
        assert heard.chunks[-1]["choices"] == []
        assert completion_tokens(heard.usages[-1]) == len(heard.content)

    @pytest.mark.parametrize(("fault", "expected"), [("missing", "absent"), ("null", None)])
    def test_plain_answers_miss_it_too(self, http: httpx2.Client, fault: str, expected: object) -> None:
        answer = http.post("/chat/completions", json=body(f"sim-small!usage={fault}", stream=False)).json()
        assert answer.get("usage", "absent") == expected


class TestManners:
    def test_max_tokens_can_be_ignored(self, http: httpx2.Client) -> None:
        """T-10: the vendor may send more than was allowed."""
        heard = listen(http, body("sim-small!ignore-max-tokens", max_tokens=200))
        assert completion_tokens(heard.usages[-1]) == len(heard.content) == 300

    def test_the_finish_reason_can_be_chosen(self, http: httpx2.Client) -> None:
        answer = http.post("/chat/completions", json=body("sim-small!finish=content_filter", stream=False)).json()
        assert answer["choices"][0]["finish_reason"] == "content_filter"

    def test_an_answer_can_be_empty(self, http: httpx2.Client) -> None:
        """T-3: nothing delivered."""
        heard = listen(http, body("sim-small!empty"))
        assert heard.content == [] and completion_tokens(heard.usages[-1]) == 0

    def test_another_model_can_answer(self, http: httpx2.Client) -> None:
        """T-20."""
        answer = http.post("/chat/completions", json=body("sim-large!answers-as=sim-small", stream=False)).json()
        assert answer["model"] == "sim-small"

    def test_chunks_can_be_wider_than_tokens(self, http: httpx2.Client) -> None:
        narrow, wide = listen(http, body("sim-small")), listen(http, body("sim-small!tokens-per-chunk=8"))
        assert "".join(narrow.content) == "".join(wide.content)
        assert len(wide.content) == -(-len(narrow.content) // 8)
        assert narrow.usages[-1] == wide.usages[-1]

    def test_a_header_does_what_the_model_name_does(self, http: httpx2.Client) -> None:
        heard = listen(http, body("sim-small"), headers={"X-Sim-Fault": "disconnect-after=1"})
        assert heard.broke and len(heard.content) == 1

    def test_speed_can_be_asked_for(self, http: httpx2.Client, vendor: Vendor) -> None:
        headers = {"X-Sim-First-Token-Ms": "1", "X-Sim-Tokens-Per-Second": "2000"}
        assert listen(http, body("sim-small"), headers).done
        assert vendor.requests()[0]["fault"] == "first-token-ms=1,tokens-per-second=2000"

    @pytest.mark.parametrize("spec", ["bogus", "status=200", "disconnect-after=-1", "usage=odd", "flaky=2", "status"])
    def test_an_unknown_fault_is_refused(self, http: httpx2.Client, spec: str) -> None:
        answer = http.post("/chat/completions", json=body(f"sim-small!{spec}", stream=False))
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] in ("sim_unknown_fault", "sim_bad_fault_value")


class TestRepetition:
    def test_first_n_attempts_fail_and_then_it_works(self, http: httpx2.Client) -> None:
        asked = body("sim-small!first=2,status=503", stream=False)
        assert [http.post("/chat/completions", json=asked).status_code for _ in range(4)] == [503, 503, 200, 200]

    def test_flaky_is_the_same_every_time(self, http: httpx2.Client, vendor: Vendor) -> None:
        asked = body("sim-small!flaky=0.5", stream=False)
        first = [http.post("/chat/completions", json=asked).status_code for _ in range(12)]
        vendor.reset()
        again = [http.post("/chat/completions", json=asked).status_code for _ in range(12)]
        assert first == again and set(first) == {200, 500}
