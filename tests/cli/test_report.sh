#!/bin/bash
# crossframe report from outside: where the page goes, tables, pictures, refusals. TAP.
. "$(dirname "$0")/tap.bash"

echo "1..12"
report() { "$program" report "$@"; }
# fails STATUS TEXT ARGUMENTS...: that exit status, and a first line on stderr that holds the text
fails() {
    local want=$1 text=$2 status=0
    shift 2
    report "$@" >out.log 2>err.log || status=$?
    cat err.log
    [ "$status" = "$want" ] && head -n 1 err.log | grep -qF -- "$text"
}
# a_run FOLDER STEPS
a_run() {
    mkdir -p "$1"
    for ((i = 0; i < $2; i++)); do
        echo "{\"kind\":\"step\",\"epoch\":$((i / 10)),\"step\":$i,\"loss\":$((300 - i)).5,\"lr\":1e-5,\"grad_norm\":2.5,\"seconds\":0.5,\"data_seconds\":0.1,\"videos_per_second\":16}"
        [ $((i % 10)) != 9 ] || echo "{\"kind\":\"eval\",\"epoch\":$((i / 10)),\"top1\":$i,\"top5\":$((i + 20)),\"videos\":10,\"views\":1}"
    done >"$1/log.jsonl"
}
a_run one 40
a_run two 25
printf '{"kind":"step","epoch":2,"st' >>two/log.jsonl
a_run "with <markup> & spaces" 5
mkdir empty nolog
touch empty/log.jsonl

one_run() { [ "$(report one)" = one/report.html ] && grep -q '</html>' one/report.html; }
check "the page of one run goes into its folder" one_run

several() {
    [ "$(report one two/ "with <markup> & spaces" empty --out all.html)" = all.html ] &&
        grep -q '4 runs' all.html && grep -q 'with &lt;markup&gt; &amp; spaces' all.html && ! grep -q '<markup>' all.html
}
check "several runs on one page, one of them being written, one empty" several
check "several runs need --out" fails 2 "--out FILE.html is missing" one two

itself() { ! grep -qE '(src|href)="?(https?:|//|[a-z]+\.)|@import|url\(' all.html; }
check "the page fetches nothing" itself

no_page() { rm -f one/report.html && report one --json >/dev/null && [ ! -e one/report.html ]; }
json() { report one two --json >table.json && [ "$(grep -c '"run"' table.json)" = 2 ] && grep -q '"top1":[[:space:]]*39' table.json && grep -q '"steps":[[:space:]]*25' table.json && no_page; }
check "--json prints the table and writes no page" json

csv() { report one two --csv log.csv && [ "$(wc -l <log.csv)" = $((1 + 44 + 27)) ] && [ "$(head -n 1 log.csv | cut -d, -f1-5)" = run,kind,epoch,step,loss ] && [ "$(sed -n 2p log.csv | cut -d, -f1-5)" = one,step,0,0,300.5 ]; }
check "--csv has every step and test" csv

png() {
    report one --png sheet.png --out page.html || grep -q "without librsvg" check.log || return 1
    [ ! -e sheet.png ] || { report one two --png pictures && [ -s pictures/loss.png ] && [ -s pictures/accuracy.png ] && [ "$(head -c 4 sheet.png | tail -c 3)" = PNG ]; }
}
check "--png draws one picture or a folder of them" png

# Without a font librsvg would draw charts without text.
no_fonts() {
    mkdir -p nothing && printf '<?xml version="1.0"?><fontconfig><dir>%s/nothing</dir><cachedir>%s/cache</cachedir></fontconfig>' "$dir" "$dir" >fonts.conf
    FONTCONFIG_FILE=$dir/fonts.conf fails 1 "no font here" one --png none.png && [ ! -e none.png ]
}
if [ -e sheet.png ]; then
    check "no pictures without a font" no_fonts
else
    number=$((number + 1))
    echo "ok $number - no pictures without a font # SKIP built without librsvg"
fi

check "a folder without a log" fails 1 "nolog is no run: it has no log.jsonl" one nolog --out x.html
check "no such folder" fails 1 "nowhere is no run" nowhere
unwritable() { fails 1 "nowhere/x.html" one --out nowhere/x.html && [ ! -e x.html ]; }
check "a page that cannot be written" unwritable
help() { report --help | grep -q -- --png; }
check "--help" help
exit $failed
