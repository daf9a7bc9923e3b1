# Sourced by tests/cli/test_*.sh: the program, a temporary folder that is the current one, TAP.
# `dir` is removed at the end; `here` is where the test was started.
set -u
program=$(realpath "${CROSSFRAME:-build/release/crossframe}")
here=$(pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/crossframe-test-XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

number=0 failed=0
# check NAME COMMAND...: one test
check() {
    local name=$1
    shift
    number=$((number + 1))
    if "$@" >check.log 2>&1; then
        echo "ok $number - $name"
    else
        echo "not ok $number - $name"
        sed 's/^/# /' check.log
        failed=1
    fi
}
# complains STATUS TEXT ARGUMENTS...: the program ends with this status and one error line, which holds the text
complains() {
    local expected=$1 text=$2 status=0
    shift 2
    "$program" "$@" >out.log 2>err.log || status=$?
    cat err.log
    [ "$status" = "$expected" ] && [ "$(grep -c '^crossframe: ' err.log)" = 1 ] &&
        grep '^crossframe: ' err.log | grep -qF -- "$text"
}
