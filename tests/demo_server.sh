# For scripts that need a running server in demo mode, with a new database: `. tests/demo_server.sh` in the top folder.
# Sets HAMMER_PUBLIC_URL to its address, `work` to a folder that is deleted at the end, and `python` to the interpreter.
python=${PYTHON:-.venv/bin/python}
work=$(mktemp -d)
server=
stop() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap stop EXIT

port=$("$python" -c 'from tests.serving import free_port; print(free_port())')
export HAMMER_ENV=development HAMMER_DEMO=on HAMMER_RESEND_SECONDS="${HAMMER_RESEND_SECONDS:-0}" HAMMER_SMS_DELAY_SECONDS=0
export HAMMER_PUBLIC_URL="http://127.0.0.1:$port" DATABASE_URL="sqlite:///$work/hammer.sqlite3"
export FLASK_SKIP_DOTENV=1 # only the settings above
export SECRET_KEY="only for this run, 32 bytes and some more"
"$python" -m flask --app wsgi db upgrade >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$python" -m flask --app wsgi createsuperuser "+7 900 000-00-00" >>"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$python" -m flask --app wsgi run --no-reload --host 127.0.0.1 --port "$port" >>"$work/log" 2>&1 &
server=$!
for _ in $(seq 150); do
    curl -sf "$HAMMER_PUBLIC_URL/readyz" >/dev/null && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.2
done
curl -sf "$HAMMER_PUBLIC_URL/readyz" >/dev/null || { cat "$work/log"; exit 1; }
