#!/bin/sh
# test_python_client.sh OMNID MODEL CLIENT_FOLDER: the Python client and its examples against a daemon.
omnid=$1 model=$2 clients=$3

python=
for candidate in python3 /usr/bin/python3; do # python3-zmq belongs to the system's Python, which need not be the first
    if "$candidate" -c 'import zmq' 2>/dev/null; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    echo "skipped: no python3 with zmq (python3-zmq)"
    exit 77
fi

folder=$(mktemp -d /tmp/omnid-python-XXXXXX)
# The examples look where any client looks: the user's runtime folder.
XDG_RUNTIME_DIR=$folder
export XDG_RUNTIME_DIR
mkdir -m 0750 "$folder/omnid"
"$omnid" --config=/dev/null --omnid.runtime_dir="$folder/omnid" --model="$model" --model.threads=1 \
    --camera.x.video=test:ball,size=56x56,fps=2 2>"$folder/log" &
daemon=$!
trap 'kill $daemon 2>/dev/null; wait $daemon; rm -rf "$folder"' EXIT

cd "$folder" || exit 1
cat >test.py <<'END'
import sys, time
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import omnid

folder = sys.argv[2]
for _ in range(300):
    try:
        client = omnid.Client(folder)
        if client.status()["state"] == "ready" and client.timeline()["segments"]:
            break
    except (FileNotFoundError, ConnectionRefusedError):
        pass
    time.sleep(0.1)

text = "".join(client.ask("What is it?", max_tokens=8))
assert text == client.result["text"], (text, client.result)
assert client.result["evidence"] and client.result["camera"] == "x"
done = client.answer("Is it red?", choices=["yes", "no"])
assert len(done["choices"]) == 2 and done["stop"] == "choices"
stream = client.ask("Tell me all.", max_tokens=4000)
next(stream, None)
stream.close()  # cancels; the next question is not disturbed by what still comes
assert client.answer("What is it?", max_tokens=2)["event"] == "done"
try:
    client.answer("What?", camera="garden")
    raise SystemExit("an unknown camera was accepted")
except omnid.Error as error:
    assert error.code == "unknown_camera" and "garden" in error.message
assert client.sources()["schemes"]
event = next(client.events("segment/"))
assert event["event"] == "segment" and event["camera"] == "x"
event, jpeg = client.frame()
assert jpeg[:2] == b"\xff\xd8" and len(jpeg) == event["bytes"] and (event["width"], event["height"]) == (56, 56)
again, same = client.frame(segment=event["segment"], frame=event["frame"])
assert again["segment"] == event["segment"] and same[:2] == b"\xff\xd8"
try:
    client.frame(t="2001-01-01T00:00:00Z")
    raise SystemExit("a frame of long ago")
except omnid.Error as error:
    assert error.code == "not_there", error
assert client.pause(what="video")["video"] == "paused"
assert client.answer("What is it?", max_tokens=2, now=False)["event"] == "done"
assert client.resume()["audio"] == "running"
assert client.forget()["event"] == "forget"
client.close()
try:
    omnid.Client(folder + "/nowhere")
    raise SystemExit("a client without a daemon")
except FileNotFoundError:
    pass
print("client works")
END
"$python" test.py "$clients" "$folder/omnid" || { cat log; exit 1; }

# The examples, as they are. They find the daemon by themselves, unless the machine runs another one in /run/omnid.
if [ -S /run/omnid/ask.sock ]; then echo "a system omnid is running: examples not run"; exit 0; fi
sleep 3 # the timeline was forgotten
PYTHONDONTWRITEBYTECODE=1 "$python" "$clients/ask.py" "What is it?" >answer || { cat log; exit 1; }
grep -q '% from 20' answer || { echo "ask.py printed no evidence:"; cat answer; exit 1; }
PYTHONDONTWRITEBYTECODE=1 timeout -s INT 6 "$python" "$clients/watch_events.py" segment/ >events
grep -q '^segment x ' events || { echo "watch_events.py printed no segment:"; cat events; exit 1; }
echo "examples work"
