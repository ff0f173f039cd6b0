"""The registry's login: asks moto for the token that ECR would give, and checks that the registry takes it.

login.py login MOTO REGION LOGIN_FILE HTPASSWD_FILE
login.py check ADDRESS HOST CA_FILE LOGIN_FILE
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


def login(moto, region, login_file, htpasswd_file):
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
        token = json.load(answer)["authorizationData"][0]["authorizationToken"]
    user_password = base64.b64decode(token).decode()
    try:
        with open(login_file) as file:
            if file.read() == user_password and os.path.exists(htpasswd_file):
                return
    except FileNotFoundError:
        pass
    user, password = user_password.split(":", 1)
    # The registry checks it again with every request, so the cheapest cost there is.
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()
    # Go's bcrypt reads $2a$ and $2b$ alike. The registry notices by itself that the file has changed.
    write_private(htpasswd_file, f"{user}:{hashed}\n")
    write_private(login_file, user_password)


def check(address, host, ca_file, login_file):
    with open(login_file) as file:
        credentials = base64.b64encode(file.read().encode()).decode()
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
