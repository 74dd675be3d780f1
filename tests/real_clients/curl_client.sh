#!/usr/bin/env bash
# curl over HTTP/1.1 and HTTP/2 by prior knowledge: what a shell user sees.
set -u

passed=0 failed=0
body='{"model":"demo-text","messages":[{"role":"user","content":"hi"}],"stream":true}'

check() { # name, what was seen, the pattern that it must match
    if grep -qE -- "$3" <<<"$2"; then
        passed=$((passed + 1))
        echo "ok      curl: $1"
    else
        failed=$((failed + 1))
        echo "FAILED  curl: $1: wanted $3 in"
        head -c 2000 <<<"$2"
    fi
}

ask() { # version flag, then curl's arguments
    local flag=$1
    shift
    curl --silent --show-error --max-time 30 "$flag" --header "Authorization: Bearer $THALWEG_KEY" \
        --header 'Content-Type: application/json' "$@" 2>&1
}

for flag in --http1.1 --http2-prior-knowledge; do
    chat="$THALWEG_URL/v1/chat/completions"
    check "streams ($flag)" "$(ask "$flag" --no-buffer --data "$body" "$chat" | tail -2)" '^data: \[DONE\]'
    check "streams by the asgi endpoint ($flag)" \
        "$(ask "$flag" --no-buffer --data "$body" "$chat/asgi" | tail -2)" '^data: \[DONE\]'
    check "shows the head ($flag)" "$(ask "$flag" --include --data "$body" "$chat")" '^content-type: text/event-stream'
    check "sends Expect: 100-continue ($flag)" \
        "$(ask "$flag" --header 'Expect: 100-continue' --data "$body" "$chat")" 'DONE'
    check "lists models ($flag)" "$(ask "$flag" "$THALWEG_URL/v1/models")" '"demo-text"|/demo-text"'
    check "refuses a wrong method ($flag)" "$(ask "$flag" --include "$chat")" '^allow: .*POST'
    check "answers HEAD ($flag)" "$(ask "$flag" --head "$THALWEG_URL/health")" '^HTTP/[0-9.]+ 200'
    check "answers a preflight ($flag)" \
        "$(ask "$flag" --include --request OPTIONS --header 'Origin: http://a.example' \
            --header 'Access-Control-Request-Method: POST' "$chat")" '^access-control-allow-origin: '
    check "says where JSON is wrong ($flag)" "$(ask "$flag" --data '{"model": ' "$chat")" '"message"'
done

echo "curl: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
