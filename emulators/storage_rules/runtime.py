"""The conversation with firebase-tools: one JSON object per line, as in its `lib/emulator/storage/rules/runtime.js`."""

import json
import re
from collections.abc import Iterator
from typing import TextIO

Json = dict[str, object]

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_ALLOW = re.compile(r"\ballow\b[^:;]*(?P<condition>:\s*if\s+(?P<expression>[^;]*))?;")


def serve(requests: TextIO, answers: TextIO) -> None:
    """Announce readiness, then answer until the input ends. The CLI waits for the announcement without a limit."""
    _send(answers, {"id": -1, "status": "ok", "errors": [], "warnings": []})
    for line in requests:
        if line.strip():
            _send(answers, answer(json.loads(line)))


def answer(request: Json) -> Json:
    """The answer to one request. `errors` is an array even on failure: anything else leaves the client hanging."""
    reply: Json = {"id": request.get("id"), "status": "ok", "errors": [], "warnings": []}
    match request.get("action"):
        case "load_ruleset":
            reply["errors"] = list(_allowing_rules(request))
            reply["result"] = {"rulesVersion": 2}
        case "verify":
            reply["result"] = {"permit": False}
        case unknown:
            reply["errors"] = [f"the storage-rules stand-in does not know the action {unknown!r}"]
    return reply


def _allowing_rules(request: Json) -> Iterator[str]:
    """A sentence for each rule that could let a client in. Only `if false` is understood."""
    for name, content in _files(request):
        for rule in _ALLOW.finditer(_COMMENT.sub("", content)):
            if (rule["expression"] or "true").strip() != "false":
                yield (
                    f"{name}: `{' '.join(rule[0].split())}` lets clients in, and the stand-in only denies. "
                    "Install Google's runtime with `npx firebase setup:emulators:storage` to run it."
                )


def _files(request: Json) -> Iterator[tuple[str, str]]:
    context = request.get("context")
    source = context.get("source") if isinstance(context, dict) else None
    files = source.get("files") if isinstance(source, dict) else None
    for file in files if isinstance(files, list) else []:
        yield str(file.get("name", "storage.rules")), str(file.get("content", ""))


def _send(answers: TextIO, message: Json) -> None:
    answers.write(json.dumps(message, separators=(",", ":")) + "\n")
    answers.flush()
