"""An engine that does harm: it answers as Docker does, but for requests whose path holds a text, which get one of the
answers below. It listens at a Unix socket and ends with its stdin.

    engine.py SOCKET TEXT NAME
"""

import json
import os
import re
import socket
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

PATH, TEXT, NAME = sys.argv[1:]
HEAD = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n"
BLOCK = 1 << 16
ID = "ab" * 32


def endless(send, head, block):
    send(head)
    while True:
        send(block)


def chunked(send, begin, block, head=HEAD):
    def chunk(text):
        return b"%x\r\n%s\r\n" % (len(text), text)

    endless(send, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(begin), chunk(block))


def whole(send, body, status=b"200 OK"):
    head = b"HTTP/1.1 %s\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n" % status
    send(head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))


def drip(send):
    for byte in HEAD * 1000:
        send(bytes([byte]))
        time.sleep(0.1)


FRAME = b"\x01\0\0\0\0\0\x04\0" + b"x" * 1023 + b"\n"
ANSWERS = {
    "list": lambda send: chunked(send, b"[{}", b",{}" * 20000),
    "text": lambda send: chunked(send, b'["', b"x" * BLOCK),
    "space": lambda send: chunked(send, b"[", b" " * BLOCK),
    "deep": lambda send: chunked(send, b"[", b"[" * BLOCK),
    "values": lambda send: whole(send, b"[" + b"{}," * 3_000_000 + b"{}]"),
    "volumes": lambda send: whole(send, b'{"Volumes":[' + b"{}," * 3_000_000 + b"{}]}"),
    "mounts": lambda send: whole(send, b'{"Mounts":[' + b"{}," * 300_000 + b"{}]}"),
    "error": lambda send: endless(send, b"HTTP/1.1 500 No\r\n\r\n", b"x" * BLOCK),
    "head": lambda send: endless(send, b"HTTP/1.1 200 OK\r\nX: ", b"x" * BLOCK),
    "heads": lambda send: endless(send, HEAD, b"X: y\r\n" * 1000),
    "continue": lambda send: endless(send, b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "extension": lambda send: endless(
        send, HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * BLOCK
    ),
    "length": lambda send: send(HEAD + b"Content-Length: 99999999999\r\n\r\n[]"),
    "half": lambda send: send(b"HTTP/1.1 200 O"),
    "nothing": lambda send: None,
    "noise": lambda send: send(b"\x16\x03\x01" + b"\xff" * 1000),
    "json": lambda send: whole(send, b'"\\u001b[31mnot this"'),
    "escape": lambda send: whole(
        send, b'{"message":"\\u001b]0;owned\\u0007boom\\nsecond"}', b"500 No"
    ),
    "drip": drip,
    # Logs: a frame of 4 GiB, one line, lines without end.
    "frame": lambda send: chunked(send, b"\x01\0\0\0\xff\xff\xff\xff", b"x" * BLOCK),
    "line": lambda send: chunked(send, b"", (b"\x01\0\0\0\0\0\x04\0" + b"x" * 1024) * 64),
    "lines": lambda send: chunked(send, b"", FRAME * 64),
    "plain": lambda send: chunked(send, b"plain ", b"x" * BLOCK),
}

volumes = {}
removed = threading.Event()


def volume(name, labels):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"Name": name, "Labels": labels, "CreatedAt": now, "Driver": "local", "Mountpoint": "/", "Options": {}, "Scope": "local"}


def answer(method, path, query, body):
    """What Docker would say of a host with one image, and of a container that ends at once."""
    if path == "/_ping":
        return 200, "OK"
    if path == "/info":
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return 200, {"ServerVersion": "20.10.24", "DockerRootDir": "/var", "SystemTime": now, "ID": "x"}
    if path == "/version":
        return 200, {"Os": "linux", "Arch": "amd64", "ApiVersion": "1.41", "Version": "20.10.24"}
    if path == "/volumes/create":
        wanted = json.loads(body)
        made = volumes.setdefault(wanted["Name"], volume(wanted["Name"], wanted.get("Labels") or {}))
        return 201, made
    if path == "/volumes":
        filters = json.loads(query.get("filters", ["{}"])[0]).get("label", [])
        wanted = [dict([text.split("=", 1)]) for text in filters]
        fits = lambda one: all(label.items() <= one["Labels"].items() for label in wanted)
        return 200, {"Volumes": [one for one in volumes.values() if fits(one)], "Warnings": None}
    if path.startswith("/volumes/") and method == "DELETE":
        volumes.pop(path.split("/")[-1], None)
        return 204, None
    if path in ("/containers/json", "/images/json"):
        return 200, []
    if path.startswith("/images/"):
        name = path[len("/images/") : -len("/json")]
        return 200, {"Id": "sha256:" + "c" * 64, "Os": "linux", "Architecture": "amd64", "RepoDigests": [name]}
    if path == "/containers/create":
        return 201, {"Id": ID, "Warnings": []}
    if re.fullmatch(r"/containers/\w+/json", path):
        if removed.is_set():
            return 404, {"message": "No such container"}
        state = {"Status": "exited", "Running": False, "ExitCode": 1, "OOMKilled": False, "Error": ""}
        return 200, {"Id": ID, "Name": "/web", "State": state, "Config": {"Labels": {}}, "Created": "2026-01-01T00:00:00Z"}
    if method == "DELETE":
        removed.set()
    if method in ("DELETE", "POST"):
        return 204, None
    return 404, {"message": "No such thing"}


def serve(connection):
    reader = connection.makefile("rb")
    try:
        method, target, _ = reader.readline().decode().split(" ", 2)
        length = 0
        while (line := reader.readline().strip()):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        body = reader.read(length)
        parts = urlsplit(target)
        path = re.sub(r"^/v1\.\d+", "", parts.path)
        if TEXT in path:
            ANSWERS[NAME](connection.sendall)
        else:
            status, value = answer(method, path, parse_qs(parts.query), body)
            text = b"" if value is None else json.dumps(value).encode()
            # 204 has no body, nor a length of one.
            if status == 204:
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            else:
                whole(connection.sendall, text, b"%d X" % status)
    except (OSError, ValueError):
        pass
    finally:
        connection.close()


if os.path.exists(PATH):
    os.unlink(PATH)
os.umask(0)
listener = socket.socket(socket.AF_UNIX)
listener.bind(PATH)
listener.listen(64)


def accept():
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=[connection], daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
print("listening", flush=True)
sys.stdin.read()
os.unlink(PATH)
