"""A provider on loopback for real agents: chat completions, responses and messages, with one fault per run.

The first request for a model that offers tools (an agent's task, in contrast to its requests for titles; `tools=False`
for a client without any) meets the fault; every later one is answered in full, unless the fault is in `LASTING`. `requests` is
the list of all requests, in order."""

import asyncio
import json
import socket
import threading
import time

WORDS = ["Reality ", "holds ", "on ", "the ", "line."]
ANSWER = "".join(WORDS)
MODELS = ["gpt-5.2-codex", "gpt-rig", "claude-sonnet-4-5", "claude-haiku-4-5-20251001"]
USAGE = {"input_tokens": 11, "output_tokens": 5}

# Status and headers of an answer that is an error.
STATUSES = {
    "429": (429, {}),
    "429-retry-after": (429, {"retry-after": "1"}),
    "503": (503, {}),
    "529": (529, {}),
    "wrong-key": (401, {}),
}
# Faults of an answer that begins well, or of one that does not begin.
STREAMS = ["cut", "silence", "no-end", "empty", "json", "error-event", "no-first-token"]
# Faults that stay: a repeat does not mend them.
LASTING = ["wrong-key", "key-rpm"]
FAULTS = ["none", *STREAMS, *STATUSES, "key-rpm", "slow-whole"]


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def event(kind, **members):
    return f"event: {kind}\ndata: {compact({'type': kind, **members})}\n\n"


class Chat:
    def __init__(self, model):
        self.model = model

    def chunk(self, delta, finish=None):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {"id": "chatcmpl-rig", "object": "chat.completion.chunk", "created": 1, "model": self.model, "choices": [choice]}

    def events(self):
        yield f"data: {compact(self.chunk({'role': 'assistant', 'content': ''}))}\n\n"
        for word in WORDS:
            yield f"data: {compact(self.chunk({'content': word}))}\n\n"
        yield f"data: {compact(self.chunk({}, 'stop'))}\n\n"
        usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
        yield f"data: {compact({**self.chunk({}), 'choices': [], 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"

    def whole(self):
        message = {"role": "assistant", "content": ANSWER, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
        return {"id": "chatcmpl-rig", "object": "chat.completion", "created": 1, "model": self.model, "choices": [choice], "usage": usage}

    def error(self, status, message):
        kind = "server_error" if status >= 500 else "invalid_request_error"
        code = {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(status)
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def error_event(self):
        return f"data: {compact(self.error(503, 'The server is overloaded.'))}\n\n"


class Responses(Chat):
    def message(self, done):
        part = {"type": "output_text", "text": ANSWER, "annotations": []}
        return {"id": "msg_rig", "type": "message", "role": "assistant", "status": "completed" if done else "in_progress",
                "content": [part] if done else []}

    def response(self, status):
        done = status == "completed"
        usage = {**USAGE, "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 16}
        return {"id": "resp_rig", "object": "response", "created_at": 1, "status": status, "error": None, "incomplete_details": None,
                "instructions": None, "metadata": {}, "model": self.model, "output": [self.message(True)] if done else [],
                "parallel_tool_calls": True, "temperature": 1, "tool_choice": "auto", "tools": [], "top_p": 1, "usage": usage if done else None}

    def events(self):
        at = {"item_id": "msg_rig", "output_index": 0, "content_index": 0}
        part = {"type": "output_text", "text": "", "annotations": []}
        events = [
            ("response.created", {"response": self.response("in_progress")}),
            ("response.in_progress", {"response": self.response("in_progress")}),
            ("response.output_item.added", {"output_index": 0, "item": self.message(False)}),
            ("response.content_part.added", {**at, "part": part}),
            *[("response.output_text.delta", {**at, "delta": word}) for word in WORDS],
            ("response.output_text.done", {**at, "text": ANSWER}),
            ("response.content_part.done", {**at, "part": {**part, "text": ANSWER}}),
            ("response.output_item.done", {"output_index": 0, "item": self.message(True)}),
            ("response.completed", {"response": self.response("completed")}),
        ]
        for number, (kind, members) in enumerate(events):
            yield event(kind, sequence_number=number, **members)

    def whole(self):
        return self.response("completed")

    def error_event(self):
        return event("error", sequence_number=9, code="server_error", message="The server is overloaded.", param=None)


class Messages(Chat):
    def message(self, done):
        return {"id": "msg_rig", "type": "message", "role": "assistant", "model": self.model,
                "content": [{"type": "text", "text": ANSWER}] if done else [], "stop_reason": "end_turn" if done else None,
                "stop_sequence": None, "usage": {**USAGE, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}}

    def events(self):
        yield event("message_start", message=self.message(False))
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        yield event("ping")
        for word in WORDS:
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
        yield event("content_block_stop", index=0)
        yield event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 5})
        yield event("message_stop")

    def whole(self):
        return self.message(True)

    def error(self, status, message):
        kinds = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}
        return {"type": "error", "error": {"type": kinds.get(status, "api_error"), "message": message}, "request_id": "req_rig"}

    def error_event(self):
        return event("error", error={"type": "overloaded_error", "message": "Overloaded"})


DIALECTS = {"/chat/completions": Chat, "/responses": Responses, "/messages": Messages}
NAMES = {"chat": Chat, "responses": Responses, "messages": Messages}


class Provider(threading.Thread):
    def __init__(self, fault, tools, slow, only=()):
        super().__init__(daemon=True)
        self.fault, self.tools, self.slow, self.only = fault, tools, slow, only
        self.requests, self.port = [], 0
        self.listening = threading.Event()
        self.start()
        if not self.listening.wait(10):
            raise SystemExit("the provider does not start")

    @property
    def paid(self):
        """Requests that a provider would have charged for: a model was asked, and no error status was the answer."""
        return sum(1 for request in self.requests if request["model"] and request["answer"] not in STATUSES)

    def run(self):
        asyncio.run(self.serve())

    async def serve(self):
        server = await asyncio.start_server(self.connection, "127.0.0.1", 0, limit=1 << 24)
        self.port = server.sockets[0].getsockname()[1]
        self.listening.set()
        async with server:
            await server.serve_forever()

    async def connection(self, reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while await self.exchange(reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def exchange(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        raw = await reader.readexactly(int(headers.get("content-length") or 0))
        path = target.split("?")[0]
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        dialect = next((dialect for ending, dialect in DIALECTS.items() if path.endswith(ending)), None)
        if self.only and dialect not in [NAMES[name] for name in self.only]:
            dialect = None
        if dialect and isinstance(body, dict) and method == "POST":
            return await self.complete(writer, dialect(body.get("model")), body, path)
        self.requests.append({"at": time.time(), "method": method, "path": path, "model": None, "answer": "none"})
        if method == "HEAD":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        elif path.endswith("/models"):
            self.document(writer, 200, {"object": "list", "data": [{"id": name, "object": "model", "created": 1, "owned_by": "rig"} for name in MODELS]})
        elif path.endswith("/count_tokens") and (not self.only or "messages" in self.only):
            self.document(writer, 200, {"input_tokens": max(1, len(raw) // 4)})
        elif "upgrade" in headers:
            self.document(writer, 426, Chat(None).error(426, "This server does not upgrade."))
        else:
            self.document(writer, 404, Chat(None).error(404, f"Invalid URL ({method} {path})"))
        return True

    async def complete(self, writer, answer, body, path):
        streams = body.get("stream") is True
        fault = "none"
        if (body.get("tools") or not self.tools) and (streams or self.fault not in STREAMS):
            fault = self.fault
            if fault not in LASTING and (fault != "slow-whole" or not streams):
                self.fault = "none"
        self.requests.append({"at": time.time(), "method": "POST", "path": path, "model": answer.model, "stream": streams, "answer": fault})
        if fault in STATUSES:
            status, headers = STATUSES[fault]
            words = {401: "Incorrect API key provided.", 429: "Rate limit reached.", 503: "Service unavailable.", 529: "Overloaded"}
            self.document(writer, status, answer.error(status, words[status]), headers)
            return True
        if fault == "slow-whole" and not streams:
            await self.pause(writer, self.slow)
        if not streams or fault == "json":
            self.document(writer, 200, answer.whole())
            return True
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n")
        await writer.drain()
        if fault == "no-first-token":
            await self.pause(writer)
        events = ["data: [DONE]\n\n"] if fault == "empty" else list(answer.events())
        middle = len(events) // 2
        for number, text in enumerate(events):
            if number == middle and fault == "cut":
                writer.transport.abort()
                return False
            if number == middle and fault == "silence":
                await self.pause(writer)
            if number == middle and fault in ("no-end", "error-event"):
                if fault == "error-event":
                    self.chunk(writer, answer.error_event())
                break
            self.chunk(writer, text)
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(b"0\r\n\r\n")
        return True

    async def pause(self, writer, seconds=600.0):
        for _ in range(int(seconds * 10)):
            await asyncio.sleep(0.1)
            if writer.transport.is_closing():
                raise ConnectionResetError

    def chunk(self, writer, text):
        data = text.encode()
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    def document(self, writer, status, value, headers=()):
        body = compact(value).encode()
        lines = [f"HTTP/1.1 {status} Rig", "content-type: application/json", f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in dict(headers).items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
