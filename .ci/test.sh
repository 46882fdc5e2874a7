#!/usr/bin/env bash
# The steps of `make test`. With names as arguments, only those steps, as in `.ci/test.sh vet unit`.
#
# Every step is announced and timed; the summary at the end names those that failed, behind the end of what
# they said. A step that the machine cannot run is skipped with a line that says why; where CI is set, that
# is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

# Quick steps come first, so that a slip shows early; go test's own lines come last.
steps="tools format vet lint staticcheck deadcode unit invariants race portable crash cross emulated fuzz blackbox kill guest kmod"

# Emulators start programs and kernels of Linux, and are looked for there alone.
if [ "$(uname)" != Linux ]; then
    steps=$(echo "$steps" | sed -E 's/ (emulated|guest|kmod)//g')
fi

# Steps that take too long for every change; they run when they are named.
long_steps="nightly soak"

# One line a pair, GOOS/GOARCH, of what the README's support table promises.
platforms="linux/amd64 linux/arm64 linux/riscv64 darwin/arm64 darwin/amd64"

# The packages whose tests are about one package. lint has a step, as it reads the same tree in any
# build. With -e a package that does not build is listed too, for go test to fail on.
units=$(go list -e ./... | grep -v -e '/tests$' -e '/tests/' -e '/internal/lint$')

# Everything under tests but the machines and the kills, which have steps.
blackbox=$(go list -e ./tests/... | grep -v -e '/tests/guest$' -e '/tests/ivshmem$' -e '/tests/kmod' -e '/tests/crash$')

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# What the tests on real programs need: program and Debian package. Where it may not install, the tests
# that lack one say so.
programs="cc:gcc python3:python3 perl:perl node:nodejs java:default-jdk-headless valgrind:valgrind
    clang:clang setarch:util-linux script:bsdutils g++:g++
    chromium:chromium qemu-system-x86_64:qemu-system-x86 qemu-system-aarch64:qemu-system-arm
    aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu x86_64-linux-gnu-gcc:gcc-x86-64-linux-gnu qemu-aarch64-static:qemu-user-static
    qemu-riscv64-static:qemu-user-static
    make:make gcc-12:gcc-12 flex:flex bison:bison bc:bc xz:xz-utils sparse:sparse spatch:coccinelle
    dkms:dkms"

# The allocators and queues that the benchmarks compare with, and what the build of a kernel needs: header
# and Debian package.
headers="gelf.h:libelf-dev openssl/evp.h:libssl-dev
    mimalloc.h:libmimalloc-dev jemalloc/jemalloc.h:libjemalloc-dev boost/version.hpp:libboost-dev"

step_tools() {
    local pair missing=
    for pair in $programs; do
        command -v "${pair%:*}" >/dev/null || missing="$missing ${pair#*:}"
    done
    for pair in $headers; do
        echo "#include <${pair%:*}>" | g++ -E -x c++ - >/dev/null 2>&1 || missing="$missing ${pair#*:}"
    done
    [ -z "$missing" ] || install $missing
    # The run-time libraries of clang's sanitizers are a package of their own.
    if command -v clang >/dev/null && ! ls "$(clang -print-resource-dir)"/lib/linux/*msan* >/dev/null 2>&1; then
        install "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
    fi
    # So are the headers and the library of the cross compiler.
    if command -v aarch64-linux-gnu-gcc >/dev/null && [ ! -e /usr/aarch64-linux-gnu/include/stdio.h ]; then
        install libc6-dev-arm64-cross
    fi
}

install() {
    local sudo=
    echo "missing: $*"
    [ "$(id -u)" -eq 0 ] || sudo="sudo -n"
    if ! command -v apt-get >/dev/null || ! $sudo true 2>/dev/null; then
        echo "cannot be installed here"
        return 0
    fi
    $sudo apt-get -qq update &&
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >"$tmp/log" ||
        { echo "installing failed:"; tail -n 3 "$tmp/log"; }
}

step_format() {
    local unformatted
    unformatted=$(gofmt -l .)
    [ -z "$unformatted" ] || { echo "not formatted, run make fmt:"; echo "$unformatted"; return 1; }
}

step_vet() {
    local tags
    for tags in "" crashpoint shmheap_portable invariants; do
        go vet -tags="$tags" ./...
    done
}

step_lint() {
    # git decides which files are read and the test cache does not see git, hence -count.
    verbose -count=1 ./internal/lint
}

# staticcheck comes through the module proxy. It has a go.mod of its own, so that users of the module
# do not inherit its dependencies. The go command builds it once and prints where it lies.
step_staticcheck() {
    local tool goos tags
    tool=$(go tool -modfile=.ci/tools/go.mod -n staticcheck 2>"$tmp/log") ||
        { skip "staticcheck cannot be installed: $(tail -n 1 "$tmp/log")"; return; }
    for goos in linux darwin; do
        for tags in "" crashpoint shmheap_portable invariants; do
            GOOS=$goos "$tool" -tags="$tags" ./...
        done
    done
}

# What neither a program nor a test of this system calls. Other systems have tests of their own left out, so it is
# looked for on Linux. The one exception is there to satisfy an interface.
step_deadcode() {
    local tool found
    [ "$(uname)" = Linux ] || { echo "on Linux alone"; return 0; }
    tool=$(go tool -modfile=.ci/tools/go.mod -n deadcode 2>"$tmp/log") ||
        { skip "deadcode cannot be installed: $(tail -n 1 "$tmp/log")"; return; }
    "$tool" -test ./... >"$tmp/log"
    found=$(grep -v 'unreachable func: Arena.allocator$' "$tmp/log") || true
    [ -z "$found" ] || { echo "nobody calls these:"; echo "$found"; return 1; }
}

step_unit() { verbose $units; }

# Packages that allocate, with every cache looking for misuse and the allocator for mistakes of its own.
step_invariants() { go test -tags=invariants ./alloc ./queue ./lock; }

step_race() {
    # A package without our code tells whether the detector works here: it needs a C compiler.
    go test -race -c -o "$tmp/race" errors >"$tmp/log" 2>&1 ||
        { skip "the race detector does not build, install gcc or clang: $(tail -n 1 "$tmp/log")"; return; }
    go test -race $units
}

# The two builds differ in how a process dies and not in what becomes of the others: a short storm is
# enough.
step_portable() { SHMHEAP_STORM=30 go test -tags=shmheap_portable $units $blackbox ./tests/crash; }

step_crash() { SHMHEAP_STORM=30 go test -tags=crashpoint $units $blackbox ./tests/crash; }

# Tests are linked and not run. Without symbols, which nobody will read, that is much faster.
step_cross() {
    local platform
    for platform in $platforms; do
        echo "$platform"
        (
            export GOOS=${platform%/*} GOARCH=${platform#*/} CGO_ENABLED=0
            go build ./...
            go vet ./...
            # Each test binary is linked, and given to a program that does not start it: go test -c wants
            # another name for each package.
            go test -exec=true -vet=off -ldflags='-s -w' ./... >"$tmp/log" || { cat "$tmp/log"; exit 1; }
        )
    done
}

# Packages whose code has assembly and memory orders of its own for arm64, as programs of that machine: with the
# atomic instructions of LSE, and on a processor that has none and makes do with exclusive loads and stores. On
# riscv64 what reserves, shares and dies, several processes too. What explores a model has nothing to do with the
# machine and takes minutes there, and so do storms; what a process is called, and where an emulator leaves room, is the
# emulator's.
step_emulated() {
    emulate arm64 "$(command -v qemu-aarch64-static)" "-cpu max" -skip=Explore \
        ./internal/mem ./internal/goroutine ./alloc ./queue ./lock
    emulate arm64 "$(command -v qemu-aarch64-static)" "-cpu cortex-a53" ./internal/mem ./internal/goroutine ./lock
    emulate riscv64 "$(command -v qemu-riscv64-static)" "" ./internal/mem ./internal/goroutine ./lock
    emulate riscv64 "$(command -v qemu-riscv64-static)" "" -skip='InsideGoHeap|Storm|DeathIsFinal|RootsBusy|ProgramOfPeer|JoinTakes' \
        -run='Reserve|Find|Window|Hint|Guard|Create|Open|Peer|Alive|Attach|SetBase|Leases|Inherited|OverSocket' \
        ./probe ./heap ./tests/blackbox
}

# emulate ARCH EMULATOR OPTIONS ARGS... runs tests as programs of another machine. The kernel need not know how to start
# those: the tests start theirs by the emulator too.
emulate() {
    local arch=$1 emulator=$2 options=$3
    shift 3
    [ -n "$emulator" ] || { skip "no emulator of $arch, install qemu-user-static"; return; }
    GOARCH=$arch CGO_ENABLED=0 SHMTEST_EMULATOR=$emulator go test -short -exec="$emulator $options" "$@"
}

step_fuzz() {
    local pkg name
    # The names come before the line that says which package they belong to.
    go test -list='^Fuzz' ./... |
        awk '/^Fuzz/ { names[n++] = $1 } /^ok/ { for (i = 0; i < n; i++) print $2, names[i]; n = 0 }' |
        while read -r pkg name; do
            go test -run='^$' -fuzz="^$name\$" -fuzztime="${FUZZTIME:-10s}" "$pkg" </dev/null 2>&1 |
                tee "$tmp/log" || out_of_time
        done
}

# out_of_time tells the end of the fuzzing time from a finding. Go before 1.27 sometimes reports the
# first as a failure (go.dev/issue/75804); of the second it says more than that one line.
out_of_time() {
    [ "$(grep -A1 -e '^--- FAIL: ' "$tmp/log" | tail -n 1)" = "    context deadline exceeded" ] &&
        ! grep -q -e 'Failing input' -e 'panic:' -e '_test.go:' "$tmp/log" &&
        echo "that was the end of the fuzzing time and no finding: go.dev/issue/75804"
}

step_blackbox() { verbose $blackbox; }

step_kill() { verbose -timeout=20m ./tests/crash; }

step_nightly() {
    SHMHEAP_CRASH=full SHMHEAP_STORM="${SHMHEAP_STORM:-10000}" SHMHEAP_BOOST=200 SHMHEAP_HOSTILE=200 \
        SHMHEAP_SOAK=20 go test -count=1 -timeout=6h -v ./tests/crash
    SHMHEAP_KILLS="${SHMHEAP_KILLS:-100000}" go test -count=1 -timeout=3h -v -run=Storm ./tests/queue
    SHMHEAP_EXPLORE=full go test -count=1 -timeout=1h -v -run=Explore ./queue
    SHMHEAP_GUEST=full go test -count=1 -timeout=2h -v -p=1 -run=LargePages ./tests/guest ./tests/kmod
}

step_soak() { SHMHEAP_SOAK="${SHMHEAP_SOAK:-600}" go test -count=1 -timeout=1h -v -run=TestSoak ./tests/crash; }

# Kernels come as packages of Debian into a cache of the user's, with lists of their own: what the system has
# installed is not touched. Once there, they are used without a network. Two machines on one memory come alone, as each
# takes the other for dead that gets no processor. SHMHEAP_GUEST=full adds a kernel with pages of 64 KiB, which is built.
step_guest() { verbose -p=1 -count=1 -timeout=30m ./tests/guest ./tests/ivshmem; }

# The kernel module and its samples in kernels of Debian, and in two that watch themselves, which are built into the
# same cache: ten minutes on two processors, the first time. SHMHEAP_KMOD=full goes on for longer.
step_kmod() { verbose -count=1 -timeout=90m ./tests/kmod; }

# verbose runs go test so that its log says of every skip why. CI keeps the whole log.
verbose() {
    if [ -n "${CI:-}" ]; then
        go test -v "$@"
    else
        go test -v "$@" | brief
    fi
}

# brief shortens the output of go test -v to what one reads at a desk: one line for each package and
# for each skipped test, notes, and everything of a package that failed.
brief() {
    awk '
        /^=== (RUN|NAME|CONT) / { test = $3 }
        /^ *--- SKIP: /         { kept = kept "    skipped " $3 ":" last[$3] "\n" }
        /: note: /              { kept = kept $0 "\n" }
        /^ok/                   { printf "%s%s\n", kept, $0; all = kept = ""; next }
        /^FAIL\t/               { printf "%s%s\n", all, $0; all = kept = ""; next }
        /^===|^ *--- PASS|^PASS$|\[no test files\]/ { next }
                                { last[test] = " " $0; sub(/^ +/, " ", last[test]); all = all $0 "\n" }
        END                     { printf "%s", all }'
}

skip() {
    echo "skipped: $1"
    echo "$step: $1" >>"$tmp/skipped"
    [ -z "${CI:-}" ] || { echo "a skip is a failure where CI is set"; return 1; }
}

run() {
    local begin=$SECONDS status result=ok
    echo "=== step $1"
    # A step in a condition would lose set -e inside, so the status is taken the long way.
    set +e
    (set -e; "step_$1") 2>&1 | tee "$tmp/output"
    status=${PIPESTATUS[0]}
    set -e
    ! grep -q "^$1: " "$tmp/skipped" || result=skipped
    if [ "$status" -ne 0 ]; then
        result=FAILED
        failed="$failed $1"
        { echo "=== the end of step $1"; brief <"$tmp/output" | tail -n 40; } >>"$tmp/failures"
    fi
    printf -- '--- step %s: %s, %ds\n' "$1" "$result" $((SECONDS - begin))
    printf '%-12s %-7s %4ds\n' "$1" "$result" $((SECONDS - begin)) >>"$tmp/summary"
}

failed=
: >"$tmp/skipped"
: >"$tmp/failures"
for step in ${*:-$steps}; do
    case " $steps $long_steps " in
    *" $step "*) run "$step" ;;
    *) echo "no step $step; steps are: $steps, and by name only: $long_steps" >&2; exit 2 ;;
    esac
done

if [ $# -ne 1 ]; then
    echo
    cat "$tmp/failures"
    cat "$tmp/summary"
    sed 's/^/skipped: /' "$tmp/skipped"
fi
if [ -n "$failed" ]; then
    echo "FAILED:$failed"
    exit 1
fi
