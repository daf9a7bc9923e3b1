#!/bin/bash
# scripts/get-weights against a server of our own, in Perl: it knows ranges, can ignore them, and can
# break off. The published addresses are not asked. TAP.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

program=$(realpath "${CROSSFRAME:-build/release/crossframe}")
get=scripts/get-weights
for tool in perl curl; do
    if ! command -v $tool >/dev/null; then
        echo "1..1"
        echo "ok 1 - get_weights # SKIP $tool is not installed"
        exit 0
    fi
done

work=$(mktemp -d "${TMPDIR:-/tmp}/crossframe-test-XXXXXX")
server=""
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf -- "$work"' EXIT
mkdir "$work/site"

# /KIND/FILE serves site/FILE. plain: with ranges; cut: breaks off in the middle unless a range is asked;
# whole: ignores ranges; none: 404. Each request is a line of requests: path, then its range or -.
cat >"$work/server.pl" <<'PERL'
use strict;
use warnings;
use IO::Socket::INET;
my ($dir) = @ARGV;
$SIG{PIPE} = 'IGNORE';
my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5, ReuseAddr => 1) or die "$!";
open(my $port, '>', "$dir/port.tmp") or die;
print $port $listen->sockport, "\n";
close $port;
rename "$dir/port.tmp", "$dir/port";
while (my $c = $listen->accept) {
    my $request = <$c> // next;
    my ($path) = $request =~ m{^GET (/\S*)} or next;
    my $from;
    while (defined(my $line = <$c>)) {
        last if $line =~ /^\r?\n$/;
        $from = $1 if $line =~ /^Range: bytes=(\d+)-/i;
    }
    open(my $log, '>>', "$dir/requests") or die;
    print $log "$path ", $from // '-', "\n";
    close $log;
    my ($kind, $file) = $path =~ m{^/(\w+)/([\w.-]+)$};
    my $body;
    if ($kind && $kind ne 'none' && open(my $in, '<:raw', "$dir/site/$file")) {
        local $/;
        $body = <$in>;
    }
    if (!defined $body) {
        print $c "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    } elsif (defined $from && $kind ne 'whole' && $from >= length $body) {
        print $c "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    } elsif (defined $from && $kind ne 'whole') {
        my $n = length($body) - $from;
        printf $c "HTTP/1.1 206 Partial Content\r\nContent-Length: %d\r\nContent-Range: bytes %d-%d/%d\r\n" .
            "Connection: close\r\n\r\n", $n, $from, length($body) - 1, length $body;
        print $c substr($body, $from);
    } else {
        printf $c "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", length $body;
        print $c $kind eq 'cut' ? substr($body, 0, length($body) / 2) : $body;
    }
    close $c;
}
PERL
perl "$work/server.pl" "$work" &
server=$!
for _ in $(seq 100); do
    [ -s "$work/port" ] && break
    sleep 0.1
done
if [ ! -s "$work/port" ]; then
    echo "1..1"
    echo "ok 1 - get_weights # SKIP the server does not start"
    exit 0
fi
url=http://127.0.0.1:$(cat "$work/port")
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1

head -c 300000 /dev/urandom >"$work/site/k400_32_8.pth"
head -c 1000 /dev/urandom >"$work/site/ViT-B-32.pt"
sum=$(sha256sum <"$work/site/k400_32_8.pth" | cut -d' ' -f1)

n=0
# ok NAME CONDITION...: one line of TAP; a failing one shows what the last call said
ok() {
    local name=$1
    shift
    n=$((n + 1))
    if "$@"; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name"
        sed 's/^/# /' "$work/said"
    fi
}
# call STATUS ARGUMENTS...: runs get-weights into cache; whether it exits with STATUS
call() {
    local want=$1 status=0
    shift
    : >"$work/requests"
    XDG_CACHE_HOME=$work/cache $get "$@" >"$work/said" 2>&1 || status=$?
    [ "$status" = "$want" ]
}
said() { grep -qF -- "$1" "$work/said"; }
requests() { [ "$(cat "$work/requests")" = "$1" ]; }
same() { cmp -s "$work/site/$1" "$work/cache/crossframe/$1"; }
gone() { [ ! -e "$work/cache/crossframe/$1" ]; }
again() { rm -rf -- "$work/cache"; }

echo "1..30"
ok "a name alone downloads" call 0 --base "$url/plain" k400_32_8
ok "the bytes are the server's" same k400_32_8.pth
ok "it says that nothing is published to check" said "no checksum of k400_32_8 is published"
ok "and the checksum it got" said "$sum"
ok "no part is left" gone k400_32_8.pth.part
ok "once more asks nobody" call 0 --base "$url/plain" k400_32_8
ok "not even the server" requests ""

again
ok "a broken download fails" call 1 --base "$url/cut" k400_32_8
ok "and is not the file" gone k400_32_8.pth
ok "the part is kept, and told" said "150000 bytes are kept"
ok "the next call goes on" call 0 --base "$url/cut" --sha256 "$sum" k400_32_8
ok "from where it was" requests "/cut/k400_32_8.pth 150000"
ok "to the same bytes" same k400_32_8.pth

again
call 1 --base "$url/cut" k400_32_8
ok "a server without ranges starts anew" call 0 --base "$url/whole" k400_32_8
ok "to the same bytes as well" same k400_32_8.pth

again
mkdir -p "$work/cache/crossframe"
cp "$work/site/k400_32_8.pth" "$work/cache/crossframe/k400_32_8.pth.part"
ok "a whole part needs no server" call 0 --base "$url/none" --sha256 "$sum" k400_32_8
mv "$work/cache/crossframe/k400_32_8.pth" "$work/cache/crossframe/k400_32_8.pth.part"
ok "one that cannot be checked is fetched again" call 0 --base "$url/plain" k400_32_8

again
ok "another checksum is refused" call 1 --base "$url/plain" ViT-B/32
ok "with both" said "must be 40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
ok "and nothing stays" gone ViT-B-32.pt
ok "not even a part" gone ViT-B-32.pt.part
ok "the others of one call are fetched" eval 'call 1 --base "$url/plain" ViT-B/32 k400_32_8 && same k400_32_8.pth'
ok "what is not there is told" eval 'call 1 --base "$url/none" zero && said "HTTP 404"'
ok "a mirror from the environment" eval 'again; CROSSFRAME_WEIGHTS_URL=$url/plain call 0 k400_32_8 && same k400_32_8.pth'
ok "another folder" eval 'call 0 --base "$url/plain" --dir "$work/other" k400_32_8 && cmp -s "$work/site/k400_32_8.pth" "$work/other/k400_32_8.pth"'
ok "wrong calls exit 2" eval 'call 2 && call 2 ViT-B && call 2 --nothing zero && call 2 --dir && call 2 --sha256 00 zero &&
    call 2 --sha256 "$sum" ViT-B/32 && requests ""'
kill "$server"
wait "$server" 2>/dev/null
server=""
again
ok "no server, no file" eval 'call 1 --base "$url/plain" k400_32_8 && gone k400_32_8.pth && said "cannot download"'

# Every name of the list is one for the program too, and the published addresses hold the checksums.
names_agree() {
    local name address
    $get --list | grep -v '^bpe ' >"$work/list"
    [ "$(wc -l <"$work/list")" -ge 19 ] || return 1
    while read -r name address; do
        again
        XDG_CACHE_HOME=$work/cache "$program" predict x --labels a,b --checkpoint "$name" 2>"$work/said"
        said "get it: scripts/get-weights $name" || return 1
        mkdir -p "$work/cache/crossframe"
        echo "not weights" >"$work/cache/crossframe/${address##*/}"
        XDG_CACHE_HOME=$work/cache "$program" predict x --labels a,b --checkpoint "$name" 2>"$work/said"
        said "get it:" && return 1
        said "$work/cache/crossframe/${address##*/}" || return 1
    done <"$work/list"
}
checksums_are_whole() {
    [ "$($get --list | grep -cE '^ViT.*/models/[0-9a-f]{64}/ViT-[BL]-[0-9a-z-]+\.pt$')" = 4 ]
}
if [ -x "$program" ]; then
    ok "the program knows the same names" names_agree
else
    n=$((n + 1))
    echo "ok $n - the program knows the same names # SKIP $program is not built"
fi
ok "addresses hold whole checksums" checksums_are_whole
ok "help" eval 'call 0 --help && said "--base URL"'
