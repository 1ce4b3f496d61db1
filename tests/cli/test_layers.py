"""The two rules that keep the map of ARCHITECTURE.md true, checked on what the compiler and the object
files say: a folder includes only what stands above it, and only src/sys makes system calls."""
import pathlib
import re
import subprocess

import pytest

LAYERS = ["base", "sys", "format", "net", "spec", "model", "plan", "translate", "clone", "probe",
          "driver", "journal", "engine", "observe", "cmd"]
RANK = {name: i for i, name in enumerate(LAYERS)}

# Functions of libc whose work is a system call that a caller would have to answer for: files, processes,
# sockets, time, identity. Buffered stdio, malloc, pthread and the libraries are not meant.
WRAPPERS = set("""
open openat openat2 creat close close_range closefrom read readv pread preadv preadv2 write writev pwrite pwritev
pwritev2 lseek sendfile splice tee vmsplice copy_file_range fallocate posix_fallocate fadvise posix_fadvise readahead
fsync fdatasync sync syncfs sync_file_range msync truncate ftruncate
stat lstat fstat fstatat statx xstat fxstat lxstat fxstatat statfs fstatfs statvfs fstatvfs access faccessat euidaccess eaccess
unlink unlinkat remove rename renameat renameat2 link linkat symlink symlinkat readlink readlinkat realpath canonicalize_file_name
mkdir mkdirat rmdir mknod mknodat mkfifo mkfifoat mkstemp mkostemp mkstemps mkostemps mkdtemp tmpfile
chdir fchdir getcwd get_current_dir_name chroot chmod fchmod fchmodat lchmod chown fchown lchown fchownat umask
utime utimes utimensat futimens futimes lutimes futimesat
getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr
opendir fdopendir readdir readdir_r closedir rewinddir scandir scandirat nftw ftw fts_open fts_read glob getdents
flock lockf fcntl ioctl dup dup2 dup3 pipe pipe2 isatty ttyname ttyname_r tcgetattr tcsetattr tcgetpgrp tcsetpgrp
select pselect poll ppoll epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd signalfd
timerfd_create timerfd_settime timerfd_gettime inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_init memfd_create
mmap munmap mremap mprotect madvise mlock mlock2 munlock mlockall munlockall shm_open shm_unlink
fork vfork _Fork clone execl execle execlp execv execve execvp execvpe execveat fexecve posix_spawn posix_spawnp
daemon wait waitpid waitid wait3 wait4 kill killpg tgkill raise sigqueue pidfd_open pidfd_send_signal _exit _Exit
signal sigaction sigprocmask sigsuspend sigwait sigwaitinfo sigtimedwait pause alarm ualarm
getpid getppid gettid getpgid getpgrp setpgid setpgrp getsid setsid
getuid geteuid getgid getegid getresuid getresgid getgroups setuid seteuid setgid setegid setreuid setregid setresuid setresgid
setgroups initgroups getgrouplist getlogin getlogin_r
getpriority setpriority nice sched_yield sched_setaffinity sched_getaffinity sched_setscheduler sched_setparam
getrlimit setrlimit prlimit getrusage times prctl ptrace personality unshare setns mount umount umount2 pivot_root reboot swapon swapoff
socket socketpair connect bind listen accept accept4 send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg shutdown
getsockopt setsockopt getsockname getpeername getaddrinfo gethostbyname getifaddrs if_nametoindex if_indextoname
gethostname sethostname uname sysinfo getrandom getentropy
time gettimeofday settimeofday clock_gettime clock_settime clock_getres clock_nanosleep nanosleep usleep sleep
setitimer getitimer timer_create timer_settime timer_delete adjtimex syscall system popen pclose
""".split())


def layer_of(path):
    """'src/spec/load.c' -> 'spec'; None for what is in no layer."""
    m = re.search(r"(?:^|/)src/([a-z]+)/", path)
    return m.group(1) if m and m.group(1) in RANK else None


def parse_deps(text):
    """`ninja -t deps` -> {object: [files]}."""
    units, current = {}, None
    for line in text.splitlines():
        if line.startswith("    "):
            units[current].append(line.strip())
        elif line.endswith("(VALID)"):
            current = line.split(": #deps")[0]
            units[current] = []
        elif line:
            current = line.split(":")[0]
            units[current] = []
    return units


def includes_upwards(units):
    """(source, header) for each header of a lower folder that a source of a higher one takes in."""
    bad = set()
    for files in units.values():
        # the object of src/x/y.c lists src/x/y.c itself first
        source = next((f for f in files if f.endswith(".c")), None)
        home = source and layer_of(source)
        if not home:
            continue
        for f in files:
            other = layer_of(f)
            if other and RANK[other] > RANK[home]:
                bad.add((source, f))
    return sorted(bad)


def direct_includes_upwards(root):
    """The same rule on the text of each file: it names the line at fault, and sees unused headers."""
    bad = []
    for path in sorted((root / "src").glob("*/**/*.[ch]")):
        home = layer_of(str(path))
        for n, line in enumerate(path.read_text().splitlines(), 1):
            m = re.match(r'\s*#\s*include\s+"(?:\.\./)*([a-z]+)/', line)
            if m and home and m.group(1) in RANK and RANK[m.group(1)] > RANK[home]:
                bad.append(f"{path.relative_to(root)}:{n}: {home} may not include {line.split(chr(34))[1]}")
    return bad


def plain(symbol):
    """'__read_chk' -> 'read', 'open64@GLIBC_2.2' -> 'open': the fortified and large-file names count too."""
    name = symbol.split("@")[0]
    m = re.fullmatch(r"__(\w+?)(?:_chk|_2|_alias|_time64)?", name)
    if m:
        name = m.group(1)
    for suffix in ("64_2", "64_chk", "64_time64", "64"):
        if name.endswith(suffix) and name.removesuffix(suffix) in WRAPPERS:
            return name.removesuffix(suffix)
    return name


def system_calls(nm_output):
    """(object, symbol) for each undefined symbol that is a system call's wrapper; of `nm -A -u`."""
    found = []
    for line in nm_output.splitlines():
        m = re.match(r"(.+\.o):\s+U (\S+)$", line)
        if m and plain(m.group(2)) in WRAPPERS:
            found.append((m.group(1), m.group(2)))
    return found


def objects_outside_sys(build):
    """The objects that the build has today (a removed source leaves its object lying about)."""
    targets = subprocess.run(["ninja", "-C", build, "-t", "targets", "all"], capture_output=True, text=True, check=True)
    objects = re.findall(r"^(src/\S+\.o): ", targets.stdout, re.M)
    return sorted(str(build / o) for o in objects if not pathlib.Path(o).name.startswith("sys_"))


@pytest.fixture(scope="module")
def units(build):
    text = subprocess.run(["ninja", "-C", build, "-t", "deps"], capture_output=True, text=True, check=True).stdout
    return parse_deps(text)


def test_every_folder_under_src_has_its_place(root):
    folders = {p.name for p in (root / "src").iterdir() if p.is_dir()}
    assert folders <= set(LAYERS), "a folder that is not in the list of layers"


def test_folders_include_only_what_stands_above(root, units):
    compiled = {f for files in units.values() for f in files if f.endswith(".c") and layer_of(f)}
    assert len(compiled) > 10, "the compiler's dependency output is missing: build with ninja first"
    bad = [f"{layer_of(s)} may not include {layer_of(h)}: {s} takes in {h}" for s, h in includes_upwards(units)]
    bad += direct_includes_upwards(root)
    assert not bad, "\n" + "\n".join(bad)


def test_only_sys_makes_system_calls(build, sanitized):
    if sanitized:
        pytest.skip("the sanitizers' own calls are in every object; the plain build is checked")
    objects = objects_outside_sys(build)
    assert len(objects) > 5
    nm = subprocess.run(["nm", "-A", "-u", *objects], capture_output=True, text=True, check=True).stdout
    bad = [f"{pathlib.Path(o).name} calls {s}: put it behind a sys_ function in src/sys" for o, s in system_calls(nm)]
    assert not bad, "\n" + "\n".join(bad)


def test_the_include_rule_sees_a_violation(tmp_path):
    deps = ("src/libx.a.p/spec_load.c.o: #deps 3, deps mtime 1 (VALID)\n    ../src/spec/load.c\n"
            "    ../src/base/err.h\n    ../src/engine/gate.h\n\n"
            "src/libx.a.p/engine_run.c.o: #deps 2, deps mtime 1 (VALID)\n    ../src/engine/run.c\n    ../src/spec/spec.h\n")
    assert includes_upwards(parse_deps(deps)) == [("../src/spec/load.c", "../src/engine/gate.h")]
    (tmp_path / "src/spec").mkdir(parents=True)
    (tmp_path / "src/spec/spec.h").write_text('#include "base/err.h"\n#include "engine/gate.h"\n')
    assert direct_includes_upwards(tmp_path) == ["src/spec/spec.h:2: spec may not include engine/gate.h"]


def test_the_system_call_rule_sees_a_violation(tmp_path):
    source = tmp_path / "spec_x.c"
    source.write_text("#include <fcntl.h>\n#include <unistd.h>\n#include <stdio.h>\n#include <sys/stat.h>\n"
                      "#include <dirent.h>\nint f(char *b, size_t n, int w); int f(char *b, size_t n, int w)\n"
                      "{ struct stat st; puts(b); opendir(b); int fd = open(b, w); fsync(fd);\n"
                      "  return (int)read(fd, b, n) + stat(b, &st) + getpid(); }\n")
    flags = ["-O2", "-D_FORTIFY_SOURCE=2", "-D_FILE_OFFSET_BITS=64", "-Wno-all", "-c"]
    subprocess.run(["cc", *flags, source, "-o", tmp_path / "spec_x.o"], check=True, stderr=subprocess.DEVNULL)
    nm = subprocess.run(["nm", "-A", "-u", tmp_path / "spec_x.o"], capture_output=True, text=True, check=True).stdout
    names = {plain(symbol) for _, symbol in system_calls(nm)}
    assert names == {"opendir", "open", "fsync", "read", "stat", "getpid"}


def test_the_map_lists_the_layers_in_this_order(root):
    text = (root / "ARCHITECTURE.md").read_text()
    assert re.findall(r"^    src/([a-z]+)/ ", text, re.M) == LAYERS
