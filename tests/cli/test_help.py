"""The help, the man page and the command table say the same."""
import re
import subprocess

import pytest


def rows(text):
    """The names in the list that `changeover help` prints."""
    return re.findall(r"^  ([a-z][a-z-]*) {2,}\S", text, re.M)


@pytest.fixture(scope="module")
def commands(tool):
    r = tool("help")
    assert r.returncode == 0, r.stderr
    return rows(r.stdout)


@pytest.fixture(scope="module")
def man(root):
    return (root / "man/changeover.1.scd").read_text()


@pytest.fixture(scope="module")
def man_sections(man):
    """{'prepare': prose} from the COMMANDS part of the source."""
    part = re.search(r"^# COMMANDS\n(.*?)(?=^# )", man, re.M | re.S).group(1)
    pieces = re.split(r"^## (.+)\n", part, flags=re.M)[1:]
    return {name.strip(): text.strip() for name, text in zip(pieces[::2], pieces[1::2])}


@pytest.fixture(scope="module")
def page(root, build):
    """The man page's text with the options of the tool filled in, before scdoc."""
    r = subprocess.run([root / "scripts/man-page", "--scd", build / "src/changeover", root / "man/changeover.1.scd"],
                       capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    return r.stdout


def options_of(help_text):
    """The row's own long options, from its help (what stands before the global options)."""
    own = help_text.split("global options:")[0]
    return re.findall(r"^  (?:-\w, |    )--([a-z-]+)", own, re.M)


def test_every_command_explains_itself(tool, commands):
    assert {"help", "version"} <= set(commands)
    for name in commands:
        r = tool("help", name)
        assert r.returncode == 0, (name, r.stderr)
        assert r.stdout.startswith(f"usage: changeover {name}"), name
        if name not in ("help",):
            assert tool(name, "--help").stdout == r.stdout, name


def test_every_command_is_in_the_man_page(commands, man_sections):
    missing = [c for c in commands if len(man_sections.get(c, "")) < 15]
    assert not missing, f"man/changeover.1.scd has no section for {missing}"


def test_the_man_page_invents_no_command(commands, man_sections):
    if "prepare" not in commands:
        pytest.skip("the upgrade commands are not built in yet")
    assert sorted(set(man_sections) - set(commands)) == []


def test_every_option_is_in_the_man_page(tool, commands, man, page):
    for c in commands:
        section = re.search(rf"^## {c}\n(.*?)(?=^##? )", page, re.M | re.S).group(1)
        for o in options_of(tool("help", c).stdout):
            assert re.search(rf"^\*(-\w, )?--{o}\*.*\n\t\S", section, re.M), f"{c} --{o}"
    own = tool("help", "version").stdout.split("global options:")[1]
    missing = [o for o in re.findall(r"--([a-z-]+)", own) if f"--{o}" not in man]
    assert not missing, f"man/changeover.1.scd does not mention {missing}"


def test_the_man_page_invents_no_option(tool, commands, man_sections):
    global_options = set(re.findall(r"--([a-z-]+)", tool("help", "version").stdout))
    for name in set(man_sections) & set(commands):
        said = set(re.findall(r"\*(?:\w+ )?--([a-z-]+)", man_sections[name]))
        known = {o for c in commands for o in options_of(tool("help", c).stdout)} | global_options
        assert said <= known, f"man: {name} names {sorted(said - known)}, which no command has"


def test_the_exit_statuses_are_in_both(tool, man):
    text = tool("help").stdout
    table = dict(re.findall(r"^\*(\d)\*\n\t(.+)$", man, re.M))
    assert set(table) == set("012345")
    for status in table:
        assert re.search(rf"\b{status} \w", text), f"exit status {status} is not in the help"


@pytest.mark.parametrize("args", [["--no-such-option"], ["version", "--no-such-option"], ["no-such-command"],
                                  ["help", "no-such-command"], ["version", "too", "many"], ["-o", "yaml", "version"]])
def test_a_wrong_command_line_ends_with_2(tool, args):
    r = tool(*args)
    assert r.returncode == 2
    assert r.stdout == "" and r.stderr.startswith("changeover: ")


def test_the_man_page_renders(page):
    out = subprocess.run(["scdoc"], input=page, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert ".TH" in out.stdout
    assert "scripts/man-page" not in page, "a note to the writer is not for the reader"
