# The front door. Each target first sees to it that the Debian packages it needs are there.
PREFIX ?= /usr/local

.PHONY: all demo test test-crash lab test-lab cluster test-cluster test-host check bench bench-million bench-clone bench-cluster install format clean deps deps-check deps-bench
all: deps
	@scripts/build build
deps:
	@scripts/install-deps
deps-check:
	@scripts/install-deps --check
deps-bench:
	@scripts/install-deps --bench
demo: all
	@examples/demo/run
test: all
	@scripts/run-tests build
# SIGKILL of tool, guard and both at every step boundary, both ways on, each from the beginning: about an hour.
test-crash: all
	@CHANGEOVER_CRASH=full CHANGEOVER_BUILD=build PYTHONDONTWRITEBYTECODE=1 python3 -m pytest -p no:cacheprovider -ra -x tests/crash
# Storage on the real things, in a VM that is built once (some minutes) into the cache; ZFS=2.1: with the older OpenZFS.
lab:
	@tests/lab/build
test-lab: all
	@tests/lab/suite build
# A real Kubernetes: its programs are built once (some 10 minutes, Go is needed) into the cache.
cluster:
	@tests/cluster/build
	@tests/cluster/parts
test-cluster: all
	@tests/cluster/suite build
# The first user's host: that cluster inside that VM. CHANGEOVER_SEED=FILE: the document whose steps 4 and 5 run in it.
test-host: all
	@tests/host/suite build
check: deps-check
	@scripts/check
# Each figure is printed beside its bar. CHANGEOVER_BENCH=short: only to see that they work.
bench: deps-bench
	@scripts/build build-release --buildtype=debugoptimized -Dfault=false -Dstrip=true
	@scripts/run-bench build-release
bench-million: deps-bench
	@scripts/build build-release --buildtype=debugoptimized -Dfault=false -Dstrip=true
	@scripts/run-bench build-release tests/bench/million.py
bench-clone: deps-bench
	@scripts/build build-release --buildtype=debugoptimized -Dfault=false -Dstrip=true
	@scripts/run-bench build-release tests/bench/cloning.py
	@tests/lab/suite build-release -s tests/lab/bench_zfs.py
# Beside kubectl, on the cluster of test-cluster.
bench-cluster: deps-bench
	@scripts/build build-release --buildtype=debugoptimized -Dfault=false -Dstrip=true
	@tests/cluster/suite build-release -q -s -o python_files="bench_*.py"
install: deps
	@scripts/build build-release --buildtype=debugoptimized -Dfault=false -Dstrip=true --prefix=$(PREFIX)
	@meson install -C build-release --no-rebuild --quiet
format: deps-check
	@scripts/check --fix format
clean:
	rm -rf build build-asan build-release
