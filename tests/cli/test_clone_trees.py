"""`changeover clone` over trees that have everything a file system can hold, and over sources that do not stand still."""
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import pytest

from conftest import BUILD
from lib import trees
from lib.loopdev import LoopDevice
from lib.peak import Peak
from lib.waiting import wait_for

TOOL = BUILD / "src" / "changeover"
LARGE = bool(os.environ.get("CHANGEOVER_LARGE"))        # a million names in one directory, not 50,000
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes such files")

# user::rw- user:1234:r-- group::r-- mask::r-- other::---, and a default one, as the kernel stores them
ACL = struct.pack("<I" + "HHI" * 5, 2, 1, 6, 0xffffffff, 2, 4, 1234, 4, 4, 0xffffffff, 16, 4, 0xffffffff, 32, 0, 0xffffffff)
# CAP_NET_BIND_SERVICE, permitted and effective (struct vfs_cap_data, revision 2)
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


@pytest.fixture
def tmpfs():
    place = tempfile.mkdtemp(prefix="changeover-trees-", dir="/dev/shm")
    yield pathlib.Path(place)
    trees.unlock(place)
    shutil.rmtree(place)


@pytest.fixture(params=["tmpfs --copy", "xfs --copy", "xfs --reflink", "ext4 --copy"])
def place(request):
    """(an empty directory, how to clone on it)"""
    kind, how = request.param.split()
    if kind == "tmpfs":
        yield request.getfixturevalue("tmpfs"), how
        return
    with LoopDevice(400, kind) as disk:
        yield disk.path, how
        trees.unlock(disk.path)


def everything(src):
    src.mkdir()
    top = os.fsencode(src)
    for name in (b"new\nline", b"\xff\xfe not utf-8", b"x" * 255, b" ", b"-rf", b"..."):
        pathlib.Path(os.fsdecode(top + b"/" + name)).write_bytes(name)
    for name in ("of nobody known", "setuid", "capable", "acl", "attributes", "first", "immutable", "append-only", "locked-first"):
        (src / name).write_bytes(name.encode() * 300)
    os.chown(src / "of nobody known", 123456, 654321)
    os.chown(src / "setuid", 1234, 4321)
    os.chmod(src / "setuid", 0o6711)
    os.setxattr(src / "capable", "security.capability", CAPABILITY)
    os.setxattr(src / "acl", "system.posix_acl_access", ACL)
    for key in ("user.note", "trusted.note", "security.note"):
        os.setxattr(src / "attributes", key, b"a\0b" * 100)
    os.symlink("nowhere", src / "link")
    os.setxattr(src / "link", "trusted.of-the-link", b"1", follow_symlinks=False)
    os.lchown(src / "link", 77, 88)
    folder = src / "folder"
    folder.mkdir()
    os.setxattr(folder, "system.posix_acl_default", ACL)
    os.setxattr(folder, "trusted.note", b"x")
    (folder / "in it").write_text("its own mode, not the default's")
    os.chmod(folder / "in it", 0o604)
    os.link(src / "first", folder / "second")
    os.link(src / "first", src / "third")
    os.link(src / "locked-first", folder / "locked-second")
    with open(src / "holes", "wb") as f:
        f.seek(3_000_000)
        f.write(b"middle")
        f.truncate(9_000_000)
    (src / "empty").touch()
    os.mkfifo(src / "fifo", 0o620)
    os.mknod(src / "null", 0o640 | 0o020000, os.makedev(1, 3))
    os.mknod(src / "disk", 0o600 | 0o060000, os.makedev(7, 200))
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(src / "s"))
    (src / "sticky").mkdir()
    os.chmod(src / "sticky", 0o3777)
    (src / "shut").mkdir()
    (src / "shut" / "locked").mkdir()
    (src / "shut" / "locked" / "f").write_text("in an immutable directory")
    for i, name in enumerate(("empty", "first", "folder", "link", "fifo", "null", "sticky", "shut/locked")):
        os.utime(src / name, ns=(-5_000_000_001 + i, 1_234_567_890_123_456_789 - i * 10**18 // 3), follow_symlinks=False)
    os.chmod(src / "shut", 0)
    os.utime(src, ns=(1, 999_999_999))
    trees.set_flags(src / "immutable", trees.IMMUTABLE)
    trees.set_flags(src / "append-only", trees.APPEND)
    trees.set_flags(src / "locked-first", trees.IMMUTABLE)
    trees.set_flags(src / "shut/locked", trees.IMMUTABLE)


@root
def test_everything_that_a_file_can_have(tool, place):
    where, how = place
    try:
        everything(where / "src")
    except OSError as e:
        if e.errno not in (95, 25):     # a kernel whose tmpfs has no such attribute or flag
            raise
        pytest.skip(f"not here: {e}")
    r = tool("clone", where / "src", where / "dst", how, "--verify")
    assert r.returncode == 0, r.stderr
    trees.assert_same(where / "src", where / "dst")
    assert os.stat(where / "dst" / "immutable").st_nlink == 1 and not (where / "dst" / "s").exists()


@root
def test_what_is_locked_is_gone_on_with_and_begun_anew(tool, tmpfs):
    """A clone that was killed may hold files that nobody may write to or remove."""
    src, dst = tmpfs / "src", tmpfs / "dst"
    src.mkdir()
    for i in range(300):
        (src / f"{i % 3}" / "sub").mkdir(parents=True, exist_ok=True)
        (src / f"{i % 3}" / "sub" / f"{i}").write_text(f"{i}")
        trees.set_flags(src / f"{i % 3}" / "sub" / f"{i}", trees.IMMUTABLE)
    trees.set_flags(src / "1" / "sub", trees.APPEND)
    for more in (("--resume",), ()):
        process = subprocess.Popen([TOOL, "clone", src, dst, "--copy", "-q", "--rate-limit", "2kB"], stderr=subprocess.PIPE)
        wait_for(lambda: len([p for p in dst.rglob("*") if p.is_file()]) > 200, "some of them to be there", 20)
        process.kill()
        process.communicate()
        r = tool("clone", src, dst, "--copy", *more)
        assert r.returncode == 0, r.stderr
        trees.assert_same(src, dst)
        trees.unlock(dst)
        shutil.rmtree(dst)


@pytest.mark.parametrize("name", [b"d", b"n" * 20], ids=["short names", "paths of 20 kB"])
def test_a_thousand_directories_deep(tool, tmp_path, name):
    src, dst = tmp_path / "src", tmp_path / "dst"
    src.mkdir()
    try:
        fd = os.open(src, os.O_RDONLY)
        for i in range(1000):
            os.mkdir(name, dir_fd=fd)
            own = os.open(b"f", os.O_WRONLY | os.O_CREAT, dir_fd=fd)
            os.write(own, b"%d" % i)
            os.close(own)
            below = os.open(name, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(fd)
        r = tool("clone", src, dst, "--copy", "--verify")
        assert r.returncode == 0, r.stderr
        trees.assert_same(src, dst)
    finally:
        subprocess.run(["rm", "-rf", src, dst], check=True)


def test_many_names_in_one_directory(sanitized):
    """With bounded memory, and each once."""
    count = 1_000_000 if LARGE else 50_000
    place = pathlib.Path(tempfile.mkdtemp(prefix="changeover-names-", dir="/dev/shm" if not LARGE else None))
    try:
        (place / "src").mkdir()
        fd = os.open(place / "src", os.O_RDONLY)
        for i in range(count):
            os.close(os.open(f"a name that is rather long, for a file of no size at all, number {i}", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
        os.close(fd)
        clone = Peak([TOOL, "clone", place / "src", place / "dst", "--copy", "-q"])
        assert clone.returncode == 0 and f"{count} files" in clone.out, clone.out
        names = set(os.listdir(place / "dst"))
        assert len(names) == count and names == set(os.listdir(place / "src"))
        print(f"{count:,} names in one directory: {clone.bytes / 1e6:.0f} MB, {clone.seconds:.1f} s")
        assert sanitized or 0 < clone.bytes < 64e6
    finally:
        shutil.rmtree(place)


# ---- sources that do not stand still ----

@pytest.fixture
def slow(tmp_path):
    """A clone that takes its time over ten files of 200 kB, begun when it is called: (process, src, dst)."""
    src, dst = tmp_path / "src", tmp_path / "dst"
    src.mkdir()
    for i in range(10):
        (src / f"{i}").write_bytes(os.urandom(200_000))
    started = []

    def start(*more, rate="400kB"):
        started.append(subprocess.Popen([TOOL, "clone", src, dst, "--copy", "--threads", "1", "--rate-limit", rate, *more],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        wait_for(lambda: dst.is_dir() and any(p.stat().st_size for p in dst.glob("?")), "the first bytes", 20)
        return started[-1], src, dst

    yield start
    for process in started:
        process.kill()
        process.communicate()


def untouched(src, dst):
    """A file that the clone has not come to."""
    return next(p for p in sorted(src.iterdir(), reverse=True) if not (dst / p.name).exists())


def at_work(src, dst):
    """The one that it is at: there, and its times are not yet the source's."""
    def found():
        return [p for p in src.iterdir() if (dst / p.name).exists() and (dst / p.name).stat().st_mtime_ns != p.stat().st_mtime_ns]
    return src / wait_for(found, "a file to be at work", 20)[0].name


def test_what_vanishes_is_said_or_left_out(slow):
    process, src, dst = slow()
    gone = untouched(src, dst)
    gone.unlink()
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "vanished meanwhile: somebody writes to the source" in said and gone.name in said, said
    shutil.rmtree(dst)
    process, src, dst = slow("--live")
    also_gone = untouched(src, dst)
    also_gone.unlink()
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert not (dst / also_gone.name).exists() and len(list(dst.iterdir())) == 8


@pytest.mark.parametrize("change", ["grows", "shrinks", "is overwritten"])
def test_what_changes_while_it_is_copied_is_said_or_taken_as_it_is(slow, change):
    def disturb(path):
        with path.open("r+b") as f:
            f.truncate(100_000) if change == "shrinks" else f.seek(0, 2 if change == "grows" else 0)
            f.write(b"more" * 1000)
        return path

    for live in ((), ("--live",)):
        process, src, dst = slow(*live, rate="50kB")
        changed = disturb(at_work(src, dst))
        if live:
            wait_for(lambda: (dst / changed.name).stat().st_mtime_ns == at_begin(changed, dst), "the file to be done", 60)
            process.terminate()
        said = process.communicate(timeout=60)[1]
        if live:
            assert "somebody writes" not in said, said
        else:
            assert process.returncode == 1 and "somebody writes to the source" in said and changed.name in said, said
        shutil.rmtree(dst)


def at_begin(changed, dst):
    """Once the times are set they are no longer of the moment in which the clone's file was written."""
    now = (dst / changed.name).stat()
    return now.st_mtime_ns if now.st_ctime_ns - now.st_mtime_ns > 10**8 else 0


# ---- ends in the middle ----

@pytest.mark.parametrize("how, status", [(signal.SIGKILL, -9), (signal.SIGINT, 3), (signal.SIGTERM, 3)])
def test_ended_in_the_middle_it_is_gone_on_with(tool, slow, how, status):
    process, src, dst = slow()
    wait_for(lambda: len(list(dst.glob("?"))) > 3, "some files", 20)
    process.send_signal(how)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == status, said
    assert how == signal.SIGKILL or "with --resume it goes on" in said, said
    done = {p.name: p.stat().st_ino for p in dst.glob("?") if p.stat().st_mtime_ns == (src / p.name).stat().st_mtime_ns}
    assert len(done) >= 2
    r = tool("clone", src, dst, "--copy", "--resume", "--verify")
    assert r.returncode == 0 and re.search(r"verified, xxh3 [0-9a-f]{32}\n", r.stdout), r.stderr + r.stdout
    trees.assert_same(src, dst)
    assert {name: (dst / name).stat().st_ino for name in done} == done       # not made again


@root
def test_a_full_disk_in_the_middle(tool):
    with LoopDevice(60) as disk:
        src, dst = disk.path / "src", disk.path / "dst"
        src.mkdir()
        for i in range(20):
            (src / f"{i}").write_bytes(os.urandom(1_000_000))
        (disk.path / "filler").write_bytes(os.urandom(20_000_000))
        r = tool("clone", src, dst, "--copy")
        assert r.returncode == 1 and "No space left on device" in r.stderr and "free" in r.stderr, r.stderr
        assert (dst / ".changeover").exists()
        (disk.path / "filler").unlink()
        r = tool("clone", src, dst, "--copy", "--resume", "--verify")
        assert r.returncode == 0, r.stderr
        trees.assert_same(src, dst)


# ---- refusals ----

def test_reflink_is_refused_before_anything_is_made(tool, tmpfs):
    (tmpfs / "src").mkdir()
    (tmpfs / "src" / "f").write_text("f")
    r = tool("clone", tmpfs / "src", tmpfs / "dst", "--reflink")
    assert r.returncode == 1 and "tmpfs cannot reflink" in r.stderr and "--copy" in r.stderr, r.stderr
    assert not (tmpfs / "dst").exists()


@root
def test_a_directory_that_may_not_be_read_is_named():
    place = pathlib.Path(tempfile.mkdtemp(prefix="changeover-nobody-"))
    try:
        shutil.copy(TOOL, place / "changeover")
        os.chmod(place, 0o777)
        (place / "src" / "shut").mkdir(parents=True)
        os.chmod(place / "src" / "shut", 0o700)
        done = subprocess.run([place / "changeover", "clone", place / "src", place / "dst"], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60, user=65534, group=65534, extra_groups=[])
        assert done.returncode == 1 and "/src/shut'" in done.stderr and "as root" in done.stderr and "Permission denied" in done.stderr, done.stderr
    finally:
        shutil.rmtree(place)


@root
def test_another_mount_inside_is_refused_and_named(tool, tmp_path):
    (tmp_path / "src" / "inside").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path / "src" / "inside"], check=True)
    try:
        r = tool("clone", tmp_path / "src", tmp_path / "dst", "--copy")
        assert r.returncode == 1 and "'inside' is a mount point" in r.stderr, r.stderr
        r = tool("clone", tmp_path / "src", tmp_path / "dst", "--copy", "--exclude", "inside")
        assert r.returncode == 0, r.stderr
    finally:
        subprocess.run(["umount", tmp_path / "src" / "inside"], check=True)


def test_limits_are_kept_and_asked_for_in_numbers(tool, slow, tmp_path):
    began = time.monotonic()
    process, src, dst = slow("--max-pressure", "100", rate="1MB")
    assert process.communicate(timeout=60)[1] is not None and process.returncode == 0
    assert time.monotonic() - began > 1.5       # 2 MB
    for wrong in (("--rate-limit", "fast"), ("--rate-limit", "0"), ("--max-pressure", "0"), ("--max-pressure", "101")):
        r = tool("clone", src, tmp_path / "never", *wrong)
        assert r.returncode == 2 and wrong[0] in r.stderr and not (tmp_path / "never").exists(), r.stderr
