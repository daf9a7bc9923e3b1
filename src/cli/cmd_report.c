/* crossframe report: what runs have done, as one HTML page; on demand as pictures, JSON, CSV. */
#include "cli.h"

#include "crossframe/report.h"

#include <stdio.h>

typedef struct {
    const char *out, *png, *csv;
    bool json;
} call;

static cf_status report(const call *o, const char *const *folders, size_t n)
{
    cf_report *r = NULL;
    char *page = NULL, *json = NULL;
    cf_status status = CF_OK;
    CF_GO(cf_report_read(&r, folders, n));
    if (o->json) CF_GO(cf_report_json(&json, r));
    if (o->out)
        CF_GO(cf_strdup(&page, o->out));
    else if (n == 1 && !o->json && !o->csv && !o->png)
        CF_GO(cf_path_join(&page, folders[0], "report.html"));
    if (page) CF_GO(cf_report_write_page(r, page));
    if (o->csv) CF_GO(cf_report_write_csv(r, o->csv));
    if (o->png) CF_GO(cf_report_write_png(r, o->png));
    if (json) {
        printf("%s\n", json);
    } else {
        if (page) printf("%s\n", page);
        if (o->csv) printf("%s\n", o->csv);
        if (o->png) printf("%s\n", o->png);
    }
done:
    cf_free(page);
    cf_free(json);
    cf_report_free(r);
    return status;
}

int cmd_report(int argc, char **argv)
{
    call o = { 0 };
    const cli_option options[] = {
        { "out", 'o', CLI_TEXT, &o.out, "FILE.html", "the page (DIR/report.html of one run)", 0,
          0 },
        { "png", 0, CLI_TEXT, &o.png, "DIR|FILE.png",
          "charts as pictures: one each into a folder, or all on one", 0, 0 },
        { "json", 0, CLI_FLAG, &o.json, NULL, "prints the final table as JSON", 0, 0 },
        { "csv", 0, CLI_TEXT, &o.csv, "FILE.csv", "every step and test of the logs as a table", 0,
          0 },
    };
    const cli_command command = {
        .name = "report",
        .usage = "DIR... [--out FILE.html] [--png DIR|FILE.png] [--json] [--csv FILE.csv]",
        .summary = "makes one HTML page of the folders that train has written",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .least = 1,
        .most = SIZE_MAX,
        .notes =
            "The page holds everything it shows and needs no network: results, curves of all runs\n"
            "overlaid, confusion matrix, best and worst classes, mistaken videos (from the test "
            "data\n"
            "that config.yaml names, if it is there), configurations and machines. With --json, "
            "--csv\n"
            "or --png it is written only where --out says. Runs may still be going on.",
    };
    cli_args args;
    int status;
    if (!cli_parse(&args, &status, &command, argc, argv)) return status;
    if (args.n_positional > 1 && !o.out && !o.json && !o.csv && !o.png)
        status =
            cli_misused("report", "--out FILE.html is missing: where does the page of %zu runs go?",
                        args.n_positional);
    else
        status = report(&o, args.positional, args.n_positional) == CF_OK ? 0 : cli_failed();
    cli_args_free(&args);
    return status;
}
