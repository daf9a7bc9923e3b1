/* The inputs of a prediction, read one ahead on a thread of their own.
 *
 * Two slots go round between the reader and the caller: while one is scored the other is filled. An
 * input that cannot be read fills its slot too, with the reason, since the others go on. The names
 * are asked for on the reader's thread, so a list on stdin may come slowly. A pack stays open until
 * an input names another one. */
#include "crossframe/predict.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2 };

typedef struct {
    cf_input input;
    float *views;
    char *title, *name;
    char error[1024];
    bool last; /* no input but the end, with the status of `names` */
} slot;

struct cf_input_reader {
    cf_input_names *names;
    void *user;
    cf_viewer *viewer;
    slot slots[SLOTS];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t filled, taken;  /* slots ever filled; given to the caller */
    bool runs, held, quit; /* held: the caller has slot taken - 1 */
    /* of the reader's thread */
    cf_dataset *pack; /* of the inputs that are being read; NULL: none */
    char *pack_path;
};

/* ---- slots ----------------------------------------------------------------------------------- */

/* The slot to fill next; NULL: the caller wants no more. */
static slot *begin_slot(cf_input_reader *r)
{
    pthread_mutex_lock(&r->lock);
    while (!r->quit && r->filled - r->taken + r->held >= SLOTS)
        pthread_cond_wait(&r->changed, &r->lock);
    slot *s = r->quit ? NULL : &r->slots[r->filled % SLOTS];
    pthread_mutex_unlock(&r->lock);
    if (!s) return NULL;
    cf_free(s->title);
    cf_free(s->name);
    *s = (slot){ .views = s->views };
    return s;
}

static void end_slot(cf_input_reader *r, slot *s, cf_status status, double begin)
{
    if (status != CF_OK) snprintf(s->error, sizeof s->error, "%s", cf_error());
    s->input = (cf_input){ .input = s->title ? s->title : "",
                           .name = s->name,
                           .status = status,
                           .error = s->error,
                           .views = s->views,
                           .seconds = cf_seconds() - begin };
    pthread_mutex_lock(&r->lock);
    r->filled++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* ---- media ----------------------------------------------------------------------------------- */

static cf_status fill_media(cf_input_reader *r, slot *s, const char *path)
{
    cf_media *m;
    CF_TRY(cf_strdup(&s->title, path));
    CF_TRY(cf_media_open(&m, path));
    cf_status status = cf_viewer_media(s->views, r->viewer, m);
    if (status != CF_OK && !strstr(cf_error(), path)) cf_fail_context(status, "%s", path);
    cf_media_close(m);
    return status;
}

/* False: stop. */
static bool read_media(cf_input_reader *r, const char *path)
{
    slot *s = begin_slot(r);
    if (!s) return false;
    double begin = cf_seconds();
    end_slot(r, s, fill_media(r, s, path), begin);
    return true;
}

/* ---- packs ----------------------------------------------------------------------------------- */

/* PATH in front of #, or the whole where a file is called so. */
static cf_status split_name(char **path, const char **part, const char *input)
{
    const char *hash = cf_file_exists(input) ? NULL : strrchr(input, '#');
    *part = hash ? hash + 1 : NULL;
    if (!hash) return cf_strdup(path, input);
    return cf_format(path, "%.*s", (int)(hash - input), input);
}

static bool names_pack(const char *input)
{
    char *path;
    const char *part;
    if (cf_is_folder(input) || split_name(&path, &part, input) != CF_OK) return false;
    bool is = !cf_is_folder(path) && cf_path_is_pack(path);
    cf_free(path);
    return is;
}

static cf_status open_pack(cf_input_reader *r, const char *path)
{
    cf_dataset *d;
    if (r->pack && strcmp(r->pack_path, path) == 0) return CF_OK;
    CF_TRY(cf_dataset_open(&d, path, NULL));
    cf_dataset_free(r->pack);
    cf_free(r->pack_path);
    r->pack_path = NULL;
    r->pack = d;
    cf_status status = cf_strdup(&r->pack_path, path);
    if (status == CF_OK) return CF_OK;
    cf_dataset_free(d);
    r->pack = NULL;
    return status;
}

/* Which video of r->pack is called so, or has this number. SIZE_MAX: none. */
static cf_status find_video(size_t *out, const cf_input_reader *r, const char *part)
{
    size_t n = cf_dataset_size(r->pack);
    *out = SIZE_MAX;
    if (*part && strspn(part, "0123456789") == strlen(part)) {
        unsigned long long row = strtoull(part, NULL, 10);
        if (row >= n)
            return CF_FAIL(CF_EINVAL, "%s has %zu videos, there is no row %s",
                           cf_dataset_path(r->pack), n, part);
        *out = (size_t)row;
    }
    for (size_t i = 0; i < n && *out == SIZE_MAX; i++)
        if (strcmp(cf_dataset_name(r->pack, i), part) == 0) *out = i;
    return CF_OK;
}

static cf_status fill_row(cf_input_reader *r, slot *s, size_t i)
{
    CF_TRY(cf_format(&s->title, "%s#%zu", r->pack_path, i));
    CF_TRY(cf_strdup(&s->name, cf_dataset_name(r->pack, i)));
    CF_TRY_CTX(cf_viewer_dataset(s->views, r->viewer, r->pack, i), "%s", s->title);
    return CF_OK;
}

static bool read_row(cf_input_reader *r, size_t i)
{
    slot *s = begin_slot(r);
    if (!s) return false;
    double begin = cf_seconds();
    end_slot(r, s, fill_row(r, s, i), begin);
    return true;
}

/* An input of which nothing can be read; the reason is the thread's error line. */
static bool refuse(cf_input_reader *r, const char *input, cf_status status)
{
    char why[1024];
    snprintf(why, sizeof why, "%s", cf_error());
    slot *s = begin_slot(r);
    if (!s) return false;
    (void)cf_strdup(&s->title, input);
    cf_fail(status, "%s", why);
    end_slot(r, s, status, cf_seconds());
    return true;
}

/* The rows of the split `part` of r->pack. */
static bool read_split(cf_input_reader *r, const char *input, const char *part)
{
    cf_pack *pack = NULL;
    const int64_t *rows;
    size_t n = 0;
    bool more = true;
    cf_status status = cf_pack_open(&pack, r->pack_path);
    if (status == CF_OK) status = cf_pack_split(&rows, &n, pack, part);
    if (status != CF_OK)
        more = refuse(r, input, cf_fail_context(status, "no video is called \"%s\"", part));
    for (size_t i = 0; more && status == CF_OK && i < n; i++) more = read_row(r, (size_t)rows[i]);
    cf_pack_free(pack);
    return more;
}

static bool read_pack(cf_input_reader *r, const char *input)
{
    char *path = NULL;
    const char *part;
    size_t row;
    bool more = true;
    cf_status status = split_name(&path, &part, input);
    if (status == CF_OK) status = open_pack(r, path);
    if (status == CF_OK && part) status = find_video(&row, r, part);
    if (status != CF_OK)
        more = refuse(r, input, status);
    else if (part && row == SIZE_MAX)
        more = read_split(r, input, part);
    else if (part)
        more = read_row(r, row);
    for (size_t i = 0; !part && status == CF_OK && more && i < cf_dataset_size(r->pack); i++)
        more = read_row(r, i);
    cf_free(path);
    return more;
}

/* ---- thread ---------------------------------------------------------------------------------- */

static void *run(void *argument)
{
    cf_input_reader *r = argument;
    const char *name;
    cf_status status;
    for (bool more = true; more;) {
        status = r->names(r->user, &name);
        if (status != CF_OK || !name) break;
        more = names_pack(name) ? read_pack(r, name) : read_media(r, name);
    }
    slot *s = begin_slot(r);
    if (s) {
        s->last = true;
        end_slot(r, s, status, 0);
    }
    return NULL;
}

/* Signals stay with the caller's threads. */
static cf_status start(cf_input_reader *r)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r->runs = pthread_create(&r->thread, NULL, run, r) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r->runs ? CF_OK : CF_FAIL(CF_ENOMEM, "the system refuses a thread for the inputs");
}

cf_status cf_input_reader_new(cf_input_reader **out, const cf_view_options *o,
                              cf_input_names *names, void *user)
{
    cf_input_reader *r;
    cf_status status = CF_OK;
    CF_TRY(cf_alloc_zero(&r, 1, sizeof *r));
    r->names = names;
    r->user = user;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    CF_GO(cf_viewer_new(&r->viewer, o));
    for (size_t i = 0; i < SLOTS; i++)
        CF_GO(cf_alloc(&r->slots[i].views, cf_viewer_floats(r->viewer), sizeof(float)));
    CF_GO(start(r));
    *out = r;
done:
    if (status != CF_OK) cf_input_reader_free(r);
    return status;
}

cf_status cf_input_reader_next(const cf_input **out, cf_input_reader *r)
{
    pthread_mutex_lock(&r->lock);
    bool ended = r->held && r->slots[(r->taken - 1) % SLOTS].last;
    if (!ended) {
        r->held = false;
        pthread_cond_broadcast(&r->changed);
        while (r->filled == r->taken) pthread_cond_wait(&r->changed, &r->lock);
        r->taken++;
        r->held = true;
    }
    pthread_mutex_unlock(&r->lock);
    const slot *s = &r->slots[(r->taken - 1) % SLOTS];
    if (s->last && s->input.status != CF_OK) return CF_FAIL(s->input.status, "%s", s->error);
    *out = s->last ? NULL : &s->input;
    return CF_OK;
}

void cf_input_reader_free(cf_input_reader *r)
{
    if (!r) return;
    pthread_mutex_lock(&r->lock);
    r->quit = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    if (r->runs) pthread_join(r->thread, NULL);
    for (size_t i = 0; i < SLOTS; i++) {
        cf_free(r->slots[i].views);
        cf_free(r->slots[i].title);
        cf_free(r->slots[i].name);
    }
    cf_viewer_free(r->viewer);
    cf_dataset_free(r->pack);
    cf_free(r->pack_path);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    cf_free(r);
}
