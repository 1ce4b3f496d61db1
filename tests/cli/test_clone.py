"""`changeover clone` by itself: complete, refusing what is not its own, going on after an end."""
import json
import os

import pytest


@pytest.fixture
def src(tmp_path):
    d = tmp_path / "src"
    (d / "a" / "b").mkdir(parents=True)
    (d / "a" / "one").write_text("one")
    os.link(d / "a" / "one", d / "a" / "b" / "again")
    (d / "a" / "link").symlink_to("../nowhere")
    with open(d / "hole", "wb") as f:
        f.seek(5_000_000)
        f.write(b"end")
    os.utime(d / "a", ns=(1_000_000_123, 2_000_000_456))
    os.utime(d, ns=(3_000_000_123, 4_000_000_456))
    return d


def test_everything_arrives(tool, src, tmp_path):
    dst = tmp_path / "dst"
    r = tool("clone", src, dst, "--copy", "--verify", "-o", "json")
    assert r.returncode == 0, r.stderr
    j = json.loads(r.stdout)
    assert (j["files"], j["links"], j["symlinks"], j["verified"]) == (2, 1, 1, True)
    assert (dst / "a" / "one").samefile(dst / "a" / "b" / "again")
    assert os.readlink(dst / "a" / "link") == "../nowhere"
    assert (dst / "hole").stat().st_size == 5_000_003 and (dst / "hole").stat().st_blocks * 512 < 1_000_000
    assert dst.stat().st_mtime_ns == 4_000_000_456 and (dst / "a").stat().st_mtime_ns == 2_000_000_456
    assert not (dst / ".changeover").exists()


def test_what_is_there_is_kept(tool, src, tmp_path):
    dst = tmp_path / "dst"
    dst.mkdir()
    (dst / "mine").write_text("precious")
    for more in ((), ("--resume",)):
        r = tool("clone", src, dst, *more)
        assert r.returncode == 1 and "'mine'" in r.stderr
    assert [p.name for p in dst.iterdir()] == ["mine"]


def test_an_interrupted_one_is_gone_on_with(tool, src, tmp_path):
    dst = tmp_path / "dst"
    env = {**os.environ, "CHANGEOVER_FAULT": "kill@clone/entry"}
    r = tool("clone", src, dst, "--copy", env=env)
    assert r.returncode != 0 and (dst / ".changeover").exists()
    other = tmp_path / "other"
    other.mkdir()
    r = tool("clone", other, dst, "--resume")
    assert r.returncode == 1 and "marked as" in r.stderr
    for more in (("--resume",), ()):
        if not dst.exists():
            assert tool("clone", src, dst, env=env).returncode != 0
        r = tool("clone", src, dst, "--verify", *more)
        assert r.returncode == 0, r.stderr
        assert (dst / "a" / "b" / "again").read_text() == "one" and not (dst / ".changeover").exists()
        os.system(f"rm -rf '{dst}'")


@pytest.mark.parametrize("args", [("--reflink", "--copy"), ("--threads", "0"), ("--threads", "x")])
def test_wrong_options_are_refused(tool, src, tmp_path, args):
    r = tool("clone", src, tmp_path / "dst", *args)
    assert r.returncode == 2 and not (tmp_path / "dst").exists()


def test_one_inside_the_other_is_refused(tool, src):
    assert tool("clone", src, src / "a" / "new").returncode == 2
    assert not (src / "a" / "new").exists()
