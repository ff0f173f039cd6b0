"""The application with one more route, whose request lasts as long as a test wants."""

import os
import time
from pathlib import Path

from webapp import create_app

app = create_app()
handshake = Path(os.environ["SLOW_HANDSHAKE_DIR"])


@app.get("/slow")
def slow():
    (handshake / "started").touch()
    while not (handshake / "release").exists():
        time.sleep(0.01)
    return "finished\n"
