"""The whole state of a tree of files: what a clone must have the same. Names are bytes, and a path may be longer than the
kernel takes at once."""
import collections
import fcntl
import hashlib
import os
import stat
import struct

GETFLAGS, SETFLAGS = 0x80086601, 0x40086602     # FS_IOC_*
IMMUTABLE, APPEND = 0x10, 0x20

Entry = collections.namedtuple("Entry", "type mode owner size mtime device target attributes flags contents sparse linked_with")


def flags(fd):
    buf = bytearray(8)
    try:
        fcntl.ioctl(fd, GETFLAGS, buf)
    except OSError:
        return 0
    return struct.unpack("<q", buf)[0] & (IMMUTABLE | APPEND)


def set_flags(path, value):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        buf = bytearray(8)
        fcntl.ioctl(fd, GETFLAGS, buf)
        old = struct.unpack("<q", buf)[0] & ~(IMMUTABLE | APPEND)
        fcntl.ioctl(fd, SETFLAGS, struct.pack("<q", old | value))
    finally:
        os.close(fd)


def _attributes(fd, name):
    path = b"/proc/self/fd/%d/%s" % (fd, name)
    return {k: os.getxattr(path, k, follow_symlinks=False) for k in os.listxattr(path, follow_symlinks=False)}


def _contents(fd):
    digest = hashlib.sha256()
    while block := os.read(fd, 1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _entry(fd, name):
    st = os.stat(name, dir_fd=fd, follow_symlinks=False)
    kind = stat.S_IFMT(st.st_mode)
    own_flags, contents = 0, ""
    if kind in (stat.S_IFREG, stat.S_IFDIR):
        own = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOATIME, dir_fd=fd)
        try:
            own_flags = flags(own)
            contents = _contents(own) if kind == stat.S_IFREG else ""
        finally:
            os.close(own)
    return st, Entry(kind, stat.S_IMODE(st.st_mode), (st.st_uid, st.st_gid), st.st_size if kind == stat.S_IFREG else 0, st.st_mtime_ns,
                     st.st_rdev, os.readlink(name, dir_fd=fd) if kind == stat.S_IFLNK else b"", _attributes(fd, name), own_flags, contents,
                     kind == stat.S_IFREG and st.st_blocks * 512 < st.st_size // 2, None)


def state(top, sockets=True):
    """{path below top: Entry}, the top itself as b"". sockets: they count, too."""
    out, inodes = {}, collections.defaultdict(list)

    def visit(fd, path):
        for name in sorted(os.listdir(fd)):
            name = os.fsencode(name)
            st, entry = _entry(fd, name)
            full = path + b"/" + name if path else name
            if entry.type == stat.S_IFSOCK and not sockets:
                continue
            out[full] = entry
            if entry.type == stat.S_IFDIR:
                todo.append((os.open(name, os.O_RDONLY | os.O_NOATIME, dir_fd=fd), full))
            else:
                inodes[st.st_dev, st.st_ino].append(full)

    fd = os.open(top, os.O_RDONLY | os.O_NOATIME)
    st, out[b""] = _entry(fd, b".")
    todo = [(fd, b"")]
    while todo:
        fd, path = todo.pop()
        try:
            visit(fd, path)
        finally:
            os.close(fd)
    for names in inodes.values():
        for name in names:
            out[name] = out[name]._replace(linked_with=tuple(sorted(names)))
    return out


def assert_same(src, dst):
    a, b = state(src, sockets=False), state(dst)
    assert sorted(a) == sorted(b)
    for path in a:
        assert a[path] == b[path], path


def unlock(top):
    """Takes every flag off, so that it can be removed."""
    for folder, _, files in os.walk(os.fsencode(top)):
        for path in [folder, *(os.path.join(folder, f) for f in files)]:
            if stat.S_IFMT(os.lstat(path).st_mode) in (stat.S_IFREG, stat.S_IFDIR):
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                locked = flags(fd)
                os.close(fd)
                if locked:
                    set_flags(path, 0)
