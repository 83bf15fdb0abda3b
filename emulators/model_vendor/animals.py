"""The animals of the zoo: a class for each habit of a real server, with where it was seen.

A new one is a subclass with a docstring, and an entry of `ANIMALS`.
"""

import json
from collections.abc import Mapping
from typing import ClassVar, Final

from emulators.model_vendor.zoo import Animal, Framing, Json, Said, dumped, plain

# --- how lines and events are written ------------------------------------------------------------------------------


class Crlf(Animal):
    """Lines end in CRLF: servers on sse-starlette (llama-cpp-python), gateways before Azure."""

    last: ClassVar[bytes] = b"data: [DONE]\r\n\r\n"

    def event(self, chunk: Json) -> bytes:
        return super().event(chunk).replace(b"\n", b"\r\n")


class CrlfAtDone(Animal):
    """Only the last lines end in CRLF: proxies that write `[DONE]` themselves."""

    last: ClassVar[bytes] = b"data: [DONE]\r\n\r\n"


class CarriageReturns(Animal):
    """Lines end in CR, which the standard allows."""

    last: ClassVar[bytes] = b"data: [DONE]\r\r"

    def event(self, chunk: Json) -> bytes:
        return super().event(chunk).replace(b"\n", b"\r")


class Marked(Animal):
    """A byte order mark opens the body: proxies on .NET and IIS."""

    def opening(self, said: Said) -> bytes:
        return b"\xef\xbb\xbf" + super().opening(said)


class NoBlank(Animal):
    """No blank behind the colon: DashScope, Spring servers."""

    last: ClassVar[bytes] = b"data:[DONE]\n\n"

    def event(self, chunk: Json) -> bytes:
        return b"data:" + dumped(chunk) + b"\n\n"


class Comments(Animal):
    """Comments while a model is loaded, glued to the events and between them: OpenRouter, DeepSeek's keep-alive."""

    def opening(self, said: Said) -> bytes:
        return b": one moment\n\n: one moment\n\n" + super().opening(said)

    def event(self, chunk: Json) -> bytes:
        return b": still there\n" + super().event(chunk) + b":\n\n"


class CommentsAsData(Animal):
    """A proxy wraps the comments of the server behind it into data."""

    def event(self, chunk: Json) -> bytes:
        return b"data: : one moment\n\n" + super().event(chunk)


class Fields(Animal):
    """Every event has an id, a name and a retry time: frameworks that write all fields they know."""

    def event(self, chunk: Json) -> bytes:
        return b"id: 7\nevent: message\nretry: 3000\n" + super().event(chunk)


class Pretty(Animal):
    """Indented JSON over many data lines: debugging proxies."""

    def event(self, chunk: Json) -> bytes:
        lines = json.dumps(chunk, ensure_ascii=False, indent=1).encode().split(b"\n")
        return b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"


class Pings(Animal):
    """Events of another name, with JSON, text and nothing in them: proxies of Anthropic's, Cloudflare's."""

    def event(self, chunk: Json) -> bytes:
        return b'event: ping\ndata: {"type":"ping"}\n\nevent: ping\ndata: now\n\n' + super().event(chunk)


class Blanks(Animal):
    """Data without anything as a sign of life, and values that are no chunks: chat proxies in Node."""

    def event(self, chunk: Json) -> bytes:
        return b"data:\n\ndata: \n\ndata: null\n\n" + super().event(chunk)


class NoDone(Animal):
    """The body ends without `[DONE]`: Ollama's first versions, Gemini's endpoint for a while."""

    last: ClassVar[bytes] = b""


class NoLastLine(Animal):
    """No line end behind `[DONE]`: functions at the edge that write it as the last thing."""

    last: ClassVar[bytes] = b"data: [DONE]"


class Postscript(Animal):
    """Goes on behind `[DONE]`, with costs, with nonsense and with an error: proxies that account for themselves."""

    last: ClassVar[bytes] = Animal.last + b'data: {"cost":0.2}\n\ndata: {"broken\n\ndata: {"error":{"code":"late"}}\n\n'


# --- how the body ends ---------------------------------------------------------------------------------------------


class CloseDelimited(Animal):
    """Neither length nor chunks, the body ends with the connection: HTTP/1.0 proxies, simple Python servers."""

    framing: ClassVar[Framing] = "close"


class Trailers(Animal):
    """Chunks with trailers behind them: gRPC gateways, Envoy."""

    framing: ClassVar[Framing] = "trailers"


class Buffered(Animal):
    """The whole answer at once with its length: proxies that buffer."""

    framing: ClassVar[Framing] = "length"


class TooLong(Animal):
    """Says a length that never comes, and hangs up behind `[DONE]`: proxies that rewrite a body and not its header."""

    framing: ClassVar[Framing] = "length-too-long"


class TooShort(Animal):
    """Sends more than the length that it says: the same, the other way."""

    framing: ClassVar[Framing] = "more-than-length"


class Reset(Animal):
    """Resets the connection behind `[DONE]`: load balancers with a short life."""

    framing: ClassVar[Framing] = "reset"


# --- what chunks hold ----------------------------------------------------------------------------------------------


class Filters(Animal):
    """The first chunk has no model and no choices, and a late one no delta: Azure with asynchronous filters."""

    def opening(self, said: Said) -> bytes:
        empty = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": [{}]}
        return self.event(empty) + super().opening(said)

    def finish(self, said: Said) -> bytes:
        late = {"index": 0, "finish_reason": None, "content_filter_offsets": {"check_offset": 44}}
        return super().finish(said) + self.event({**self.head(said), "model": "", "choices": [late], "usage": None})


class Parts(Animal):
    """Content as a list of parts: Mistral."""

    def delta(self, text: str) -> Json:
        return {"content": [{"type": "text", "text": text}, {"type": "reference", "reference_ids": [1]}]}


class ThinkingParts(Parts):
    """Reasoning as parts of the content: Mistral's reasoning models."""

    thinks: ClassVar[bool] = True

    def opening(self, said: Said) -> bytes:
        thoughts = [{"type": "thinking", "thinking": [{"type": "text", "text": one}]} for one in self.thoughts(said)]
        return super().opening(said) + b"".join(self.chunk(said, {"content": [one]}) for one in thoughts)


class _Reasoner(Animal):
    """Streams its reasoning before the text, in a field of its own."""

    thinks: ClassVar[bool] = True

    def opening(self, said: Said) -> bytes:
        return super().opening(said) + b"".join(self.chunk(said, self.thought(one)) for one in self.thoughts(said))

    def thought(self, text: str) -> Json:
        raise NotImplementedError


class ReasoningContent(_Reasoner):
    """`reasoning_content`, with content null: DeepSeek, vLLM, llama.cpp."""

    def thought(self, text: str) -> Json:
        return {"content": None, "reasoning_content": text}


class Reasoning(_Reasoner):
    """`reasoning`, with empty content: Ollama, newer vLLM, Groq."""

    def thought(self, text: str) -> Json:
        return {"role": "assistant", "content": "", "reasoning": text}


class ReasoningTwice(_Reasoner):
    """The same reasoning as a text and as a list: OpenRouter."""

    def thought(self, text: str) -> Json:
        details = [{"type": "reasoning.text", "text": text, "format": None, "index": 0}]
        return {"content": "", "reasoning": text, "reasoning_details": details}


class Message(Animal):
    """`message` in place of `delta`: older servers, and proxies that fake a stream."""

    def choice(self, delta: object, finish: str | None) -> Json:
        return {"index": 0, "message": delta, "finish_reason": finish}


class MessageBeside(Animal):
    """The message so far beside each delta: Perplexity, LMDeploy."""

    def piece(self, said: Said, number: int) -> bytes:
        so_far = {"role": "assistant", "content": "".join(said.pieces[: number + 1])}
        choice = {**self.choice(self.delta(said.pieces[number]), None), "message": so_far}
        return self.event({**self.head(said), "choices": [choice]})


class Nulls(Animal):
    """Null wherever something may be missing, and an index that is text: servers in Go and Java."""

    def opening(self, said: Said) -> bytes:
        return self.event({**self.head(said), "choices": None, "usage": None, "error": None})

    def choice(self, delta: object, finish: str | None) -> Json:
        return {"index": "0", "delta": delta or None, "message": None, "finish_reason": finish or "", "error": None}

    def delta(self, text: str) -> Json:
        return {"role": None, "content": text, "refusal": None, "tool_calls": [], "function_call": None}


class OtherChoices(Animal):
    """Choices beside the one that was asked for: servers that ignore n."""

    def chunk(self, said: Said, delta: object, *, finish: str | None = None, **more: object) -> bytes:
        other = {**self.choice({"content": "not asked for "}, finish), "index": 1}
        return self.event({**self.head(said), "choices": [other, self.choice(delta, finish)], **more})


class FinishTwice(Animal):
    """The finish reason again in the chunk of the usage: SGLang, LiteLLM."""

    def report(self, said: Said) -> bytes:
        return self.chunk(said, {"content": ""}, finish=said.finish, usage=self.usage(said, said.written))


# --- where and how usage is told -----------------------------------------------------------------------------------


class WithFinish(Animal):
    """Usage beside the finish reason: DeepSeek, Mistral, Together."""

    reports: ClassVar[bool] = False

    def finish(self, said: Said) -> bytes:
        return self.chunk(said, {}, finish=said.finish, usage=self.usage(said, said.written))


class InChoice(WithFinish):
    """Usage inside of the choice: Moonshot."""

    def finish(self, said: Said) -> bytes:
        choice = {**self.choice({}, said.finish), "usage": self.usage(said, said.written)}
        return self.event({**self.head(said), "choices": [choice]})


class Groq(WithFinish):
    """Usage in `x_groq`, with times beside the counts: Groq."""

    def finish(self, said: Said) -> bytes:
        report = {"id": "req_zoo", "usage": self.usage(said, said.written)}
        return self.chunk(said, {}, finish=said.finish, x_groq=report)

    def usage(self, said: Said, written: int) -> Json:
        return {"queue_time": 0.07, **super().usage(said, written), "prompt_time": 0.006, "total_time": -1}


class GroqTwice(Groq):
    """The same usage in `x_groq` and in a chunk of its own: Groq when usage is asked for."""

    reports: ClassVar[bool] = True


class Cumulative(Animal):
    """Usage in every chunk, growing: vLLM with continuous statistics, Perplexity, Gemini."""

    early: ClassVar[bool] = True

    def piece(self, said: Said, number: int) -> bytes:
        so_far = self.usage(said, said.reasoning + number + 1)
        return self.chunk(said, self.delta(said.pieces[number]), usage=so_far)


class ZeroFirst(Animal):
    """An opening report of zeros: proxies of Anthropic's that fill it in later."""

    early: ClassVar[bool] = True

    def opening(self, said: Said) -> bytes:
        zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        return self.chunk(said, {"role": "assistant"}, usage=zeros)


class ThenNull(Animal):
    """The report is followed by chunks that say null and nothing: Grok through LiteLLM."""

    def report(self, said: Said) -> bytes:
        return super().report(said) + self.chunk(said, {}, usage=None) + self.chunk(said, {"content": None}, usage={})


class Timings(Animal):
    """Timings beside every chunk and behind the usage: llama.cpp."""

    def chunk(self, said: Said, delta: object, *, finish: str | None = None, **more: object) -> bytes:
        return super().chunk(said, delta, finish=finish, timings={"prompt_n": 10, "predicted_ms": 1119.7}, **more)


class Costs(Animal):
    """Prices, flags and nulls beside the counts: OpenRouter."""

    def usage(self, said: Said, written: int) -> Json:
        costs: Mapping[str, object] = {"cost": 0.0021, "is_byok": False, "cost_details": {"upstream": None}}
        return {**super().usage(said, written), **costs}


class OddDetails(Animal):
    """Details that are text, lists, fractions and of kinds without a price, beside sound counts: home-made proxies."""

    def usage(self, said: Said, written: int) -> Json:
        return {
            **super().usage(said, written),
            "prompt_tokens_details": {"cached_tokens": said.cached, "audio_tokens": "none", "video_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": said.reasoning, "accepted_prediction_tokens": 2.5},
            "service_tier": "default",
            "cache_creation_input_tokens": "0",
        }


class WrongTotal(Animal):
    """A total that is less than its parts: proxies that count the answer alone."""

    def usage(self, said: Said, written: int) -> Json:
        return {**super().usage(said, written), "total_tokens": written}


class HiddenThinking(Animal):
    """Thinking in the total alone: Gemini's chat completions."""

    def usage(self, said: Said, written: int) -> Json:
        details = {"prompt_tokens_details": {"cached_tokens": said.cached}}
        return {**plain(said, written - said.reasoning), "total_tokens": said.prompt + written, **details}


class ThinkingBeside(Animal):
    """Thinking beside the completion, told in the details and the total: xAI, Gemini through proxies."""

    dialect: ClassVar[str] = "xai"

    def usage(self, said: Said, written: int) -> Json:
        shown = {"completion_tokens": written - said.reasoning, "total_tokens": said.prompt + written}
        return {**super().usage(said, written), **shown}


class CacheNames(Animal):
    """Cache reads under names of its own: DeepSeek."""

    dialect: ClassVar[str] = "deepseek"

    def usage(self, said: Said, written: int) -> Json:
        cache = {"prompt_cache_hit_tokens": said.cached, "prompt_cache_miss_tokens": said.prompt - said.cached}
        return {**plain(said, written), **cache, "completion_tokens_details": {"reasoning_tokens": said.reasoning}}


class CacheBeside(Animal):
    """Cache reads beside the prompt, told in the total: Anthropic and Bedrock through proxies."""

    def usage(self, said: Said, written: int) -> Json:
        cache = {"cache_read_input_tokens": said.cached, "cache_creation_input_tokens": 0}
        whole = {**super().usage(said, written), **cache, "prompt_tokens_details": None}
        return {**whole, "prompt_tokens": said.prompt - said.cached}


class CacheWrites(Animal):
    """Part of the prompt was written to the cache: OpenRouter, Bedrock. Without a price of its own it is input."""

    keeps: ClassVar[bool] = True

    def usage(self, said: Said, written: int) -> Json:
        return {
            **super().usage(said, written),
            "prompt_tokens_details": {"cached_tokens": said.cached, "cache_write_tokens": self.kept(said)},
        }


ANIMALS: Final[Mapping[str, Animal]] = {
    "plain": Animal(),
    "crlf": Crlf(),
    "crlf-at-done": CrlfAtDone(),
    "carriage-returns": CarriageReturns(),
    "byte-order-mark": Marked(),
    "no-blank": NoBlank(),
    "comments": Comments(),
    "comments-as-data": CommentsAsData(),
    "all-fields": Fields(),
    "pretty": Pretty(),
    "pings": Pings(),
    "empty-data": Blanks(),
    "no-done": NoDone(),
    "no-last-line": NoLastLine(),
    "postscript": Postscript(),
    "close-delimited": CloseDelimited(),
    "trailers": Trailers(),
    "buffered": Buffered(),
    "length-too-long": TooLong(),
    "length-too-short": TooShort(),
    "reset-after-done": Reset(),
    "filters": Filters(),
    "parts": Parts(),
    "thinking-parts": ThinkingParts(),
    "reasoning-content": ReasoningContent(),
    "reasoning": Reasoning(),
    "reasoning-twice": ReasoningTwice(),
    "message": Message(),
    "message-beside": MessageBeside(),
    "nulls": Nulls(),
    "other-choices": OtherChoices(),
    "finish-twice": FinishTwice(),
    "usage-with-finish": WithFinish(),
    "usage-in-choice": InChoice(),
    "groq": Groq(),
    "groq-twice": GroqTwice(),
    "cumulative": Cumulative(),
    "zero-first": ZeroFirst(),
    "usage-then-null": ThenNull(),
    "timings": Timings(),
    "costs": Costs(),
    "odd-details": OddDetails(),
    "wrong-total": WrongTotal(),
    "hidden-thinking": HiddenThinking(),
    "thinking-beside": ThinkingBeside(),
    "cache-names": CacheNames(),
    "cache-beside": CacheBeside(),
    "cache-writes": CacheWrites(),
}
"""By the name that a request asks for: `sim-small!zoo=crlf`."""
