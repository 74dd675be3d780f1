"""Claude Code on a provider of chat completions alone, beside the same on Anthropic's API: behaviour by behaviour.

    behaviours.py [--only NAME] [--keep]

Each scenario is a script of the provider's answers and a check of the requests that reach it. Exit status 1 when
a scenario fails through thalweg. `THALWEG_BIN` and `AGENTS_HOME` as for `matrix.py`."""

import argparse
import base64
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

if not os.environ.get("AGENTS_ISOLATED"):
    inside = ["env", "AGENTS_ISOLATED=1", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", sys.executable, *sys.argv]
    os.execvp("unshare", ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--", *inside])

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from clients import claude
from matrix import KEY, Gateway
from provider import ANSWER, THOUGHT, Chat, Provider, calls_of, compact

LIMIT = 120


def picture():
    """A small red PNG."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\xff\0\0" * 64 for _ in range(64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PICTURE = picture()


class Scripted(Provider):
    """Answers an agent's tasks by `script(provider, answer, body)`: `None` is the answer in full, a list is calls, a
    text a fault of `FAULTS`, and status, words and code are an error."""

    def __init__(self, script, only):
        self.script, self.bodies = script, []
        super().__init__("none", True, 1.0, only)

    @property
    def tasks(self):
        return [body for body in self.bodies if body.get("tools")]

    async def complete(self, writer, answer, body, path):
        self.bodies.append(body)
        answered = self.script(self, answer, body) if body.get("tools") else None
        if isinstance(answered, tuple):
            status, words, code = answered
            error = answer.error(status, words)
            if code and type(answer) is Chat:
                error["error"]["code"] = code
            self.document(writer, status, error)
            return True
        if isinstance(answered, list):
            answer = Calling(answer, answered)
        self.fault = answered if isinstance(answered, str) else "none"
        return await super().complete(writer, answer, body, path)


class Calling:
    """An answer that is calls."""

    def __init__(self, answer, calls):
        self.answer, self.calls, self.model = answer, calls, answer.model

    def events(self):
        return self.answer.call_events(self.calls)

    def whole(self):
        return self.answer.call_whole(self.calls)

    def results(self, body):
        return self.answer.results(body)

    def thought(self, body):
        return self.answer.thought(body)


def pictures_of(body):
    """Pictures at their places in either dialect."""
    parts = [part for message in body["messages"] if isinstance(message.get("content"), list) for part in message["content"]]
    inner = [part for block in parts if block.get("type") == "tool_result" and isinstance(block.get("content"), list) for part in block["content"]]
    return [part for part in parts + inner if part.get("type") in ("image", "image_url")]


# Scenarios: arguments of the program, its standard input, the script, the check.

def picture_in_the_prompt(home):
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PICTURE).decode()}
    content = [{"type": "text", "text": "Which colour?"}, {"type": "image", "source": source}]
    said = json.dumps({"type": "user", "message": {"role": "user", "content": content}}) + "\n"
    return ["--input-format", "stream-json", "--output-format", "stream-json", "--verbose"], said, lambda *_: None, \
        lambda provider, out: ANSWER in out and any(pictures_of(body) for body in provider.tasks)


def picture_by_a_tool(home):
    path = os.path.join(home, "work", "red.png")
    pathlib.Path(path).write_bytes(PICTURE)

    def script(provider, answer, body):
        return [("call_rig_a", "Read", compact({"file_path": path}))] if len(provider.tasks) == 1 else None

    return ["Look at red.png."], "", script, \
        lambda provider, out: ANSWER in out and any(pictures_of(body) for body in provider.tasks[1:])


def parallel_calls_with_thinking(home):
    def script(provider, answer, body):
        if len(provider.tasks) == 1:
            return calls_of(answer.offered(body))
        words = answer.results(body)
        return None if "rig-42" in words.get("call_rig_a", "") and "rig-53" in words.get("call_rig_b", "") and THOUGHT in answer.thought(body) else (400, compact(words), None)

    return ["Look twice."], "", script, lambda provider, out: ANSWER in out and asks_to_think(provider.tasks[0])


def asks_to_think(body):
    return "thinking" in body or "reasoning_effort" in body


def context_is_counted(home):
    return ["/context"], "", lambda *_: None, lambda provider, out: "tokens" in out.lower() and "error" not in out.lower()


def compaction_after_an_overflow(home):
    """The third request is too long; one that is shorter is not."""
    lengths = []

    def script(provider, answer, body):
        length = len(compact(body["messages"]))
        lengths.append(length)
        if len(lengths) <= 2:
            return [(f"call_rig_{len(lengths)}", "Bash", compact({"command": "seq 1 4000", "description": "Count"}))]
        if length >= lengths[2]:
            chat = type(answer) is Chat
            words = "This model's maximum context length is 128000 tokens. However, your messages resulted in 210000 tokens."
            return (400, words if chat else "prompt is too long: 210000 tokens > 128000 maximum", "context_length_exceeded")
        return None

    return ["Count twice."], "", script, lambda provider, out: ANSWER in out


def without_a_stream_after_an_error_event(home):
    def script(provider, answer, body):
        return "error-event" if body.get("stream") else None

    return ["Say hello."], "", script, lambda provider, out: ANSWER in out and any(not body.get("stream") for body in provider.tasks)


SCENARIOS = [picture_in_the_prompt, picture_by_a_tool, parallel_calls_with_thinking, context_is_counted, compaction_after_an_overflow,
             without_a_stream_after_an_error_event]


def run(scenario, way, keep):
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{scenario.__name__}.{way}."))
    home = folder / "home"
    (home / "work").mkdir(parents=True)
    arguments, said, script, check = scenario(str(home))
    provider = Scripted(script, ["messages"] if way == "direct" else ["chat"])
    gateway = Gateway(provider, folder, "none") if way == "through" else None
    try:
        root = f"http://127.0.0.1:{gateway.port if gateway else provider.port}"
        start = claude(root, KEY, str(home), "")
        # A list of tools stands last, because it takes all that follows it.
        argv = [start.argv[0], "-p", *arguments, "--model", "claude-sonnet-4-5", "--allowedTools", "Bash,Read"]
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(folder), "TERM": "dumb", "LANG": "C.UTF-8", "NO_COLOR": "1", **start.env}
        try:
            ended = subprocess.run(argv, cwd=home / "work", env=env, input=said.encode(), capture_output=True, timeout=LIMIT)
            out, status = ended.stdout.decode(errors="replace") + ended.stderr.decode(errors="replace"), ended.returncode
        except subprocess.TimeoutExpired as late:
            out, status = (late.stdout or b"").decode(errors="replace"), "timeout"
        good = bool(status == 0 and check(provider, out))
        if keep:
            (folder / "bodies.json").write_text("\n".join(json.dumps(body) for body in provider.bodies))
            (folder / "out.txt").write_text(out)
            print(folder, file=sys.stderr)
        return good, len(provider.tasks), status, out
    finally:
        if gateway:
            gateway.stop()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", action="store_true", help="the runs' folders stay")
    options = parser.parse_args()
    failed = False
    print("| behaviour | Anthropic's API, direct | chat completions, through thalweg |\n|---|---|---|", flush=True)
    for scenario in SCENARIOS:
        if options.only and options.only not in scenario.__name__:
            continue
        results = [run(scenario, way, options.keep) for way in ("direct", "through")]
        words = [f"{'yes' if good else 'no'}, {tasks} req, exit {status}" for good, tasks, status, _ in results]
        print(f"| {scenario.__name__.replace('_', ' ')} | {words[0]} | {words[1]} |", flush=True)
        if not results[1][0]:
            failed = True
            print(results[1][3][-1500:], file=sys.stderr)
    sys.exit(failed)


main()
