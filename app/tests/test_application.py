"""The two routes and the readiness checks, without a server."""

import errno
import tempfile

import pytest

from webapp import GREETING, create_app


def get(path, **environ):
    return create_app(environ).test_client().get(path)


def test_the_root_greets_and_tells_its_version():
    answer = get("/", APP_VERSION="1.2.3")
    assert answer.status_code == 200
    assert answer.json == {"message": GREETING, "version": "1.2.3"}


@pytest.mark.parametrize("environ", [{}, {"APP_VERSION": ""}])
def test_a_build_without_a_version_says_dev(environ):
    assert get("/health", **environ).json["version"] == "dev"


def test_health_is_ok_when_every_check_passes(tmp_path):
    answer = get("/health", APP_VERSION="7", APP_DATA_DIR=str(tmp_path))
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json == {
        "status": "ok",
        "version": "7",
        "checks": {"settings": "ok", "data_dir": "ok"},
    }
    assert list(tmp_path.iterdir()) == [], "the probe leaves nothing behind"


def test_a_missing_required_setting_makes_it_unavailable_and_is_named():
    answer = get(
        "/health",
        APP_VERSION="7",
        APP_REQUIRED_SETTINGS="DATABASE_URL, API_KEY MAIL_FROM",
        API_KEY="a-secret",
        MAIL_FROM="",
    )
    assert answer.status_code == 503
    assert answer.json == {
        "status": "unavailable",
        "version": "7",
        "checks": {"settings": "missing: DATABASE_URL, MAIL_FROM"},
    }


def test_readiness_follows_the_data_directory_as_it_comes_and_goes(tmp_path):
    data = tmp_path / "data"
    client = create_app({"APP_DATA_DIR": str(data)}).test_client()

    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json["checks"]["data_dir"] == (
        f"cannot write to {data}: No such file or directory"
    )

    data.mkdir()
    assert client.get("/health").status_code == 200

    data.rmdir()
    assert client.get("/health").status_code == 503


def test_a_full_disk_makes_it_unavailable(tmp_path, monkeypatch):
    class Full(tempfile.SpooledTemporaryFile):
        def flush(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: Full())
    answer = get("/health", APP_DATA_DIR=str(tmp_path))
    assert answer.status_code == 503
    assert "No space left on device" in answer.json["checks"]["data_dir"]
