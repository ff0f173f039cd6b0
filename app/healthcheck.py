"""The image's HEALTHCHECK: asks /health of this container and exits 0 or 1.

It uses the standard library alone: a slim base image has no curl. What it
prints is kept by Docker and shown by `docker inspect`.
"""

import http.client
import os
import sys

TIMEOUT_SECONDS = 2


def probe(port: int) -> tuple[bool, str]:
    """Whether /health on loopback answers 200, and a line that says what it answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        body = answer.read(1000).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return False, f"no answer on port {port}: {error}"
    finally:
        connection.close()
    return answer.status == 200, f"{answer.status} {body}"


if __name__ == "__main__":
    healthy, line = probe(int(os.environ.get("APP_PORT") or 5000))
    print(line)
    sys.exit(0 if healthy else 1)
