"""The report: one page that needs nothing else, with everything in it, whatever the texts are."""
import json
import re
import sqlite3
import subprocess
from html.parser import HTMLParser

import pytest

from lib.service import Service

VOID = {"meta", "br", "wbr", "col", "line", "rect", "polyline"}
GET_SLOT = '{"jsonrpc":"2.0","id":1,"method":"getSlot","params":[]}'


class Page(HTMLParser):
    """Every tag closed in its turn; its text, tags and attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *a) for a in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *a) for a in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)


def check(text):
    page = Page(text)
    assert "script" not in page.tags and "link" not in page.tags and "img" not in page.tags
    assert not [a for a in page.attributes if a[1] in ("src", "href", "xlink:href", "data") or a[1].startswith("on")]
    style = re.search(r"<style>(.*?)</style>", text, re.S).group(1)
    assert "url(" not in style and "@import" not in style
    assert not re.search(r"https?://", re.sub(r">[^<]*<", "><", text))
    return page


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service that has been upgraded once, and what a probe saw of it."""
    with Service(files=5, size="64K") as s:
        s.start()
        s.probe_file = s.dir / "probe.json"
        with open(s.probe_file, "w") as out:
            p = subprocess.Popen(s.argv("probe", f"http://127.0.0.1:{s.front_port}/", "--rate", "200", "--until-promoted",
                                        "-o", "json", "--series", "100ms", "--data", GET_SLOT), stdout=out)
            try:
                s.run("prepare", "-t", "2.0.0", "--reason", "a <b>good</b> one")
                s.run("promote")
                assert p.wait(20) == 0
            finally:
                p.kill()
                p.wait()
        s.upgrade = json.loads(s.run("history", "-o", "json").stdout)[0]["id"]
        yield s


def journal(service):
    return sqlite3.connect(service.dir / "state" / service.name / "journal.db")


def test_it_tells_everything(service, tmp_path):
    to = tmp_path / "page.html"
    r = service.run("report", service.upgrade, "--to", to, "--probe", service.probe_file)
    assert str(to) in r.stdout and r.stderr == ""
    page = check(to.read_text())
    db = journal(service)
    steps = [row[0] for row in db.execute("select step from steps where upgrade=?", (service.upgrade,))]
    assert len(steps) > 10 and [s for s in steps if s not in page.text] == []
    results = [row[0] for row in db.execute("select result from steps where upgrade=?", (service.upgrade,)) if row[0]]
    assert [x for x in results if re.sub(r"\s+", " ", x) not in page.text] == []
    for word in ("green 1.0.0", "blue 2.0.0", service.upgrade, "a <b>good</b> one", "flip to blue", "promoted"):
        assert word in page.text, word
    sent = json.loads(service.probe_file.read_text())["sent"]
    data = page.text.split("The data")[1].split("Failures and warnings")[0]
    assert re.search(r"volume ledger: \d+ files, [\d.]+ .?B in [\d.]+ m?s, [\d.]+ .?B/s", data), "what was cloned and how fast"
    assert page.text.rstrip().endswith(f"{sent} requests sent, {sent} answered, 0 lost.")


def test_without_a_name_it_is_the_newest_and_goes_to_stdout(service):
    page = check(service.run("report").stdout)
    assert service.upgrade in page.text and "What users saw" not in page.text


def test_hostile_texts_and_a_long_failed_upgrade(service):
    evil = "</td><script>alert(1)</script>\x1b[31m \" onload='x' http://example.invalid/"
    with journal(service) as db:
        db.execute("insert into upgrades(id, state, from_colour, to_colour, version_from, version_to, created, ended, outcome,"
                   " reason) values('evil', 'steady', 'green', 'blue', ?, ?, 1, 2000000000, 'rolled back', ?)", (evil,) * 3)
        for i in range(300):
            db.execute("insert into steps values('evil', ?, ?, ?, ?, ?, ?)", (f"prepare/{i}-{evil}", i % 4, i, i * 10**12, 0, evil))
            db.execute("insert into events values(?, 'evil', ?, ?, ?)", (i * 10**12, i % 10, f"prepare/{i}-{evil}", evil * 5))
    text = service.run("report", "evil").stdout
    page = check(text)
    assert "alert(1)" in page.text and "\x1b" not in text and "rolled back" in page.text
    assert all(f"prepare/{i}-" in page.text for i in range(300))


@pytest.mark.parametrize("content, status, word", [
    ("no json", 2, "is not what a probe writes"), ("[1]", 2, "has no 'sent'"), (None, 1, "probe.json")])
def test_a_file_that_no_probe_wrote(service, tmp_path, content, status, word):
    path = tmp_path / "probe.json"
    if content:
        path.write_text(content)
    r = service.run("report", "--probe", path, expect=status)
    assert word in r.stderr and r.stdout == ""


def test_an_upgrade_that_is_not_there(service):
    r = service.run("report", "20200101-000000-0000", expect=1)
    assert "20200101-000000-0000" in r.stderr and "changeover history" in r.stderr
