/* Which file a run starts from: OUTPUT's own checkpoints with AUTO_RESUME, else MODEL.RESUME, else
 * MODEL.PRETRAINED or the CLIP of MODEL.ARCH.
 *
 * A checkpoint's checksum is verified before anything is read from it. Of OUTPUT's own two
 * generations the older one stands in for a newer one that is damaged or not there, with a warning;
 * a damaged file that was named and is none of them ends the run, since nobody can know what was
 * meant instead (Q24: the published program would start at epoch 0). */
#include "train/run.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Without weights a published architecture is CLIP's, as in the published program; random values
 * have to be asked for. */
static cf_status choose_start(cf_run *r)
{
    const cf_config *c = r->config;
    const char *name = *c->model.pretrained ? c->model.pretrained : c->model.arch;
    if (strcmp(name, "scratch") == 0 || strcmp(name, "custom") == 0)
        return cf_strdup(&r->weights, "");
    cf_status status = cf_weights_locate(&r->weights, name, r->options.cache);
    if (*c->model.pretrained) return status;
    if (status != CF_OK)
        return cf_fail_context(status, "MODEL.PRETRAINED is not set (scratch starts from random "
                                       "values)"),
               status;
    cf_log(CF_LOG_INFO, "MODEL.PRETRAINED is not set: starts from %s", r->weights);
    return CF_OK;
}

/* ---- OUTPUT's own checkpoints ---------------------------------------------------------------- */

/* Whether path means OUTPUT/NAME; it need not be there. */
static bool is_own(const cf_run *r, const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    struct stat a, b;
    char *folder;
    if (strcmp(slash ? slash + 1 : path, name) != 0) return false;
    if (cf_path_folder(&folder, path) != CF_OK) return false;
    bool same = stat(folder, &a) == 0 && stat(r->config->output, &b) == 0 && a.st_dev == b.st_dev &&
                a.st_ino == b.st_ino;
    cf_free(folder);
    return same;
}

static cf_status take(cf_run *r, const char *path, cf_generation generation)
{
    r->generation = generation;
    r->resuming = true;
    return cf_strdup(&r->weights, path);
}

static bool is_damage(cf_status status)
{
    return status == CF_EFORMAT || status == CF_EUNSUPPORTED || status == CF_ENOTFOUND;
}

/* last, or previous where last is not whole. */
static cf_status go_on(cf_run *r)
{
    char *why = NULL;
    cf_status status = cf_st_check(NULL, r->last_path);
    if (status == CF_OK) return take(r, r->last_path, CF_GENERATION_LAST);
    if (!is_damage(status)) return status;
    CF_TRY(cf_strdup(&why, cf_error()));
    status = cf_st_check(NULL, r->previous_path);
    if (status == CF_OK) {
        cf_log(CF_LOG_WARNING, "%s; goes on from %s", why, r->previous_path);
        status = take(r, r->previous_path, CF_GENERATION_PREVIOUS);
    } else if (is_damage(status)) {
        char *too = NULL;
        status = cf_strdup(&too, cf_error());
        if (status == CF_OK)
            status = CF_FAIL(CF_EFORMAT,
                             "no checkpoint of %s is whole: %s; %s; to start anew remove both",
                             r->config->output, why, too);
        cf_free(too);
    }
    cf_free(why);
    return status;
}

/* ---- a named file ---------------------------------------------------------------------------- */

static cf_status check_named(const char *path)
{
    char start[16];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, start, sizeof start);
    if (fd >= 0) close(fd);
    /* Archives and folders have checksums of their own or none; what is nothing is told later. */
    if (got < 0 || !cf_st_looks_like(start, (size_t)got)) return CF_OK;
    return cf_st_check(NULL, path);
}

static cf_status resume_named(cf_run *r)
{
    const char *path = r->config->model.resume;
    if (r->last_path && is_own(r, path, "last.safetensors")) return go_on(r);
    char *located;
    CF_TRY(cf_weights_locate(&located, path, r->options.cache));
    cf_status status = check_named(located);
    bool previous = r->last_path && is_own(r, located, "last.previous.safetensors");
    if (status == CF_OK)
        status = take(r, located, previous ? CF_GENERATION_PREVIOUS : CF_GENERATION_FOREIGN);
    cf_free(located);
    return status;
}

cf_status cf_run_choose_weights(cf_run *r)
{
    const cf_config *c = r->config;
    bool automatic = c->train.auto_resume && r->last_path;
    if (automatic && (cf_file_exists(r->last_path) || cf_file_exists(r->previous_path)))
        CF_TRY(go_on(r));
    else if (*c->model.resume)
        CF_TRY(resume_named(r));
    if (automatic && r->resuming)
        cf_log(CF_LOG_INFO, "TRAIN.AUTO_RESUME: goes on from %s", r->weights);
    else if (automatic)
        cf_log(CF_LOG_INFO,
               "TRAIN.AUTO_RESUME: %s has no checkpoint yet: starts from the beginning", c->output);
    if (!r->resuming)
        CF_TRY(choose_start(r));
    else if (*c->model.pretrained)
        cf_log(CF_LOG_INFO, "MODEL.PRETRAINED is not read: %s has all weights", r->weights);
    return *r->weights && !r->resuming ? check_named(r->weights) : CF_OK;
}
