"""httpx over HTTP/1.1 and over HTTP/2 by prior knowledge: frames arrive one by one, heads say what they should."""

import time

import httpx
from checks import KEY, URL, expect, run

BODY = {"model": "demo-text", "messages": [{"role": "user", "content": "hi"}], "stream": True}
AUTH = {"authorization": f"Bearer {KEY}"}
VERSIONS = {"HTTP/1.1": {"http1": True, "http2": False}, "HTTP/2": {"http1": False, "http2": True}}


def on_both(check):
    def both():
        for version, options in VERSIONS.items():
            with httpx.Client(base_url=URL, headers=AUTH, timeout=30, **options) as client:
                check(client, version)

    both.__name__ = check.__name__
    return both


@on_both
def frames_arrive_over_time(client, version):
    started, arrivals = time.monotonic(), []
    with client.stream("POST", "/v1/chat/completions", json=BODY) as response:
        expect(response.http_version == version, response.http_version)
        expect(response.status_code == 200, response.status_code)
        expect(response.headers["content-type"].startswith("text/event-stream"), response.headers)
        expect("no-transform" in response.headers["cache-control"], response.headers)
        expect(response.headers["x-accel-buffering"] == "no", response.headers)
        expect("content-encoding" not in response.headers, response.headers)
        text = b""
        for frame in response.iter_raw():
            arrivals.append(time.monotonic() - started)
            text += frame
    expect(text.endswith(b"data: [DONE]\n\n"), text[-80:])
    expect(len(arrivals) > 3 and arrivals[-1] - arrivals[0] > 0.05, arrivals)


@on_both
def never_compresses(client, version):
    response = client.post("/v1/chat/completions", json=BODY, headers={"accept-encoding": "gzip, br"})
    expect("content-encoding" not in response.headers and response.text.startswith("data: "), response.headers)


@on_both
def echoes_a_request_id_and_makes_one(client, version):
    response = client.get("/v1/models", headers={"x-request-id": "abc-1.2_3"})
    expect(response.headers["x-request-id"] == "abc-1.2_3", response.headers)
    first, second = (client.get("/v1/models").headers["x-request-id"] for _ in range(2))
    expect(first and first != second, first, second)


@on_both
def tells_its_health(client, version):
    health = client.get("/health").json()
    expect(health["total_providers"] >= 1 and health["status"], health)
    expect(client.get("/livez").status_code == 200 and client.get("/readyz").status_code == 200)


@on_both
def refuses_in_json(client, version):
    for response, status in [
        (client.get("/v1/chat/completions"), 405),
        (client.get("/nowhere"), 404),
        (client.post("/v1/chat/completions", content=b"{"), 400),
        (client.post("/v1/chat/completions", json=BODY, headers={"authorization": "Bearer no"}), 401),
    ]:
        expect(response.status_code == status, response.status_code, status)
        error = response.json()["error"]
        expect({"message", "type", "param", "code"} <= error.keys(), error)


@on_both
def a_client_that_leaves_does_not_hurt_the_next(client, version):
    body = {**BODY, "model": "demo-long"}
    for _ in range(3):
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            next(response.iter_raw())
    expect(client.post("/v1/chat/completions", json=BODY).status_code == 200)


run(
    "httpx",
    [
        frames_arrive_over_time,
        never_compresses,
        echoes_a_request_id_and_makes_one,
        tells_its_health,
        refuses_in_json,
        a_client_that_leaves_does_not_hurt_the_next,
    ],
)
