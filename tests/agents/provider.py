"""A provider on loopback for real agents: chat completions, responses, messages and Gemini's API, with one fault per run.

The first request for a model that offers tools (an agent's task, in contrast to its requests for titles;
`tools=False` for a client without any) meets the fault; every later one is answered in full, unless the fault is
in `LASTING`. "tools" is no fault: that request is answered by two parallel calls of the agent's shell, and the
answer in full comes only to a request that has the right result of each. `requests` is the list of all requests,
in order."""

import asyncio
import json
import socket
import threading
import time

WORDS = ["Reality ", "holds ", "on ", "the ", "line."]
ANSWER = "".join(WORDS)
MODELS = ["gpt-5.2-codex", "gpt-rig", "claude-sonnet-4-5", "claude-haiku-4-5-20251001"]
USAGE = {"input_tokens": 11, "output_tokens": 5}
THOUGHT = "Two looks at once."
# Ids, commands and their outputs.
CALLS = {"call_rig_a": ("printf rig-%d 42", "rig-42"), "call_rig_b": ("printf rig-%d 53", "rig-53")}
SHELLS = ["Bash", "bash", "exec_command", "shell_command", "shell", "run_shell_command", "execute_command", "run_commands", "run_terminal_command", "local_shell", "exec"]

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
FAULTS = ["none", "tools", *STREAMS, *STATUSES, "key-rpm", "slow-whole"]


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def event(kind, **members):
    return f"event: {kind}\ndata: {compact({'type': kind, **members})}\n\n"


def shell_arguments(schema, command):
    """Arguments of an agent's shell tool, by the names and types of its parameters."""
    arguments = {}
    for name, kind in (schema.get("properties") or {}).items():
        if name in ("command", "cmd", "commands"):
            is_list = kind.get("type") == "array"
            arguments[name] = [command] if is_list and name == "commands" else ["bash", "-lc", command] if is_list else command
        elif name in (schema.get("required") or []):
            arguments[name] = {"boolean": False, "integer": 1, "number": 1, "array": [], "object": {}}.get(kind.get("type"), "look")
    return arguments


def calls_of(offered):
    """The calls of the tool "tools": id, name, arguments. `offered` are tools as name and schema."""
    for name in SHELLS:
        if name in offered:
            return [(id, name, compact(shell_arguments(offered[name], command))) for id, (command, _) in CALLS.items()]
    return []


class Chat:
    def __init__(self, model):
        self.model = model

    def offered(self, body):
        functions = [tool.get("function") or {} for tool in body.get("tools") or []]
        return {function.get("name"): function.get("parameters") or {} for function in functions}

    def results(self, body):
        """Results of calls in a request, by id."""
        return {message.get("tool_call_id"): compact(message.get("content")) for message in body["messages"] if message.get("role") == "tool"}

    def thought(self, body):
        """The reasoning that a request gives back."""
        return "".join(message.get("reasoning_content") or message.get("reasoning") or "" for message in body["messages"])

    def call_events(self, calls):
        begun = [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}} for index, (id, name, _) in enumerate(calls)]
        # Fragments of parallel calls come in turn.
        halves = [(index, half) for part in (0, 1) for index, (_, _, text) in enumerate(calls) for half in [text[:9] if part == 0 else text[9:]]]
        deltas = [{"role": "assistant", "content": None}, {"reasoning_content": THOUGHT}, *({"tool_calls": [call]} for call in begun),
                  *({"tool_calls": [{"index": index, "function": {"arguments": half}}]} for index, half in halves)]
        for delta in deltas:
            yield f"data: {compact(self.chunk(delta))}\n\n"
        yield f"data: {compact(self.chunk({}, 'tool_calls'))}\n\n"
        usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
        yield f"data: {compact({**self.chunk({}), 'choices': [], 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"

    def call_whole(self, calls):
        whole = Chat.whole(self)
        message = whole["choices"][0]["message"]
        message["content"], message["reasoning_content"] = None, THOUGHT
        message["tool_calls"] = [{"id": id, "type": "function", "function": {"name": name, "arguments": text}} for id, name, text in calls]
        whole["choices"][0]["finish_reason"] = "tool_calls"
        return whole

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

    def offered(self, body):
        return {tool.get("name"): tool.get("parameters") or {} for tool in body.get("tools") or [] if tool.get("type") == "function"}

    def results(self, body):
        items = body["input"] if isinstance(body["input"], list) else []
        return {item.get("call_id"): compact(item.get("output")) for item in items if item.get("type") == "function_call_output"}

    def thought(self, body):
        items = body["input"] if isinstance(body["input"], list) else []
        return "".join(compact(item) for item in items if item.get("type") == "reasoning")

    def items(self, calls):
        yield {"id": "rs_rig", "type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}], "encrypted_content": "cmln"}
        for id, name, text in calls:
            yield {"id": f"fc_{id}", "type": "function_call", "status": "completed", "call_id": id, "name": name, "arguments": text}

    def call_whole(self, calls):
        return {**self.response("completed"), "output": list(self.items(calls))}

    def call_events(self, calls):
        events = [("response.created", {"response": self.response("in_progress")})]
        for index, item in enumerate(self.items(calls)):
            at, is_call = {"output_index": index}, item["type"] == "function_call"
            empty = {"arguments": "", "status": "in_progress"} if is_call else {"summary": [], "encrypted_content": None}
            events.append(("response.output_item.added", {**at, "item": {**item, **empty}}))
            at["item_id"] = item["id"]
            if is_call:
                events.append(("response.function_call_arguments.delta", {**at, "delta": item["arguments"][:9]}))
                events.append(("response.function_call_arguments.delta", {**at, "delta": item["arguments"][9:]}))
                events.append(("response.function_call_arguments.done", {**at, "name": item["name"], "arguments": item["arguments"]}))
            else:
                at["summary_index"] = 0
                events.append(("response.reasoning_summary_part.added", {**at, "part": {"type": "summary_text", "text": ""}}))
                events.append(("response.reasoning_summary_text.delta", {**at, "delta": THOUGHT}))
                events.append(("response.reasoning_summary_text.done", {**at, "text": THOUGHT}))
                events.append(("response.reasoning_summary_part.done", {**at, "part": item["summary"][0]}))
            events.append(("response.output_item.done", {"output_index": index, "item": item}))
        events.append(("response.completed", {"response": self.call_whole(calls)}))
        for number, (kind, members) in enumerate(events):
            yield event(kind, sequence_number=number, **members)

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

    def offered(self, body):
        return {tool.get("name"): tool["input_schema"] for tool in body.get("tools") or [] if "input_schema" in tool}

    def blocks(self, body):
        return [block for message in body["messages"] if isinstance(message.get("content"), list) for block in message["content"]]

    def results(self, body):
        return {block.get("tool_use_id"): compact(block.get("content")) for block in self.blocks(body) if block.get("type") == "tool_result"}

    def thought(self, body):
        return "".join(block.get("thinking") or "" for block in self.blocks(body) if block.get("type") == "thinking")

    def call_blocks(self, calls):
        yield {"type": "thinking", "thinking": THOUGHT, "signature": "cmln"}
        for id, name, text in calls:
            yield {"type": "tool_use", "id": id, "name": name, "input": json.loads(text)}

    def call_whole(self, calls):
        return {**self.message(True), "content": list(self.call_blocks(calls)), "stop_reason": "tool_use"}

    def call_events(self, calls):
        yield event("message_start", message=self.message(False))
        for index, block in enumerate(self.call_blocks(calls)):
            if block["type"] == "thinking":
                yield event("content_block_start", index=index, content_block={**block, "thinking": "", "signature": ""})
                yield event("content_block_delta", index=index, delta={"type": "thinking_delta", "thinking": THOUGHT})
                yield event("content_block_delta", index=index, delta={"type": "signature_delta", "signature": block["signature"]})
            else:
                yield event("content_block_start", index=index, content_block={**block, "input": {}})
                text = calls[index - 1][2]
                for half in (text[:9], text[9:]):
                    yield event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": half})
            yield event("content_block_stop", index=index)
        yield event("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 5})
        yield event("message_stop")

    def error(self, status, message):
        kinds = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}
        return {"type": "error", "error": {"type": kinds.get(status, "api_error"), "message": message}, "request_id": "req_rig"}

    def error_event(self):
        return event("error", error={"type": "overloaded_error", "message": "Overloaded"})


class Gemini(Chat):
    def offered(self, body):
        declared = [tool.get("functionDeclarations") or [] for tool in body.get("tools") or []]
        return {function.get("name"): function.get("parametersJsonSchema") or function.get("parameters") or {} for functions in declared for function in functions}

    def parts(self, body):
        return [part for content in body["contents"] for part in content.get("parts") or []]

    def results(self, body):
        responses = [part["functionResponse"] for part in self.parts(body) if "functionResponse" in part]
        return {response.get("id"): compact(response.get("response")) for response in responses}

    def thought(self, body):
        # Its signature stands for it.
        return "".join(THOUGHT for part in self.parts(body) if part.get("thoughtSignature") == "cmln")

    def answer(self, parts, finish=None):
        candidate = {"content": {"parts": parts, "role": "model"}, "index": 0, **({"finishReason": finish} if finish else {})}
        usage = {"promptTokenCount": 11, "candidatesTokenCount": 5, "totalTokenCount": 16}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": self.model, "responseId": "rig"}

    def call_whole(self, calls):
        parts = [{"functionCall": {"id": id, "name": name, "args": json.loads(text)}, "thoughtSignature": "cmln"} for id, name, text in calls]
        return self.answer([{"text": THOUGHT, "thought": True}, *parts], "STOP")

    def call_events(self, calls):
        yield f"data: {compact(self.call_whole(calls))}\r\n\r\n"

    def events(self):
        for word in WORDS:
            yield f"data: {compact(self.answer([{'text': word}]))}\r\n\r\n"
        yield f"data: {compact(self.answer([{'text': ''}], 'STOP'))}\r\n\r\n"

    def whole(self):
        return self.answer([{"text": ANSWER}], "STOP")

    def error(self, status, message):
        names = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED"}
        return {"error": {"code": status, "message": message, "status": names.get(status, "UNAVAILABLE")}}

    def error_event(self):
        return f"data: {compact(self.error(503, 'The server is overloaded.'))}\r\n\r\n"


DIALECTS = {"/chat/completions": Chat, "/responses": Responses, "/messages": Messages}
# Methods of Gemini's API, and whether they stream.
METHODS = {":streamGenerateContent": True, ":generateContent": False}
NAMES = {"gemini": Gemini, "chat": Chat, "responses": Responses, "messages": Messages}


class Provider(threading.Thread):
    def __init__(self, fault, tools, slow, only=()):
        super().__init__(daemon=True)
        self.fault, self.tools, self.slow, self.only = fault, tools, slow, only
        self.requests, self.port = [], 0
        self.is_task_of_tools, self.has_thought = fault == "tools", False
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
        named = next((name for name in METHODS if path.endswith(name)), None)
        if named and isinstance(body, dict):
            dialect, model = Gemini, path.rsplit("/", 1)[1].removesuffix(named)
            body = {**body, "stream": METHODS[named], "model": model}
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
        elif path.endswith(":countTokens") and (not self.only or "gemini" in self.only):
            self.document(writer, 200, {"totalTokens": max(1, len(raw) // 4)})
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
        calls = []
        if fault == "tools":
            calls = calls_of(answer.offered(body))
        elif self.is_task_of_tools and body.get("tools"):
            results = answer.results(body)
            # Some agents name the command in its result, and lose the output of a command that ends at once.
            if not all(any(part in results.get(id, "") for part in parts) for id, parts in CALLS.items()):
                self.requests.append({"at": time.time(), "method": "POST", "path": path, "model": answer.model, "stream": streams, "answer": "400"})
                self.document(writer, 400, answer.error(400, f"The results of the calls are missing: {compact(results)}"))
                return True
            self.has_thought |= THOUGHT in answer.thought(body)
        self.requests.append({"at": time.time(), "method": "POST", "path": path, "model": answer.model, "stream": streams, "answer": fault})
        if fault in STATUSES:
            status, headers = STATUSES[fault]
            words = {401: "Incorrect API key provided.", 429: "Rate limit reached.", 503: "Service unavailable.", 529: "Overloaded"}
            self.document(writer, status, answer.error(status, words[status]), headers)
            return True
        if fault == "slow-whole" and not streams:
            await self.pause(writer, self.slow)
        if not streams or fault == "json":
            self.document(writer, 200, answer.call_whole(calls) if calls else answer.whole())
            return True
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n")
        await writer.drain()
        if fault == "no-first-token":
            await self.pause(writer)
        events = ["data: [DONE]\n\n"] if fault == "empty" else list(answer.call_events(calls) if calls else answer.events())
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
