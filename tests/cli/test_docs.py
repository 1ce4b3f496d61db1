"""What the documents point at exists: files, commands, make targets."""
import re

import pytest

DOCS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/first-user.md", "docs/zfs.md", "docs/btrfs.md", "docs/kubernetes.md"]


@pytest.fixture(scope="module")
def commands(tool):
    found = set(re.findall(r"^  ([a-z][a-z-]*) {2,}\S", tool("help").stdout, re.M))
    if "prepare" not in found:
        pytest.skip("the upgrade commands are not built in yet")
    return found


@pytest.mark.parametrize("name", DOCS)
def test_links_lead_somewhere(root, commands, name):
    text = (root / name).read_text()
    links = [t for t in re.findall(r"\]\(([^)#]+)", text) if "://" not in t]
    links += re.findall(r"(?<![\w/])((?:docs|examples|tests|scripts|src|man|data)/[\w./-]+\w/?)(?![\w*])", text)
    links = [t for t in links if not re.search(r"[A-Z]{4}", t) or t.endswith(".md")]
    missing = [t for t in links if not (root / name).parent.joinpath(t).exists() and not (root / t).exists()]
    assert missing == []


def test_the_readme_types_commands_that_exist(root, commands):
    typed = set(re.findall(r"^    changeover ([a-z-]+)", (root / "README.md").read_text(), re.M))
    assert typed and typed <= commands


def test_the_changelog_names_commands_that_exist(root, commands):
    added = re.search(r"from end to end: (.*?)\.\n", (root / "CHANGELOG.md").read_text(), re.S).group(1)
    named = {n for n in re.findall(r"`([a-z-]+)`", added) if not n.startswith("--")}
    assert named == commands - {"help", "version"}


def test_make_targets_exist(root):
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.M))
    for name in DOCS:
        named = set(re.findall(r"^    make ([a-z]+)|`make ([a-z]+)`", (root / name).read_text(), re.M))
        assert {a or b for a, b in named} <= targets, name
