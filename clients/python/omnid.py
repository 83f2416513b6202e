"""A client of omnid in one file. Needs pyzmq. The protocol is in docs/protocol.md.

    camera = omnid.Client()
    for text in camera.ask("What do you see?"):
        print(text, end="", flush=True)
    print(camera.result["evidence"])
"""

import json
import os
import socket
import tempfile

import zmq


class Error(Exception):
    """The daemon's error: code as in docs/protocol.md, message a sentence."""

    def __init__(self, code, message):
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message


def find_folder():
    """The folder of a running daemon's sockets; raises FileNotFoundError or PermissionError."""
    candidates = ["/run/omnid"]
    if os.environ.get("XDG_RUNTIME_DIR"):
        candidates.append(os.path.join(os.environ["XDG_RUNTIME_DIR"], "omnid"))
    candidates.append(os.path.join(tempfile.gettempdir(), f"omnid-{os.getuid()}"))
    for folder in candidates:
        try:
            check(os.path.join(folder, "ask.sock"))
            return folder
        except (FileNotFoundError, ConnectionRefusedError):
            continue
    raise FileNotFoundError("no omnid is running; looked in " + ", ".join(candidates))


def check(path):
    """Connects once as a plain socket: ZeroMQ alone would wait for ever for a daemon that is not there."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(path)


class Client:
    """One connection. Not to be shared between threads. result: the `done` event of the last ask."""

    def __init__(self, folder=None, timeout=30.0):
        self.folder = folder or find_folder()
        self.timeout = timeout
        self.result = None
        self._next_id = 0
        self._second = b""
        check(os.path.join(self.folder, "ask.sock"))
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect("ipc://" + os.path.join(self.folder, "ask.sock"))

    def close(self):
        self._context.destroy(linger=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ask(self, question, **fields):
        """Yields the answer's text as it comes; fields are those of the protocol's ask (camera, retention, choices, …)."""
        self.result = None
        number = self._send(op="ask", question=question, **fields)
        done = False
        try:
            while True:
                event = self._receive(number)
                if event["event"] == "done":
                    done = True
                    self.result = event
                    return
                yield event["text"]
        except Error:
            done = True
            raise
        finally:
            if not done:  # the caller lost interest, or the daemon was silent
                self._socket.send_json({"op": "cancel", "id": number})

    def answer(self, question, **fields):
        """The `done` event, without streaming."""
        for _ in self.ask(question, stream=False, **fields):
            pass
        return self.result

    def status(self, **fields):
        return self._receive(self._send(op="status", **fields))

    def timeline(self, camera=None):
        return self._receive(self._send(op="timeline", **({"camera": camera} if camera else {})))

    def sources(self):
        return self._receive(self._send(op="sources"))

    def forget(self, camera=None):
        return self._receive(self._send(op="forget", **({"camera": camera} if camera else {})))

    def frame(self, **fields):
        """What the camera saw, as (event, JPEG bytes); fields: camera, and t, ago_s or segment (with frame), max_width.

        Without t, ago_s or segment: the newest frame. Error `not_there`: none is kept of that moment."""
        event = self._receive(self._send(op="frame", **fields))
        return event, self._second

    def pause(self, camera=None, what="both"):
        """Lets go of picture ("video"), sound ("audio") or both; the event has the new states."""
        return self._receive(self._send(op="pause", what=what, **({"camera": camera} if camera else {})))

    def resume(self, camera=None, what="both"):
        return self._receive(self._send(op="resume", what=what, **({"camera": camera} if camera else {})))

    def events(self, topic=""):
        """Yields news for ever: segments, answers, sources, gaps, health. topic: "", "segment/", "segment/door", …"""
        news = self._context.socket(zmq.SUB)
        news.connect("ipc://" + os.path.join(self.folder, "events.sock"))
        news.subscribe(topic)
        try:
            while True:
                _, body = news.recv_multipart()
                yield json.loads(body)
        finally:
            news.close(linger=0)

    def _send(self, **request):
        self._next_id += 1
        self._socket.send_json({"id": self._next_id, **request})
        return self._next_id

    def _receive(self, number):
        """The next event of that id; those of questions given up before are passed over."""
        while True:
            if not self._socket.poll(int(self.timeout * 1000)):
                raise TimeoutError(f"the daemon said nothing for {self.timeout:g} s")
            body, *rest = self._socket.recv_multipart()
            event = json.loads(body)
            if event.get("id") != number:
                continue
            if event["event"] == "error":
                raise Error(event["code"], event["message"])
            self._second = rest[0] if rest else b""  # only the reply of frame has a second frame
            return event
