/* Videos that cannot be read, with DATA.ON_ERROR skip: what takes their place in training depends
 * on seed, epoch and position alone and is even; tests leave them out; all are counted, each is
 * told once. */
#include "loader_help.h"

static struct {
    size_t warnings[N_VIDEOS], n;
} told;

static void count_warnings(void *user, cf_log_level level, const char *line)
{
    const char *name = strstr(line, "video v");
    (void)user;
    if (level != CF_LOG_WARNING || !name) return;
    told.warnings[atoi(name + 7)]++;
    told.n++;
}

static size_t count_bad(const bool *bad)
{
    size_t n = 0;
    for (size_t v = 0; v < N_VIDEOS; v++) n += bad[v];
    return n;
}

/* What stands where in an epoch, by the undamaged pack. */
static size_t expected_places(int64_t *place, const cf_loader_options *o, uint32_t epoch)
{
    cf_dataset *d;
    cf_loader *l;
    size_t n = 0;
    assert_ok(cf_dataset_open(&d, families, ""));
    assert_ok(cf_loader_new(&l, d, o));
    assert_ok(cf_loader_start(l, epoch, 0));
    for (const cf_batch *b;;) {
        assert_ok(cf_loader_next(&b, l));
        if (!b) break;
        for (size_t i = 0; i < b->n; i++) place[n++] = b->index[i];
    }
    cf_loader_free(l);
    cf_dataset_free(d);
    return n;
}

/* Of classes 0 to 5; of class 0 all videos but one are bad. */
static void choose_bad(bool *bad)
{
    bool one = false;
    cf_dataset *d;
    assert_ok(cf_dataset_open(&d, families, ""));
    for (size_t v = 0; v < N_VIDEOS; v++) {
        bool first = cf_dataset_label(d, v) == 0 && !one;
        bad[v] = first ? false : cf_dataset_label(d, v) == 0 || v % 11 == 3;
        one = one || first;
    }
    cf_dataset_free(d);
    assert_true(one && count_bad(bad) >= 8);
}

static void bad_videos_are_replaced(void **state)
{
    (void)state;
    enum { BATCH = 4, CLIP = T * FRAME };
    static float clip[CLIP];
    bool bad[N_VIDEOS];
    choose_bad(bad);
    char *path = spoiled_pack(bad);
    cf_loader_options o = training(BATCH, 1);
    o.mixup = 0;
    uint64_t expected[2][20], got[20];
    size_t n_batches = 0;
    memset(&told, 0, sizeof told);
    cf_log_set(count_warnings, NULL);
    cf_dataset *d;
    assert_ok(cf_dataset_open(&d, path, ""));
    o.on_error = CF_ON_ERROR_SKIP;
    for (int workers = 1; workers <= 3; workers++) {
        cf_loader *l;
        cf_clip_reader r;
        o.workers = workers;
        assert_ok(cf_clip_reader_init(&r, d, &o));
        assert_ok(cf_loader_new(&l, d, &o));
        n_batches = cf_loader_batches(l);
        for (uint32_t epoch = 0; epoch < 2; epoch++) {
            int64_t place[N_VIDEOS];
            size_t n = expected_places(place, &o, epoch), replaced = 0, at = 0;
            assert_int_equal(n, n_batches * BATCH);
            assert_ok(cf_loader_start(l, epoch, 0));
            for (size_t k = 0; k < n_batches; k++) {
                const cf_batch *b;
                size_t here = 0;
                assert_ok(cf_loader_next(&b, l));
                (workers == 1 ? expected[epoch] : got)[k] = fingerprint(b);
                for (size_t i = 0; i < b->n; i++, at++) {
                    size_t asked = (size_t)place[at], shown = (size_t)b->index[i];
                    assert_int_equal(b->place[i], asked);
                    assert_false(bad[shown]);
                    assert_int_equal(b->label[i], cf_dataset_label(d, asked));
                    assert_int_equal(b->label[i], cf_dataset_label(d, shown));
                    assert_true((asked != shown) == bad[asked]);
                    here += bad[asked];
                    assert_ok(cf_clip_read(clip, &r, shown, asked, epoch));
                    assert_memory_equal(clip, b->video + i * CLIP, sizeof clip);
                }
                assert_int_equal(cf_loader_skipped(l), here);
                replaced += here;
            }
            assert_true(replaced > 0 && replaced <= count_bad(bad));
            if (workers > 1) assert_memory_equal(got, expected[epoch], n_batches * sizeof *got);
        }
        for (size_t first = 0; first <= n_batches; first++) {
            assert_ok(cf_loader_start(l, 0, first));
            assert_int_equal(read_epoch(got, l), n_batches - first);
            assert_memory_equal(got, expected[0] + first, (n_batches - first) * sizeof *got);
        }
        cf_loader_free(l);
        cf_clip_reader_fini(&r);
    }
    for (size_t v = 0; v < N_VIDEOS; v++) assert_true(told.warnings[v] <= bad[v]);
    assert_true(told.n > count_bad(bad) / 2);
    cf_log_set(NULL, NULL);
    cf_dataset_free(d);
    cf_free(path);
}

/* What takes a place is drawn among all that can be read, evenly. */
static void replacements_are_even(void **state)
{
    (void)state;
    enum { EPOCHS = 3000 };
    bool bad[N_VIDEOS] = { false };
    size_t count[N_VIDEOS] = { 0 }, others = 0;
    cf_dataset *d;
    cf_loader *l;
    cf_loader_options o = training(1, 2);
    const cf_batch *b;
    size_t first = 0; /* the batch of video 7 */
    bad[7] = true;
    o.T = 1;
    o.shuffle = false;
    o.augment = (cf_augment){ .size = 1 };
    o.on_error = CF_ON_ERROR_SKIP;
    char *path = spoiled_pack(bad);
    assert_ok(cf_dataset_open(&d, path, ""));
    assert_ok(cf_loader_new(&l, d, &o));
    assert_ok(cf_loader_start(l, 0, 0));
    for (;; first++) {
        assert_ok(cf_loader_next(&b, l));
        if (cf_loader_skipped(l)) break;
    }
    for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
        assert_ok(cf_loader_start(l, epoch, first));
        assert_ok(cf_loader_next(&b, l));
        assert_int_equal(b->label[0], cf_dataset_label(d, 7));
        count[b->index[0]]++;
    }
    for (size_t v = 0; v < N_VIDEOS; v++)
        if (v != 7 && cf_dataset_label(d, v) == cf_dataset_label(d, 7)) count[others++] = count[v];
    assert_true(others >= 3);
    assert_even(count, others);
    cf_loader_free(l);
    cf_dataset_free(d);
    cf_free(path);
}

static void a_class_without_readable_videos_stops(void **state)
{
    (void)state;
    bool bad[N_VIDEOS] = { false };
    cf_dataset *d;
    cf_loader *l;
    const cf_batch *b = NULL;
    cf_loader_options o = training(1, 2);
    o.on_error = CF_ON_ERROR_SKIP;
    assert_ok(cf_dataset_open(&d, families, ""));
    for (size_t v = 0; v < N_VIDEOS; v++) bad[v] = cf_dataset_label(d, v) == 4;
    cf_dataset_free(d);
    char *path = spoiled_pack(bad);
    assert_ok(cf_dataset_open(&d, path, ""));
    assert_ok(cf_loader_new(&l, d, &o));
    assert_ok(cf_loader_start(l, 0, 0));
    size_t refused = 0;
    for (size_t k = 0; k < cf_loader_batches(l); k++) {
        if (cf_loader_next(&b, l) == CF_OK) continue;
        refused++;
        assert_non_null(strstr(cf_error(), "cannot be read, nor can any of the other"));
        assert_non_null(strstr(cf_error(), "of its class 4"));
    }
    assert_int_equal(refused, count_bad(bad));
    cf_loader_free(l);
    cf_dataset_free(d);
    cf_free(path);
}

static void a_test_leaves_bad_videos_out(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 3, 8 };
    bool bad[N_VIDEOS];
    cf_dataset *whole, *d;
    choose_bad(bad);
    char *path = spoiled_pack(bad);
    assert_ok(cf_dataset_open(&whole, families, ""));
    assert_ok(cf_dataset_open(&d, path, ""));
    for (size_t k = 0; k < 3; k++) {
        cf_loader *l;
        cf_loader_options o = testing(sizes[k], 2, 3);
        size_t floats = 6 * T * FRAME, seen = 0, skipped = 0, at = 0;
        float *clip = test_malloc(floats * sizeof *clip);
        cf_clip_reader r;
        o.on_error = CF_ON_ERROR_SKIP;
        assert_ok(cf_clip_reader_init(&r, whole, &o));
        assert_ok(cf_loader_new(&l, d, &o));
        assert_ok(cf_loader_start(l, 0, 0));
        for (const cf_batch *b;; seen += b->n) {
            assert_ok(cf_loader_next(&b, l));
            skipped += cf_loader_skipped(l);
            if (!b) break;
            assert_true(b->n >= 1);
            for (size_t i = 0; i < b->n; i++, at++) {
                while (bad[at]) at++;
                assert_int_equal(b->index[i], at);
                assert_int_equal(b->label[i], cf_dataset_label(whole, at));
                assert_ok(cf_clip_read(clip, &r, at, at, 0));
                assert_memory_equal(clip, b->video + i * floats, floats * sizeof *clip);
            }
        }
        assert_int_equal(skipped, count_bad(bad));
        assert_int_equal(seen, N_VIDEOS - skipped);
        cf_clip_reader_fini(&r);
        cf_loader_free(l);
        test_free(clip);
    }
    cf_dataset_free(d);
    cf_dataset_free(whole);
    cf_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bad_videos_are_replaced),
        TEST(replacements_are_even),
        TEST(a_class_without_readable_videos_stops),
        TEST(a_test_leaves_bad_videos_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown) != 0;
}
