"""The survival matrix: each agent meets each fault, directly and through thalweg.

    matrix.py [--clients a,b] [--faults x,y] [--jobs 1] [--json FILE] [--keep]

A cell compares the two ways: whether the agent delivered the answer, requests that a provider would have charged
for, and seconds from its first request on (an agent's own start takes longer on a busy machine). Exit status 1 when thalweg is worse in a cell. `THALWEG_BIN` names the binary, `AGENTS_HOME` the folder of
the agents (`tests/agents.sh` installs them and sets both)."""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

if not os.environ.get("AGENTS_ISOLATED"):
    # A network namespace with loopback alone: nothing of an agent leaves the machine.
    inside = ["env", "AGENTS_ISOLATED=1", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", sys.executable, *sys.argv]
    os.execvp("unshare", ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--", *inside])

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from clients import CLIENTS
from provider import ANSWER, FAULTS, MODELS, Provider

PROMPT = "Say hello in one short sentence."
KEY = "sk-client-of-the-matrix"
# Seconds: a slow answer's, the gateway's own deadlines for a silent provider, and the longest run.
SLOW, DEADLINE, LIMIT = 10.0, 6.0, 45
# Requests per minute of the fault "key-rpm", as many as an agent sends at once.
RPM = 3
# A way may take this much longer than the other without being slower: two runs of one agent differ by as
# much.
SLACK = 4.0


class Gateway:
    def __init__(self, provider, folder, fault):
        self.log = open(folder / "gateway.log", "wb")
        upstream = {"name": "rig", "base_url": f"http://127.0.0.1:{provider.port}/v1", "api_key": "sk-rig", "models": MODELS}
        limits = {"rpm": RPM} if fault == "key-rpm" else {}
        config = {"host": "127.0.0.1", "port": 0, "providers": [upstream], "tokens": [{"description": "matrix", "token": KEY, **limits}],
                  "stream_timeout": DEADLINE, "first_token_timeout": DEADLINE}
        (folder / "config.json").write_text(json.dumps(config))
        env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        argv = [os.environ["THALWEG_BIN"], "serve", "--config", str(folder / "config.json")]
        self.process = subprocess.Popen(argv, cwd=folder, env=env, stdout=self.log, stderr=self.log)
        for _ in range(200):
            found = re.search(rb"http://127\.0\.0\.1:(\d+)", (folder / "gateway.log").read_bytes())
            if found:
                self.port = int(found[1])
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit("the gateway does not start:\n" + (folder / "gateway.log").read_text(errors="replace"))

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def leftovers(home):
    """Processes that this run started, by the home in their environment: some agents leave a daemon behind."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"HOME={home}\0".encode() in (entry / "environ").read_bytes():
                yield int(entry.name)
        except OSError:
            pass


def spend(root):
    """Uses up the key's requests of this minute."""
    body = json.dumps({"model": MODELS[0], "messages": [{"role": "user", "content": PROMPT}]}).encode()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    for _ in range(RPM):
        urllib.request.urlopen(urllib.request.Request(f"{root}/v1/chat/completions", body, headers), timeout=10).read()


def run(client, fault, way, keep, only=()):
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{client}.{fault}.{way}."))
    home, work = folder / "home", folder / "work"
    home.mkdir(), work.mkdir()
    provider = Provider("none" if fault == "key-rpm" else fault, client not in ("llm", "aider"), SLOW, only if way == "through" else ())
    gateway = Gateway(provider, folder, fault) if way == "through" else None
    try:
        root = f"http://127.0.0.1:{gateway.port if gateway else provider.port}"
        start = CLIENTS[client](root, KEY if gateway else "sk-rig", str(home), PROMPT)
        for path, text in start.files.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text)
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(folder), "TERM": "dumb", "LANG": "C.UTF-8", "NO_COLOR": "1",
               "DO_NOT_TRACK": "1", "XDG_CONFIG_HOME": f"{home}/.config", "XDG_DATA_HOME": f"{home}/.local/share",
               "XDG_STATE_HOME": f"{home}/.local/state", "XDG_CACHE_HOME": f"{home}/.cache", **start.env}
        for argv in start.prepare:
            subprocess.run(argv, cwd=work, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        if fault == "key-rpm":
            spend(root)
        provider.requests.clear()
        began = time.time()
        with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
            process = subprocess.Popen(start.argv, cwd=work, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
            try:
                status = process.wait(LIMIT if fault != "key-rpm" else LIMIT + 60)
            except subprocess.TimeoutExpired:
                status = "timeout"
        seconds = time.time() - began
        for pid in {process.pid, *leftovers(home)}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        out, err = ((folder / name).read_text(errors="replace") for name in ("out", "err"))
        asked = next((request["at"] - began for request in provider.requests if request["model"]), 0)
        return {"client": client, "fault": fault, "way": way, "status": status, "seconds": round(seconds, 1),
                "waited": round(seconds - asked, 1), "delivered": ANSWER in out,
                "half": WORD in out and ANSWER not in out, "requests": [r["answer"] for r in provider.requests if r["model"]], "paid": provider.paid, "thought": provider.has_thought,
                "out": out[-2000:], "err": err[-2000:]}
    finally:
        if gateway:
            gateway.stop()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


WORD = ANSWER.split(" ")[0]


def rank(result):
    """How well a task ended: the answer in full; a failure that is said; half an answer or none, taken for a good end."""
    return 2 if result["delivered"] else 0 if result["status"] == 0 or result["status"] == "timeout" else 1


def verdict(direct, through):
    if direct is None:
        # A limit of the gateway's own has no direct way: the agent gets an answer or says that it has none,
        # in time.
        return "worse" if rank(through) == 0 else "same"
    if rank(through) != rank(direct):
        return "better" if rank(through) > rank(direct) else "worse"
    allowance = DEADLINE if through["fault"] in ("silence", "no-first-token") else 0
    if through["paid"] > direct["paid"]:
        return "worse: more paid"
    if through["waited"] > direct["waited"] + SLACK + allowance:
        return "worse: slower"
    return "better" if direct["status"] == "timeout" != through["status"] or direct["waited"] > through["waited"] + 3 * SLACK else "same"


def words(result):
    if result is None:
        return "–"
    end = "answer" if result["delivered"] else "timeout" if result["status"] == "timeout" else "half" if result["half"] else f"exit {result['status']}"
    return f"{end}, {len(result['requests'])} req, {result['waited']:.0f} s"


def cell(client, fault, keep, only):
    direct = None if fault == "key-rpm" else run(client, fault, "direct", keep)
    return direct, run(client, fault, "through", keep, only)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", default=",".join(CLIENTS))
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", help="results, one line per run")
    parser.add_argument("--keep", action="store_true", help="the runs' folders stay")
    parser.add_argument("--only", default="", help="dialects of the provider behind thalweg: chat, responses, messages, gemini; it lacks the rest")
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    cells = [(client, fault) for client in options.clients.split(",") for fault in options.faults.split(",")]
    counts = {}
    print("| client | fault | direct | through thalweg | |\n|---|---|---|---|---|", flush=True)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for (client, fault), (direct, through) in zip(cells, pool.map(lambda c: cell(*c, options.keep, only), cells)):
            result = verdict(direct, through)
            counts[result] = counts.get(result, 0) + 1
            print(f"| {client} | {fault} | {words(direct)} | {words(through)} | {result} |", flush=True)
            if options.json:
                with open(options.json, "a") as file:
                    file.writelines(json.dumps(each) + "\n" for each in (direct, through) if each)
    print("\n" + ", ".join(f"{number} {result}" for result, number in sorted(counts.items())))
    sys.exit(any(result.startswith("worse") for result in counts))


if __name__ == "__main__":
    main()
