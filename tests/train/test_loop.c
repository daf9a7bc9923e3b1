/* The loop: it learns, recomputes to the same bits, allocates nothing, and logs what the recipe
 * says. */
#include "micro.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <link.h>

/* ---- counting of malloc and its kin, for the whole program ----------------------------------- */

/* All calls but those of OpenBLAS, whose threaded products take a job list from malloc each time,
 * and of libgomp, which makes a team for a region inside a region: nothing of ours decides about
 * them. */
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define COUNTS_MALLOC 1
static size_t mallocs; /* atomic */
static struct {
    uintptr_t from, to;
} foreign[2];
static size_t n_foreign;

static int find_foreign(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size, (void)data;
    if (!strstr(info->dlpi_name, "openblas") && !strstr(info->dlpi_name, "libgomp")) return 0;
    uintptr_t end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t to = info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
        if (info->dlpi_phdr[i].p_type == PT_LOAD && to > end) end = to;
    }
    foreign[n_foreign].from = info->dlpi_addr;
    foreign[n_foreign].to = info->dlpi_addr + end;
    return ++n_foreign == 2;
}

static void count(const void *caller)
{
    uintptr_t at = (uintptr_t)caller;
    for (size_t i = 0; i < n_foreign; i++)
        if (at >= foreign[i].from && at < foreign[i].to) return;
    __atomic_add_fetch(&mallocs, 1, __ATOMIC_RELAXED);
}

#define COUNT count(__builtin_return_address(0))
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void *malloc(size_t n) { return COUNT, __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return COUNT, __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return COUNT, __libc_realloc(p, n); }
void *memalign(size_t align, size_t n);
void *memalign(size_t align, size_t n) { return COUNT, __libc_memalign(align, n); }
void *aligned_alloc(size_t align, size_t n) { return COUNT, __libc_memalign(align, n); }
int posix_memalign(void **out, size_t align, size_t n)
{
    COUNT;
    *out = __libc_memalign(align, n);
    return *out ? 0 : ENOMEM;
}
static size_t malloc_calls(void) { return __atomic_load_n(&mallocs, __ATOMIC_RELAXED); }
static void prepare_counting(void) { dl_iterate_phdr(find_foreign, NULL); }
#else
#define COUNTS_MALLOC 0
static size_t malloc_calls(void) { return 0; }
static void prepare_counting(void) {}
#endif

typedef struct {
    double first, last; /* mean loss of the first and the last steps */
    int64_t steps;
    double time, flop; /* of the step before; of the first step */
    bool same_work;    /* no class texts that come and go with the families of the batch */
    size_t own, system, own_after, system_after; /* allocations after the first step, and later */
} watch;

/* The parts of a step are there and no longer than the step; the work of each step is the same. */
static void check_record(watch *w, const cf_step_record *r)
{
    double flop = r->gflops * r->seconds;
    assert_true(r->forward_seconds > 0 && r->backward_seconds > 0 && r->update_seconds > 0);
    assert_true(r->data_seconds >= 0);
    assert_true(r->seconds >= r->data_seconds + r->forward_seconds + r->backward_seconds +
                                  r->update_seconds - 1e-9);
    assert_near(r->videos_per_second * r->seconds, 4, 1e-9);
    assert_true(r->memory_bytes > 1 << 20 && r->time >= w->time);
    if (r->step == 0) w->flop = flop;
    assert_true(flop > 0);
    if (w->same_work) assert_near(flop, w->flop, 1e-9 * flop);
    w->time = r->time;
}

static void watch_step(void *user, const cf_run_progress *p)
{
    watch *w = user;
    check_record(w, &p->record);
    if (p->record.step < 6) w->first += p->record.loss / 6;
    if (p->record.step >= p->steps - 6) w->last += p->record.loss / 6;
    w->steps++;
    size_t own = cf_memory_stats_get().allocations, system = malloc_calls();
    if (p->record.step == 0) w->own = own, w->system = system;
    if (p->record.epoch == 0) w->own_after = own, w->system_after = system;
}

static watch train_watched(const char *folder, const char *name, const char *const *more)
{
    watch w = { .same_work = strcmp(name, "family") != 0 };
    const cf_run_options o = { .user = &w, .stepped = watch_step };
    cf_config *c = micro_config(folder, name, more);
    cf_run *r;
    assert_ok(cf_run_new(&r, c, &o));
    assert_ok(cf_run_train(r));
    cf_run_free(r);
    cf_config_free(c);
    return w;
}

static void loss_falls(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    const char *const plain[] = { "AUG.MIXUP=0",          "AUG.CUTMIX=0",
                                  "AUG.FLIP=0",           "AUG.COLOR_JITTER=0",
                                  "AUG.GRAY_SCALE=0",     "TRAIN.EPOCHS=8",
                                  "MODEL.FIX_TEXT=False", NULL };
    watch w = train_watched(folder, "run", plain);
    assert_int_equal(w.steps, 8 * MICRO_STEPS);
    if (!(w.last < 0.7 * w.first)) fail_msg("loss %g at first, %g at last", w.first, w.last);
    test_folder_remove(folder);
}

static void steady_steps_allocate_nothing(void **state)
{
    (void)state;
    static const char *const settings[] = { "MODEL.FIX_TEXT=True", "MODEL.FIX_TEXT=False",
                                            "TRAIN.USE_CHECKPOINT=True" };
#ifdef CF_ARENA_MALLOC
    skip(); /* this build's arena is made of mallocs */
#endif
    prepare_counting();
    size_t before = malloc_calls();
    test_free(test_malloc(8));
    assert_true(!COUNTS_MALLOC || malloc_calls() > before);
    for (size_t i = 0; i < 2 * sizeof settings / sizeof *settings; i++) {
        char *folder = micro_folder(i % 2 == 1);
        const char *const more[] = { settings[i / 2], "TRAIN.EPOCHS=1", NULL };
        watch w = train_watched(folder, i % 2 == 1 ? "family" : "run", more);
        assert_int_equal(w.steps, MICRO_STEPS);
        assert_int_equal(w.own_after - w.own, 0);
        assert_int_equal(w.system_after - w.system, 0);
        test_folder_remove(folder);
    }
    if (!COUNTS_MALLOC) print_message("malloc is not counted in this build\n");
}

static void recomputation_gives_the_same_bits(void **state)
{
    (void)state;
    for (int text = 0; text < 2; text++) {
        char *folder = micro_folder(text);
        const char *fix = text ? "MODEL.FIX_TEXT=False" : "MODEL.FIX_TEXT=True";
        micro_train_whole(folder, "kept", (const char *const[]){ fix, "TRAIN.EPOCHS=1", NULL });
        micro_train_whole(
            folder, "again",
            (const char *const[]){ fix, "TRAIN.EPOCHS=1", "TRAIN.USE_CHECKPOINT=True", NULL });
        char *a = test_path(folder, "kept/last.safetensors");
        char *b = test_path(folder, "again/last.safetensors");
        char *c = test_path(folder, "kept/log.jsonl"), *d = test_path(folder, "again/log.jsonl");
        assert_same_tensors(a, b);
        assert_same_log(c, d);
        cf_free(a);
        cf_free(b);
        cf_free(c);
        cf_free(d);
        test_folder_remove(folder);
    }
}

static void same_seed_same_bits_and_another_not(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    const char *const one[] = { "TRAIN.EPOCHS=1", NULL };
    const char *const other[] = { "TRAIN.EPOCHS=1", "SEED=2", NULL };
    double first[3];
    first[0] = train_watched(folder, "a", one).first;
    first[1] = train_watched(folder, "b", one).first;
    first[2] = train_watched(folder, "c", other).first;
    assert_true(first[0] == first[1]);
    assert_true(first[0] != first[2]);
    test_folder_remove(folder);
}

/* Rates of the published schedule, one line a step, one eval line an epoch, the resolved
 * configuration. */
static void log_is_as_designed(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    micro_train_whole(folder, "run", NULL);
    char *path = test_path(folder, "run/log.jsonl"), *text;
    size_t n, steps = 0, evals = 0;
    const cf_schedule s = { 1e-3, 10, 1e-5, 3, 26 }; /* 13 micro-batches an epoch, 0.3 epochs: 3 */
    assert_ok(cf_file_read(&text, &n, path));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        cJSON *o = cJSON_Parse(line);
        assert_non_null(o);
        const char *kind = cJSON_GetObjectItem(o, "kind")->valuestring;
        double epoch = cJSON_GetObjectItem(o, "epoch")->valuedouble;
        if (strcmp(kind, "step") == 0) {
            double lr[2];
            size_t before = steps - 1, t = before / MICRO_STEPS * 13 + before % MICRO_STEPS * 2 + 1;
            cf_schedule_rates(lr, &s, steps == 0, steps == 0 ? 0 : t);
            assert_near(cJSON_GetObjectItem(o, "step")->valuedouble, steps, 0);
            assert_near(cJSON_GetObjectItem(o, "lr")->valuedouble, lr[0], 1e-8 * lr[0]);
            assert_near(cJSON_GetObjectItem(o, "lr_new")->valuedouble, lr[1], 1e-8 * lr[1]);
            assert_near(epoch, steps / MICRO_STEPS, 0);
            steps++;
        } else {
            assert_string_equal(kind, "eval");
            assert_near(cJSON_GetObjectItem(o, "videos")->valuedouble, MICRO_TEST, 0);
            assert_near(epoch, evals, 0);
            assert_int_equal(steps, MICRO_STEPS * ++evals);
        }
        cJSON_Delete(o);
    }
    assert_int_equal(steps, 2 * MICRO_STEPS);
    assert_int_equal(evals, 2);
    cf_free(text);
    cf_free(path);
    path = test_path(folder, "run/config.yaml");
    cf_config *c;
    assert_ok(cf_config_load(&c, path, NULL, 0));
    assert_int_equal(c->train.accumulation_steps, 2);
    cf_config_free(c);
    cf_free(path);
    test_folder_remove(folder);
}

TESTS(TEST(loss_falls), TEST(steady_steps_allocate_nothing),
      TEST(recomputation_gives_the_same_bits), TEST(same_seed_same_bits_and_another_not),
      TEST(log_is_as_designed))
