"""An OpenAI-style chat completions API: JSON or server-sent events, with ``usage``.

The answer repeats the last message's words. A token is a word here: what matters to those who
meter it is that the numbers are told, and that they follow from the request alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, cycle, islice

import orjson
from aiohttp import web

MESSAGES_MAX = 256
TOKENS_MAX = 16_384
TOKENS_DEFAULT = 16


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer, ready to be told in either form."""

    completion_id: str
    created: int
    model: str
    words: tuple[str, ...]
    prompt_tokens: int
    finish_reason: str

    def usage(self) -> dict[str, int]:
        """Return the token counts as OpenAI names them."""
        answered = len(self.words)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": answered,
            "total_tokens": self.prompt_tokens + answered,
        }

    def document(self, kind: str, choices: list[dict[str, object]]) -> dict[str, object]:
        """Return the envelope that whole answers and chunks share."""
        return {
            "id": self.completion_id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


class InvalidRequest(Exception):  # noqa: N818 - OpenAI's word for it
    """The body is not a chat request; ``param`` is the member at fault."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


class ChatApi:
    """The handler of ``/v1/chat/completions``."""

    def __init__(self, now_seconds: Callable[[], int]) -> None:
        self._now_seconds = now_seconds
        self._numbers = count(1)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer whole, or streaming if the body says ``"stream": true``."""
        try:
            body = orjson.loads(await request.read())
            if not isinstance(body, dict):
                raise InvalidRequest("", "the body must be an object")  # noqa: TRY301
            answer = self._completion(body)
            is_streaming = _flag(body, "stream")
            tells_usage = _flag(_member(body, "stream_options"), "include_usage")
        except orjson.JSONDecodeError:
            return _refusal(InvalidRequest("", "the body must be JSON"))
        except InvalidRequest as error:
            return _refusal(error)
        if is_streaming:
            return await _stream(request, answer, tells_usage=tells_usage)
        choice: dict[str, object] = {
            "index": 0,
            "message": {"role": "assistant", "content": " ".join(answer.words)},
            "finish_reason": answer.finish_reason,
        }
        document = answer.document("chat.completion", [choice])
        return web.json_response(document | {"usage": answer.usage()})

    def _completion(self, body: dict[str, object]) -> Completion:
        model = body.get("model")
        if not isinstance(model, str) or not 0 < len(model) <= 128:
            raise InvalidRequest("model", "must be a model's name")
        contents = _contents(body.get("messages"))
        limit = body.get("max_completion_tokens", body.get("max_tokens", TOKENS_DEFAULT))
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= TOKENS_MAX:
            raise InvalidRequest("max_tokens", f"must be an integer, 1 to {TOKENS_MAX}")
        said = contents[-1].split() or ["..."]
        words = tuple(islice(cycle(said), limit))
        return Completion(
            completion_id=f"chatcmpl-{next(self._numbers):012d}",
            created=self._now_seconds(),
            model=model,
            words=words,
            prompt_tokens=sum(len(content.split()) for content in contents),
            finish_reason="length",
        )


def add_routes(app: web.Application, now_seconds: Callable[[], int]) -> None:
    """Register the chat API."""
    app.router.add_post("/v1/chat/completions", ChatApi(now_seconds).complete)


def _contents(messages: object) -> list[str]:
    if not isinstance(messages, list) or not 0 < len(messages) <= MESSAGES_MAX:
        raise InvalidRequest("messages", f"must be a list of 1 to {MESSAGES_MAX} messages")
    contents = []
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InvalidRequest(f"messages[{index}].role", "must be a string")
        content = message.get("content")
        if not isinstance(content, str):
            raise InvalidRequest(f"messages[{index}].content", "must be a string")
        contents.append(content)
    return contents


def _member(body: dict[str, object], name: str) -> dict[str, object]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(name, "must be an object")
    return value


def _flag(body: dict[str, object], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise InvalidRequest(name, "must be true or false")
    return value


def _refusal(error: InvalidRequest) -> web.Response:
    problem = {
        "message": str(error),
        "type": "invalid_request_error",
        "param": error.param or None,
        "code": None,
    }
    return web.json_response({"error": problem}, status=400)


async def _stream(
    request: web.Request, answer: Completion, *, tells_usage: bool
) -> web.StreamResponse:
    """Send one event a word, the finish, the usage if asked for, and ``[DONE]``."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)

    async def send(choices: list[dict[str, object]], usage: dict[str, int] | None) -> None:
        document = answer.document("chat.completion.chunk", choices)
        if tells_usage:  # OpenAI then shows the member in every chunk, null in all but the last
            document["usage"] = usage
        await response.write(b"data: %b\n\n" % orjson.dumps(document))

    for index, word in enumerate(answer.words):
        delta = {"content": word if index == 0 else f" {word}"}
        if index == 0:
            delta["role"] = "assistant"
        await send([{"index": 0, "delta": delta, "finish_reason": None}], None)
    await send([{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}], None)
    if tells_usage:
        await send([], answer.usage())
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response
