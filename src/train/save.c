/* Saving: what stands in OUTPUT, in which order it comes and goes.
 *
 * last.safetensors and last.previous.safetensors are two generations. A new one is written whole
 * under another name and synced; then last gets previous as a second name, and the new one takes
 * last's. So a process that is killed, or a disk that is full, at any point leaves a whole last
 * (without hard links: a whole previous, for the blink between two renames). A last that is known
 * to be damaged, or is another run's, never becomes previous.
 * epoch_NNN.safetensors are further names of last, made after it; the numbers are in the checkpoint
 * (kept_epochs), so that a resumed run makes the name its predecessor did not come to, and removes
 * what is too much, and never a file that is not this run's.
 * OUTPUT is locked while a run writes there: started twice, two runs would write one log. */
#include "train/run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- the folder ------------------------------------------------------------------------------ */

static cf_status lock_output(cf_run *r)
{
    const char *path = r->config->output;
    r->lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->lock < 0) return CF_FAIL(CF_EIO, "cannot open %s: %s", path, strerror(errno));
    /* Other failures: a file system without locks. */
    if (flock(r->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return CF_FAIL(CF_EINVAL, "OUTPUT %s is in use: another run is writing there", path);
    return CF_OK;
}

static bool is_epoch_file(const char *name, size_t n)
{
    static const char start[] = "epoch_", end[] = ".safetensors";
    size_t a = sizeof start - 1, b = sizeof end - 1;
    if (n <= a + b || memcmp(name, start, a) != 0 || memcmp(name + n - b, end, b) != 0)
        return false;
    return strspn(name + a, "0123456789") == n - a - b;
}

/* NAME.tmp of a file a run writes, or a checkpoint that did not get its name any more. */
static bool is_leftover(const char *name)
{
    static const char *const written[] = { "last.safetensors.new",
                                           "last.safetensors",
                                           "last.previous.safetensors",
                                           "best.safetensors",
                                           "config.yaml",
                                           "run.json",
                                           "test.h5" };
    if (strcmp(name, written[0]) == 0) return true;
    size_t n = strlen(name);
    if (n < 4 || strcmp(name + n - 4, ".tmp") != 0) return false;
    n -= 4;
    for (size_t i = 0; i < sizeof written / sizeof *written; i++)
        if (strlen(written[i]) == n && memcmp(name, written[i], n) == 0) return true;
    return is_epoch_file(name, n);
}

/* What a killed process left half-written. What cannot be removed fails when it is written. */
static void remove_leftovers(const cf_run *r)
{
    DIR *folder = opendir(r->config->output);
    if (!folder) return;
    for (struct dirent *e; (e = readdir(folder));)
        if (is_leftover(e->d_name)) unlinkat(dirfd(folder), e->d_name, 0);
    closedir(folder);
}

cf_status cf_run_open_output(cf_run *r)
{
    const char *output = r->config->output;
    if (r->options.only_test) return CF_OK;
    if (!*output)
        return CF_FAIL(CF_EINVAL,
                       "configuration: OUTPUT is not set: where do log and checkpoints go? "
                       "(--output DIR)");
    CF_TRY(cf_make_folders(output));
    CF_TRY(lock_output(r));
    remove_leftovers(r);
    CF_TRY(cf_path_join(&r->last_path, output, "last.safetensors"));
    CF_TRY(cf_path_join(&r->previous_path, output, "last.previous.safetensors"));
    r->saved_s = cf_seconds();
    return cf_path_join(&r->best_path, output, "best.safetensors");
}

/* ---- checkpoints that are kept --------------------------------------------------------------- */

static cf_status epoch_path(char **out, const cf_run *r, int64_t epoch)
{
    char name[48];
    snprintf(name, sizeof name, "epoch_%03" PRId64 ".safetensors", epoch);
    return cf_path_join(out, r->config->output, name);
}

static cf_status remove_epoch(const cf_run *r, int64_t epoch)
{
    char *path;
    CF_TRY(epoch_path(&path, r, epoch));
    if (unlink(path) != 0 && errno != ENOENT)
        cf_log(CF_LOG_WARNING, "cannot remove %s: %s", path, strerror(errno));
    cf_free(path);
    return CF_OK;
}

/* The newest of r->kept becomes another name of `file`; the oldest go. */
static cf_status keep_epoch(cf_run *r, const char *file)
{
    size_t keep = (size_t)r->config->save_keep;
    char *path;
    CF_TRY(epoch_path(&path, r, r->kept[r->n_kept - 1]));
    cf_status status = cf_file_link(path, file);
    if (status == CF_EUNSUPPORTED) status = cf_file_copy(path, file);
    cf_free(path);
    CF_TRY(status);
    size_t gone = r->n_kept > keep ? r->n_kept - keep : 0;
    for (size_t i = 0; i < gone; i++) CF_TRY(remove_epoch(r, r->kept[i]));
    r->n_kept -= gone;
    memmove(r->kept, r->kept + gone, r->n_kept * sizeof *r->kept);
    return CF_OK;
}

cf_status cf_run_resume_kept(cf_run *r)
{
    if (r->generation == CF_GENERATION_FOREIGN) r->n_kept = 0;
    bool at_end = r->n_kept > 0 && r->at.micro == 0 && r->kept[r->n_kept - 1] == r->at.epoch - 1;
    return at_end && r->config->save_keep > 0 ? keep_epoch(r, r->weights) : CF_OK;
}

/* ---- last and best --------------------------------------------------------------------------- */

static cf_status make_previous(const cf_run *r)
{
    cf_status status = cf_file_link(r->previous_path, r->last_path);
    return status == CF_EUNSUPPORTED ? cf_file_replace(r->previous_path, r->last_path) : status;
}

static void told_saved(const cf_run *r, const char *path)
{
    if (r->options.saved) r->options.saved(r->options.user, path);
}

cf_status cf_run_save_last(cf_run *r)
{
    char *fresh;
    CF_TRY(cf_format(&fresh, "%s.new", r->last_path));
    cf_status status = CF_OK;
    CF_GO(cf_checkpoint_write(r, fresh, true));
    if (r->generation == CF_GENERATION_LAST) CF_GO(make_previous(r));
    CF_GO(cf_file_replace(r->last_path, fresh));
    if (r->generation == CF_GENERATION_FOREIGN) unlink(r->previous_path); /* an earlier run's */
    r->generation = CF_GENERATION_LAST;
    r->saved_s = cf_seconds();
    told_saved(r, r->last_path);
done:
    if (status != CF_OK) unlink(fresh);
    cf_free(fresh);
    return status;
}

cf_status cf_run_save_epoch(cf_run *r)
{
    if (r->config->save_keep == 0) return cf_run_save_last(r);
    CF_TRY(cf_grow(&r->kept, &r->kept_capacity, r->n_kept + 1, sizeof *r->kept));
    r->kept[r->n_kept++] = r->at.epoch - 1;
    CF_TRY(cf_run_save_last(r));
    return keep_epoch(r, r->last_path);
}

cf_status cf_run_save_due(cf_run *r)
{
    double minutes = r->config->save_minutes;
    if (minutes <= 0 || cf_seconds() - r->saved_s < 60 * minutes) return CF_OK;
    return cf_run_save_last(r);
}

cf_status cf_run_save_best(const cf_run *r)
{
    CF_TRY(cf_checkpoint_write(r, r->best_path, false));
    told_saved(r, r->best_path);
    return CF_OK;
}

void cf_run_average(cf_run *r, bool on)
{
    if (!r->ema) return;
    CF_ASSERT(r->averaged != on);
    cf_ema_swap(r->ema);
    r->averaged = on;
}
