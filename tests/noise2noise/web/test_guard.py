"""Who may ask, and what a page may load."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import noise2noise.web
from noise2noise.web.guard import TOKEN_HEADER, hosts_for, is_loopback

STATIC = Path(noise2noise.web.__path__[0]) / "static"
PLACEHOLDER = re.compile(r"\{(\w+)\}")


@pytest.mark.parametrize("token", ["", "another token", "a token that is long enough "])
def test_without_the_token_nothing_is_told(serve, token):
    client = serve()
    for path in ("/api/about", "/api/pages/x", "/api/nothing"):
        answer = client.get(path, headers={TOKEN_HEADER: token})
        assert answer.status_code == 401
        assert list(answer.json()) == ["error"]
    assert client.get("/api/about").status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1:8765", "",
     "127.0.0.1@evil.example", "[::1", "127.0.0.1:x", "localhost/x"],
)  # fmt: skip
def test_a_name_that_points_here_but_isnt_ours_is_refused(serve, host):
    client = serve()
    for path in ("/", "/static/app.js", "/api/about"):
        assert client.get(path, headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:8765", "LOCALHOST", "[::1]:80"])
def test_this_machine_is_known_by_all_its_names(serve, host):
    assert serve().get("/api/about", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_pages_of_other_sites_may_not_ask(serve, headers):
    client = serve()
    assert client.post("/api/pages", headers=headers).status_code == 403
    own = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}
    assert client.post("/api/pages", headers=own).status_code == 201


def test_a_server_for_others_takes_its_own_names_and_numbers_and_no_others(serve):
    client = serve(host="0.0.0.0")
    answers = [
        client.get("/", headers={"host": host}).status_code for host in ("10.0.0.1:80", "evil.test")
    ]
    assert answers == [200, 421]
    assert hosts_for("127.0.0.1") == {"localhost"}
    assert not is_loopback("0.0.0.0")


def test_the_page_may_load_nothing_but_its_own(serve):
    client = serve()
    for path in ("/", "/static/app.js", "/static/words/de.json", "/api/about", "/nothing"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert client.get(path).headers["x-content-type-options"] == "nosniff"


def test_the_page_names_no_other_place_and_holds_nothing_inline():
    for path in STATIC.rglob("*"):
        if path.suffix in (".html", ".js", ".css", ".json"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(https?:)?//[\w.-]+\.\w", text), path.name
            if path.suffix == ".html":
                assert not re.search(r"<script(?![^>]*src=)|<style|style=|\son\w+=", text), (
                    path.name
                )


@pytest.mark.parametrize("language", ["de", "fr", "zh"])
def test_every_language_says_all_that_english_says(language):
    english, other = (
        json.loads((STATIC / "words" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("en", language)
    )
    assert list(other) == list(english)
    for name, sentence in other.items():
        assert sentence.strip()
        assert set(PLACEHOLDER.findall(sentence)) == set(PLACEHOLDER.findall(english[name])), name


def test_no_sentence_is_said_that_isnt_written():
    said = set(json.loads((STATIC / "words" / "en.json").read_text(encoding="utf-8")))
    for path in [*STATIC.glob("*.js"), *STATIC.glob("*.html")]:
        text = path.read_text(encoding="utf-8")
        used = re.findall(r"""say\("([\w.]+)"|data-(?:say|label)="([\w.]+)\"""", text)
        assert {one or other for one, other in used} <= said, path.name


@pytest.mark.parametrize("path", ["/static/../server.py", "/static/%2e%2e/server.py"])
def test_nothing_but_the_page_is_handed_out(serve, path):
    assert serve().get(path).status_code == 404
