/* crossframe config: what a configuration comes to, and where each value is from. */
#include "cli.h"
#include "config_print.h"

#include <stdio.h>

typedef struct {
    const char *config, *diff;
    bool changed, keys, markdown;
} call;

static cf_status settle(cf_config *c)
{
    CF_TRY(cf_config_settle(c));
    return cf_config_settle_model(c);
}

/* What would be trained; a complaint about it comes after the print. */
static cf_status load(cf_config **out, cf_status *complaint, const char *path,
                      const char *const *opts, size_t n_opts)
{
    CF_TRY(cf_config_load(out, path, opts, n_opts));
    *complaint = settle(*out);
    return CF_OK;
}

static cf_status print(const call *o, const cli_args *args)
{
    cf_config *c = NULL, *other = NULL;
    cf_status status = CF_OK, complaint = CF_OK, of_other;
    CF_GO(load(&c, &complaint, o->config, args->opts, args->n_opts));
    if (o->diff) {
        CF_GO(complaint);
        CF_GO(load(&other, &of_other, o->diff, NULL, 0));
        CF_GO(of_other);
        CF_GO(config_print_differences(c, other));
    } else {
        CF_GO(config_print(c, o->changed));
        fflush(stdout);
        CF_GO(complaint == CF_OK ? CF_OK : settle(c));
        CF_GO(cf_config_check(c));
    }
done:
    cf_config_free(other);
    cf_config_free(c);
    return status;
}

static int run(const call *o, const cli_args *args)
{
    const char *prefix = args->n_positional ? args->positional[0] : "";
    if (!o->keys && args->n_positional)
        return cli_misused("config", "unexpected argument %s", prefix);
    if (!o->keys && o->markdown) return cli_misused("config", "--markdown is for --keys");
    if (!o->keys && !o->config) return cli_misused("config", "-c CONFIG is missing");
    if (o->keys && (o->changed || o->diff)) return cli_misused("config", "--keys stands alone");
    if (o->changed && o->diff) return cli_misused("config", "give --changed or --diff");
    cf_status status = o->keys ? config_print_keys(prefix, o->markdown) : print(o, args);
    return status == CF_OK ? 0 : cli_failed();
}

int cmd_config(int argc, char **argv)
{
    call o = { 0 };
    const cli_option options[] = {
        { "config", 'c', CLI_TEXT, &o.config, "FILE", "configuration, YAML", 0, 0 },
        { "opts", 0, CLI_OPTS, NULL, "KEY VALUE ...", "sets keys of the configuration", 0, 0 },
        { "changed", 0, CLI_FLAG, &o.changed, NULL, "only what is not the default", 0, 0 },
        { "diff", 0, CLI_TEXT, &o.diff, "OTHER", "only what differs from this configuration", 0,
          0 },
        { "keys", 0, CLI_FLAG, &o.keys, NULL,
          "all keys, or those that start with PREFIX: type, default, range, unit, meaning", 0, 0 },
        { "markdown", 0, CLI_FLAG, &o.markdown, NULL, "these as Markdown", 0, 0 },
    };
    const cli_command command = {
        .name = "config",
        .usage = "-c CONFIG [--opts KEY VALUE ...] [options], or --keys [PREFIX]",
        .summary = "prints a configuration as it comes out, with the origin of each value",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .most = 1,
        .notes =
            "What it prints is YAML that loads back. Later ones win: defaults, BASE files, the "
            "file, --opts.",
    };
    cli_args args;
    int status;
    if (!cli_parse(&args, &status, &command, argc, argv)) return status;
    status = run(&o, &args);
    cli_args_free(&args);
    return status;
}
