"""docs/first-user.md leaves nothing out of the document that this project began with. With that document at
hand (CHANGEOVER_SEED, or beside the repository) it is read; without it, the quotes here must at least
be complete in themselves."""
import os
import pathlib
import re

import pytest

STATUSES = {"done", "differs", "not yet", "yours"}


@pytest.fixture(scope="module")
def doc(root):
    return (root / "docs/first-user.md").read_text()


@pytest.fixture(scope="module")
def rows(doc):
    """[(quote, status, what is here)] of the long table; `\\|` is a bar inside a cell."""
    found = []
    for line in doc.split("## All of it")[1].splitlines():
        cells = [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 3 and cells[0] not in ("seed", "---"):
            found.append(tuple(cells))
    return found


@pytest.fixture(scope="module")
def seed(root):
    path = pathlib.Path(os.environ.get("CHANGEOVER_SEED", root.parent / "shared/seed/blue-green-upgrades.md"))
    if not path.is_file():
        pytest.skip("the first user's document is not here (CHANGEOVER_SEED names it)")
    return path.read_text()


def parts(text):
    """Headings, lines of fenced blocks that name a language, numbered steps, bullets: each verbatim."""
    found, fence = [], None
    for line in text.splitlines():
        if line.startswith("```"):
            fence = line[3:] if fence is None else None
        elif fence is not None:
            if fence and line.strip():
                found.append(line.strip())
        elif re.match(r"#{1,4} |\d+\. |- |\*\*Spec", line):
            found.append(line)
    return found


def missing_from(rows, text):
    """Parts that no row quotes. Marks of markup in a quote do not count."""
    def bare(s):
        return re.sub(r"[`*\s]+", " ", s).strip()

    quoted = {bare(piece) for quote, _, _ in rows for piece in quote.split("<br>")}
    return [p for p in parts(text) if bare(p) not in quoted]


def test_every_heading_command_and_test_is_there(seed, rows):
    assert len(parts(seed)) > 150
    assert missing_from(rows, seed) == []


def test_every_row_has_a_status_and_an_answer(rows):
    assert len(rows) > 90
    assert {status for _, status, _ in rows} == STATUSES
    assert [quote for quote, _, answer in rows if len(answer) < 4] == []
    assert [quote for quote, status, answer in rows if status == "differs" and len(answer) < 20] == []


def test_what_is_promised_exists(rows, tool, root):
    """A command in a row that does not say 'not yet' is one that the tool has; a file is one that is there."""
    known = set(re.findall(r"^  ([a-z][a-z-]*) {2,}", tool("help").stdout, re.M))
    if "prepare" not in known:
        pytest.skip("the upgrade commands are not built in yet")
    promised = {c for _, status, answer in rows if status in ("done", "differs") and "not yet" not in answer
                for c in re.findall(r"`changeover ([a-z]+)", answer)}
    assert {"prepare", "promote", "rollback", "cleanup"} <= promised
    assert promised - known == set()
    for script in ("prepare", "promote", "rollback"):
        assert os.access(root / f"scripts/blue-green-{script}.sh", os.X_OK)


def test_a_hole_would_be_seen(rows):
    text = "## A heading of no document\n```bash\nkubectl apply -f nowhere.yaml\n```\n"
    assert missing_from(rows, text) == ["## A heading of no document", "kubectl apply -f nowhere.yaml"]
