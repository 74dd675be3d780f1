"""The meaning of a recorded answer, read from its bytes without a client's library, and the answer in one piece."""

import json
import re


def events(body):
    """Names and data of server-sent events, as the HTML standard reads them."""
    for block in re.split("\n\n+", re.sub("\r\n|\r", "\n", body.decode())):
        fields = [line.partition(":") for line in block.split("\n") if line and not line.startswith(":")]
        data = [value.removeprefix(" ") for name, _, value in fields if name == "data"]
        if data and data != ["[DONE]"]:
            yield json.loads("\n".join(data))


def meaning(text="", reasoning="", calls=(), stop=None, usage=None):
    """`calls` are names and arguments, `usage` the tokens in and out, with cached ones and with reasoning."""
    return {"text": text, "reasoning": reasoning, "calls": [list(call) for call in calls], "stop": stop, "usage": usage}


def has_failed(body):
    return any(event.get("error") or event.get("type") == "error" for event in events(body))


def dialect_of(name, body):
    """By its first event, or the name of an error."""
    if name.startswith("anthropic-error") or b'"message_start"' in body:
        return "messages"
    return "responses" if b'"response.created"' in body else "chat"


# --- chat completions

def glued(body):
    """The whole completion of a stream of chunks: its first choice."""
    message, calls, whole, finish = {"role": "assistant", "content": None}, {}, {}, None
    for chunk in events(body):
        whole = {**{name: chunk[name] for name in ("id", "created", "model") if name in chunk}, **whole}
        usage = chunk.get("usage")
        for choice in chunk.get("choices") or []:
            if choice.get("index", 0) != 0:
                continue
            delta, finish, usage = choice.get("delta") or {}, choice.get("finish_reason") or finish, usage or choice.get("usage")
            for name in ("content", "reasoning_content", "reasoning", "refusal"):
                if delta.get(name):
                    message[name] = (message.get(name) or "") + delta[name]
            if not delta.get("reasoning_content") and not delta.get("reasoning"):
                for detail in delta.get("reasoning_details") or []:
                    message["reasoning"] = message.get("reasoning", "") + (detail.get("text") or "")
            for call in delta.get("tool_calls") or []:
                kept = calls.setdefault(call.get("index", 0), {"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
                kept["id"] = kept["id"] or call.get("id")
                kept["function"]["name"] += (call.get("function") or {}).get("name") or ""
                kept["function"]["arguments"] += (call.get("function") or {}).get("arguments") or ""
        whole["usage"] = usage or whole.get("usage")
    if calls:
        message["tool_calls"] = list(calls.values())
    if whole.get("usage") is None:
        del whole["usage"]
    return {**whole, "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": finish}]}


def of_completion(whole):
    choice, usage = whole["choices"][0], whole.get("usage")
    message = choice["message"]
    calls = [(call["function"]["name"], json.loads(call["function"]["arguments"] or "{}")) for call in message.get("tool_calls") or []]
    stop = {"length": "length", "content_filter": "filter"}.get(choice.get("finish_reason"), "tool" if calls else "stop")
    reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    return meaning(message.get("content") or "", reasoning, calls, stop, usage and chat_usage(usage))


def chat_usage(usage):
    """Of tokens that are in the total and nowhere else, a model has thought (xAI, Gemini)."""
    details = usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or usage.get("cached_tokens") or 0
    output = max(usage["completion_tokens"], (usage.get("total_tokens") or 0) - usage["prompt_tokens"])
    return [usage["prompt_tokens"], output, cached]


# --- messages

def glued_message(body):
    message, blocks, arguments = {}, {}, {}
    for event in events(body):
        if event["type"] == "message_start":
            message = event["message"]
        elif event["type"] == "content_block_start":
            blocks[event["index"]] = event["content_block"]
        elif event["type"] == "content_block_delta":
            block, delta = blocks[event["index"]], event["delta"]
            for name in ("text", "thinking", "signature"):
                if name in delta:
                    block[name] = block.get(name, "") + delta[name]
            if "partial_json" in delta:
                arguments[event["index"]] = arguments.get(event["index"], "") + delta["partial_json"]
        elif event["type"] == "message_delta":
            message.update(event["delta"])
            message["usage"].update({name: count for name, count in event["usage"].items() if count})
    for index, text in arguments.items():
        blocks[index]["input"] = json.loads(text or "{}")
    return {**message, "type": "message", "content": list(blocks.values())}


def of_message(whole):
    content, usage = whole["content"], whole["usage"]
    text, reasoning = ("".join(block[name] for block in content if block["type"] == name) for name in ("text", "thinking"))
    calls = [(block["name"], block["input"]) for block in content if block["type"] == "tool_use"]
    stop = {"tool_use": "tool", "max_tokens": "length", "refusal": "filter"}.get(whole["stop_reason"], "stop")
    cached = usage.get("cache_read_input_tokens") or 0
    tokens_in = usage["input_tokens"] + cached + (usage.get("cache_creation_input_tokens") or 0)
    return meaning(text, reasoning, calls, stop, [tokens_in, usage["output_tokens"], cached])


# --- responses

def glued_response(body):
    return next(event["response"] for event in events(body) if event["type"] in ("response.completed", "response.incomplete"))


def of_response(whole):
    output, usage = whole["output"], whole.get("usage")
    text = "".join(part["text"] for item in output if item["type"] == "message" for part in item["content"] if part["type"] == "output_text")
    reasoning = "\n\n".join(part["text"] for item in output if item["type"] == "reasoning" for part in item.get("summary") or [])
    calls = [(item["name"], json.loads(item["arguments"] or "{}")) for item in output if item["type"] == "function_call"]
    reason = (whole.get("incomplete_details") or {}).get("reason")
    stop = {"max_output_tokens": "length", "content_filter": "filter"}.get(reason, "tool" if calls else "stop")
    cached = usage and (usage.get("input_tokens_details") or {}).get("cached_tokens") or 0
    return meaning(text, reasoning, calls, stop, usage and [usage["input_tokens"], usage["output_tokens"], cached])


# --- Gemini, as a client's dialect

def of_gemini(answers):
    """The answers of a stream, or the one that is whole, with the names of Google's API."""
    candidates = [candidate for answer in answers for candidate in answer.get("candidates") or []]
    parts = [part for candidate in candidates for part in (candidate.get("content") or {}).get("parts") or []]
    text, reasoning = ("".join(part.get("text") or "" for part in parts if bool(part.get("thought")) is thought) for thought in (False, True))
    calls = [(part["functionCall"]["name"], part["functionCall"]["args"]) for part in parts if "functionCall" in part]
    reasons = [candidate["finishReason"] for candidate in candidates if "finishReason" in candidate]
    assert len(reasons) == 1 and "finishReason" in candidates[-1], reasons
    stop = {"MAX_TOKENS": "length", "SAFETY": "filter"}.get(reasons[0], "tool" if calls else "stop")
    usages = [answer["usageMetadata"] for answer in answers if "usageMetadata" in answer]
    usage = usages[-1] if usages else {}
    output = (usage.get("candidatesTokenCount") or 0) + (usage.get("thoughtsTokenCount") or 0)
    tokens = [usage.get("promptTokenCount") or 0, output, usage.get("cachedContentTokenCount") or 0]
    return meaning(text, reasoning, calls, stop, tokens if usages else None)


GLUE = {"chat": glued, "messages": glued_message, "responses": glued_response}
READ = {"chat": of_completion, "messages": of_message, "responses": of_response}
