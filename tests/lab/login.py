"""The registry's login: asks moto for the token that ECR would give, and checks that the registry takes it.

login.py login MOTO REGION HTPASSWD_FILE
login.py check MOTO REGION ADDRESS HOST CA_FILE

The token itself is written nowhere: the tests look for it on every disk.
"""

import base64
import http.client
import json
import os
import socket
import ssl
import sys
import urllib.request

import bcrypt


def write_private(path, text):
    new = f"{path}.new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(new, path)


def token(moto, region):
    """The user's name and the password, joined by a colon."""
    request = urllib.request.Request(
        moto,
        data=b"{}",
        headers={
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
            # moto reads the service and the region out of the scope and does not check the signature.
            "Authorization": "AWS4-HMAC-SHA256 "
            f"Credential=slipway-lab/20250101/{region}/ecr/aws4_request, SignedHeaders=host, Signature=0",
        },
    )
    # No proxy of the environment's may come between us and our loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        encoded = json.load(answer)["authorizationData"][0]["authorizationToken"]
    return base64.b64decode(encoded).decode()


def login(moto, region, htpasswd_file):
    user_password = token(moto, region)
    user, password = user_password.split(":", 1)
    try:
        with open(htpasswd_file) as file:
            there, hashed = file.read().strip().split(":", 1)
        if there == user and bcrypt.checkpw(password.encode(), hashed.encode()):
            return
    except (FileNotFoundError, ValueError):
        pass
    # The registry checks it again with every request, so the cheapest cost there is.
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()
    # Go's bcrypt reads $2a$ and $2b$ alike. The registry notices by itself that the file has changed.
    write_private(htpasswd_file, f"{user}:{hashed}\n")


def check(moto, region, address, host, ca_file):
    credentials = base64.b64encode(token(moto, region).encode()).decode()
    context = ssl.create_default_context(cafile=ca_file)
    with socket.create_connection((address, 443), timeout=5) as plain:
        with context.wrap_socket(plain, server_hostname=host) as secure:
            secure.sendall(
                f"GET /v2/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {credentials}\r\nConnection: close\r\n\r\n".encode()
            )
            answer = http.client.HTTPResponse(secure)
            answer.begin()
            if answer.status != 200:
                sys.exit(f"the registry answers {answer.status} to moto's token")


if __name__ == "__main__":
    {"login": login, "check": check}[sys.argv[1]](*sys.argv[2:])
