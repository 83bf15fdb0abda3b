"""Reading a stream as it is on the wire."""

import json
from dataclasses import dataclass, field

import httpx2

QUESTION = "What is caching?"


@dataclass
class Heard:
    """What came over the wire; `broke` when the connection did not end properly."""

    lines: list[str] = field(default_factory=list)
    status: int = 0
    content_type: str = ""
    broke: bool = False

    @property
    def chunks(self) -> list[dict[str, object]]:
        """The parsed events without `[DONE]`."""
        return [json.loads(line) for line in self.lines if line != "[DONE]"]

    @property
    def done(self) -> bool:
        """Whether the stream said that it is complete."""
        return self.lines[-1:] == ["[DONE]"]

    @property
    def content(self) -> list[str]:
        """The text deltas that carry tokens."""
        found = []
        for chunk in self.chunks:
            for choice in choices(chunk):
                delta = choice["delta"]
                assert isinstance(delta, dict)
                if "content" in delta and "role" not in delta:
                    found.append(str(delta["content"]))
        return found

    @property
    def usages(self) -> list[object]:
        """The usage of each chunk; "absent" where there is no such field."""
        return [chunk.get("usage", "absent") for chunk in self.chunks]


def choices(chunk: dict[str, object]) -> list[dict[str, object]]:
    """The choices of a chunk; an error object has none."""
    found = chunk.get("choices", [])
    assert isinstance(found, list)
    return found


def body(
    model: str, *, question: str = QUESTION, stream: bool = True, usage: bool = True, **more: object
) -> dict[str, object]:
    """A chat request."""
    asked: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": question}], "stream": stream}
    if stream and usage:
        asked["stream_options"] = {"include_usage": True}
    return {**asked, **more}


def listen(http: httpx2.Client, asked: dict[str, object], headers: dict[str, str] | None = None) -> Heard:
    """Send the request and keep what comes back, also when the connection breaks."""
    heard = Heard()
    try:
        with http.stream("POST", "/chat/completions", json=asked, headers=headers) as response:
            heard.status = response.status_code
            heard.content_type = response.headers["content-type"]
            for line in response.iter_lines():
                if line.startswith("data: "):
                    heard.lines.append(line.removeprefix("data: "))
    except httpx2.TransportError:
        heard.broke = True
    return heard
