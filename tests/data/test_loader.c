/* The loader: the same bits for any number of threads and any place of resuming, families, what a
 * test pass covers, contents against the chain itself, no allocation in a steady epoch, errors. */
#include "loader_help.h"

static void same_bits_for_threads_and_resume(const char *path)
{
    cf_dataset *d;
    uint64_t expected[2][20], got[20];
    size_t n_batches = 0;
    assert_ok(cf_dataset_open(&d, path, ""));
    for (int workers = 1; workers <= 3; workers++) {
        cf_loader *l;
        cf_loader_options o = training(5, workers);
        assert_ok(cf_loader_new(&l, d, &o));
        if (workers == 1) n_batches = cf_loader_batches(l);
        assert_int_equal(cf_loader_batches(l), n_batches);
        for (uint32_t epoch = 0; epoch < 2; epoch++) {
            assert_ok(cf_loader_start(l, epoch, 0));
            assert_int_equal(read_epoch(workers == 1 ? expected[epoch] : got, l), n_batches);
            if (workers > 1) assert_memory_equal(got, expected[epoch], n_batches * sizeof *got);
        }
        assert_memory_not_equal(expected[0], expected[1], sizeof *got);
        for (size_t first = 0; first <= n_batches; first++) { /* left in the middle each time */
            const cf_batch *b;
            assert_ok(cf_loader_start(l, 0, first));
            assert_int_equal(read_epoch(got, l), n_batches - first);
            assert_memory_equal(got, expected[0] + first, (n_batches - first) * sizeof *got);
            assert_ok(cf_loader_start(l, 1, first / 2));
            assert_ok(cf_loader_next(&b, l));
            assert_int_equal(fingerprint(b), expected[1][first / 2]);
        }
        cf_loader_free(l);
    }
    cf_dataset_free(d);
}

static void same_bits_plain(void **state)
{
    (void)state;
    same_bits_for_threads_and_resume(plain);
}

static void same_bits_families(void **state)
{
    (void)state;
    same_bits_for_threads_and_resume(families);
}

static void an_epoch_takes_each_video_once(void **state)
{
    (void)state;
    enum { EPOCHS = 400, BATCH = 6 };
    cf_dataset *d;
    cf_loader *l;
    cf_loader_options o = training(BATCH, 1);
    size_t first[N_VIDEOS] = { 0 };
    assert_ok(cf_dataset_open(&d, plain, ""));
    assert_ok(cf_loader_new(&l, d, &o));
    assert_int_equal(cf_loader_batches(l), N_VIDEOS / BATCH);
    for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
        bool seen[N_VIDEOS] = { false };
        assert_ok(cf_loader_start(l, epoch, 0));
        for (const cf_batch *b;;) {
            assert_ok(cf_loader_next(&b, l));
            if (!b) break;
            assert_int_equal(b->n, BATCH);
            assert_int_equal(b->n_columns, N_CLASSES);
            for (size_t i = 0; i < b->n; i++) {
                assert_false(seen[b->index[i]]);
                seen[b->index[i]] = true;
                first[b->index[i]]++;
                assert_int_equal(b->label[i], cf_dataset_label(d, (size_t)b->index[i]));
                double sum = 0;
                for (size_t k = 0; k < N_CLASSES; k++) sum += (double)b->target[i * N_CLASSES + k];
                assert_near(sum, 1, 1e-6);
            }
            if (epoch > 8) break; /* the first batches are enough for the count below */
        }
    }
    assert_even(first, N_VIDEOS);
    cf_loader_free(l);
    o.shuffle = false;
    assert_ok(cf_loader_new(&l, d, &o));
    assert_ok(cf_loader_start(l, 3, 2));
    const cf_batch *b;
    assert_ok(cf_loader_next(&b, l));
    for (size_t i = 0; i < BATCH; i++) assert_int_equal(b->index[i], 2 * BATCH + i);
    cf_loader_free(l);
    cf_dataset_free(d);
}

static void batches_hold_one_family(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        int32_t class_id[3];
    } members[] = { [7] = { 2, { 0, 1 } }, [3] = { 3, { 2, 3, 4 } }, [9] = { 1, { 5 } } };
    cf_dataset *d;
    cf_loader *l;
    cf_loader_options o = training(4, 2);
    size_t count[10] = { 0 }, whole = 0, leading[10] = { 0 };
    o.mixup = 0;
    assert_ok(cf_dataset_open(&d, families, ""));
    for (size_t i = 0; i < N_VIDEOS; i++) count[family_of[cf_dataset_label(d, i)]]++;
    for (size_t f = 0; f < 10; f++) whole += count[f] / 4;
    assert_ok(cf_loader_new(&l, d, &o));
    assert_int_equal(cf_loader_batches(l), whole);
    for (uint32_t epoch = 0; epoch < 30; epoch++) {
        size_t found[10] = { 0 };
        assert_ok(cf_loader_start(l, epoch, 0));
        for (size_t k = 0; k < whole; k++) {
            const cf_batch *b;
            assert_ok(cf_loader_next(&b, l));
            int32_t f = family_of[b->label[0]];
            found[f]++;
            leading[f] += k == 0;
            assert_int_equal(b->n_columns, members[f].n);
            assert_memory_equal(b->class_id, members[f].class_id, 4 * members[f].n);
            for (size_t i = 0; i < b->n; i++)
                for (size_t c = 0; c < b->n_columns; c++)
                    assert_near(
                        b->target[i * b->n_columns + c],
                        .1 / (double)b->n_columns + (b->class_id[c] == b->label[i] ? .9 : 0), 1e-6);
        }
        for (size_t f = 0; f < 10; f++) assert_int_equal(found[f], count[f] / 4);
    }
    for (size_t f = 0; f < 10; f++) assert_true((leading[f] > 0) == (count[f] / 4 > 0));
    cf_loader_free(l);
    cf_dataset_free(d);
}

/* Contents from the chain itself: plans, frames and mixing keyed as the loader's contract says. */
static void training_contents(void **state)
{
    (void)state;
    enum { B = 4 };
    static float clip[B * T * FRAME], scratch[B * 1024];
    cf_dataset *d;
    cf_loader *l;
    cf_loader_options o = training(B, 2);
    cf_clip_reader r;
    assert_ok(cf_dataset_open(&d, plain, ""));
    assert_ok(cf_loader_new(&l, d, &o));
    assert_ok(cf_clip_reader_init(&r, d, &o));
    assert_ok(cf_loader_start(l, 2, 0));
    for (size_t k = 0; k < cf_loader_batches(l); k++) {
        const cf_batch *b;
        int32_t column[B];
        int64_t partner[B];
        float target[B * N_CLASSES];
        assert_ok(cf_loader_next(&b, l));
        for (size_t i = 0; i < B; i++) {
            assert_ok(cf_clip_read(clip + i * T * FRAME, &r, (size_t)b->index[i],
                                   (size_t)b->index[i], 2));
            column[i] = b->label[i];
        }
        cf_mix_targets(target, column, B, N_CLASSES, .1);
        cf_mix_options mix = { .1, .8, 1, .5 };
        cf_mix m;
        cf_rng rng = cf_rng_make(1024, CF_RNG_MIX, 2, k);
        cf_mix_draw(&m, partner, B, S, &mix, &rng);
        cf_mix_video(clip, B, 3 * T, S, &m, scratch);
        cf_mix_rows(target, B, N_CLASSES, &m, scratch);
        assert_memory_equal(b->video, clip, sizeof clip);
        assert_memory_equal(b->target, target, sizeof target);
    }
    cf_clip_reader_fini(&r);
    cf_loader_free(l);
    cf_dataset_free(d);
}

static void a_test_covers_every_video_once(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 2, 7 };
    cf_dataset *d;
    assert_ok(cf_dataset_open(&d, families, ""));
    for (size_t k = 0; k < 3; k++) {
        cf_loader *l;
        cf_loader_options o = testing(sizes[k], 1, 1);
        assert_ok(cf_loader_new(&l, d, &o));
        assert_int_equal(cf_loader_batches(l), (N_VIDEOS + sizes[k] - 1) / sizes[k]);
        for (int pass = 0; pass < 2; pass++) {
            int64_t next = 0;
            assert_ok(cf_loader_start(l, 0, 0));
            for (const cf_batch *b;;) {
                assert_ok(cf_loader_next(&b, l));
                if (!b) break;
                assert_null(b->target);
                assert_int_equal(b->n_columns, N_CLASSES); /* families are for training */
                for (int32_t c = 0; c < N_CLASSES; c++) assert_int_equal(b->class_id[c], c);
                for (size_t i = 0; i < b->n; i++, next++) {
                    assert_int_equal(b->index[i], next);
                    assert_int_equal(b->label[i], cf_dataset_label(d, (size_t)next));
                }
            }
            assert_int_equal(next, N_VIDEOS);
        }
        cf_loader_free(l);
    }
    cf_dataset_free(d);
}

static void test_views_are_crop_major(void **state)
{
    (void)state;
    cf_dataset *d;
    cf_loader *l;
    cf_loader_options o = testing(3, 2, 3);
    cf_transform t;
    cf_picture p = { 0 };
    float frame[FRAME];
    const cf_batch *b;
    assert_ok(cf_dataset_open(&d, plain, ""));
    assert_ok(cf_loader_new(&l, d, &o));
    assert_ok(cf_transform_init(&t, S));
    assert_ok(cf_loader_start(l, 0, 4));
    assert_ok(cf_loader_next(&b, l));
    assert_int_equal(b->views, 6);
    for (size_t i = 0; i < b->n; i++)
        for (size_t at = 0; at < 6 * T; at++) {
            size_t crop = at / (2 * T), clip = at / T % 2, video = (size_t)b->index[i];
            int64_t index[T];
            cf_clip_plan plan;
            int64_t n = read_frame(&p, d, video, 0);
            cf_sample_test(index, T, (size_t)n, CF_SAMPLING_SPARSE, clip, 2);
            read_frame(&p, d, video, index[at % T]);
            cf_plan_test(&plan, p.width, p.height, &o.augment, 3);
            cf_transform_frame(frame, &p, &plan, crop, &t);
            assert_memory_equal(b->video + (i * 6 * T + at) * FRAME, frame, sizeof frame);
        }
    cf_picture_fini(&p);
    cf_transform_fini(&t);
    cf_loader_free(l);
    cf_dataset_free(d);
}

/* The demonstration's case: frames of the final size, nothing random but the order. */
static void frames_of_the_final_size_are_only_normalized(void **state)
{
    (void)state;
    char *path;
    cf_dataset *d;
    cf_loader *l;
    cf_loader_options o = training(8, 0);
    cf_picture p = { 0 };
    uint8_t planes[3 * S * S];
    float expected[FRAME];
    assert_ok(cf_path_join(&path, folder, "small.h5"));
    write_pack(path, CF_ENCODING_RAW, NULL, 16, S);
    o.augment = (cf_augment){ .size = S };
    o.mixup = 0;
    assert_ok(cf_dataset_open(&d, path, ""));
    for (int pass = 0; pass < 2; pass++) {
        const cf_batch *b;
        o.training = pass == 0;
        o.clips = o.crops = 1;
        assert_ok(cf_loader_new(&l, d, &o));
        assert_ok(cf_loader_start(l, 0, 0));
        assert_ok(cf_loader_next(&b, l));
        for (size_t i = 0; i < b->n * T; i++) {
            read_frame(&p, d, (size_t)b->index[i / T], (int64_t)(i % T));
            for (size_t k = 0; k < sizeof planes; k++) planes[k % 3 * S * S + k / 3] = p.pixels[k];
            cf_normalize(expected, planes, S * S);
            assert_memory_equal(b->video + i * FRAME, expected, sizeof expected);
        }
        cf_loader_free(l);
    }
    cf_dataset_free(d);
    cf_picture_fini(&p);
    cf_free(path);
}

static void a_steady_epoch_allocates_nothing(void **state)
{
    (void)state;
    const char *const paths[] = { plain, families };
    for (size_t k = 0; k < 2; k++) {
        cf_dataset *d;
        cf_loader *l;
        cf_loader_options o = training(5, 2);
        const cf_batch *b;
        assert_ok(cf_dataset_open(&d, paths[k], ""));
        assert_ok(cf_loader_new(&l, d, &o));
        size_t before = 0;
        for (uint32_t epoch = 0; epoch < 4; epoch++) {
            assert_ok(cf_loader_start(l, epoch, 0));
            do assert_ok(cf_loader_next(&b, l));
            while (b);
            if (epoch == 0) before = cf_memory_stats_get().allocations;
        }
        assert_int_equal(cf_memory_stats_get().allocations, before);
        assert_true(cf_loader_waited_s(l) > 0);
        assert_true(cf_loader_waited_s(l) == 0);
        cf_loader_free(l);
        cf_dataset_free(d);
    }
}

static void a_bad_frame_is_told_in_its_turn(void **state)
{
    (void)state;
    const bool bad[N_VIDEOS] = { [10] = true };
    char *path = spoiled_pack(bad);
    cf_dataset *d;
    assert_ok(cf_dataset_open(&d, path, ""));
    for (int workers = 1; workers <= 3; workers++) {
        cf_loader *l;
        cf_loader_options o = testing(4, 1, 1);
        const cf_batch *b;
        o.workers = workers;
        assert_ok(cf_loader_new(&l, d, &o));
        for (int pass = 0; pass < 2; pass++) {
            assert_ok(cf_loader_start(l, 0, 0));
            for (size_t k = 0; k < cf_loader_batches(l); k++) {
                b = NULL;
                if (k == 2)
                    assert_fails(cf_loader_next(&b, l), CF_EFORMAT, "v10.mp4");
                else
                    assert_ok(cf_loader_next(&b, l)); /* what follows can still be had */
                assert_true((b == NULL) == (k == 2));
            }
            assert_ok(cf_loader_next(&b, l));
            assert_null(b);
        }
        cf_loader_free(l);
    }
    cf_dataset_free(d);
    cf_free(path);
}

static void refused_options(void **state)
{
    (void)state;
    cf_dataset *d;
    cf_loader *l = NULL;
    const cf_batch *b;
    assert_ok(cf_dataset_open(&d, plain, ""));
#define REFUSED(base, change, text)                                                                \
    do {                                                                                           \
        cf_loader_options o = base;                                                                \
        change;                                                                                    \
        assert_fails(cf_loader_new(&l, d, &o), CF_EINVAL, text);                                   \
        assert_null(l);                                                                            \
    } while (0)
    REFUSED(training(48, 1), (void)0, "47 videos do not fill one batch of 48");
    REFUSED(training(4, 1), o.n_classes = 5, "has label 5");
    REFUSED(testing(4, 1, 1), o.n_classes = 5, "has label 5");
    REFUSED(training(0, 1), (void)0, "at least 1");
    REFUSED(training(4, 1), o.T = 0, "at least 1");
    REFUSED(training(4, 1), o.augment.flip = 1.5, "probability");
    REFUSED(training(4, 1), o.label_smooth = NAN, "probability");
    REFUSED(training(4, 1), o.mixup = -1, "mixup");
    REFUSED(training(4, -1), (void)0, "threads");
    REFUSED(testing(4, 1, 2), (void)0, "2 test crops");
    REFUSED(testing(4, 0, 1), (void)0, "clips");
    cf_loader_options o = training(4, 1);
    assert_ok(cf_loader_new(&l, d, &o));
    assert_fails(cf_loader_next(&b, l), CF_EINVAL, "not started");
    assert_fails(cf_loader_start(l, 0, 12), CF_EINVAL, "no number 12");
    cf_loader_free(l);
    cf_loader_free(NULL);
    cf_dataset_free(d);
}

static void one_clip_is_not_mixed(void **state)
{
    (void)state;
    cf_dataset *d;
    uint64_t prints[2][N_VIDEOS];
    assert_ok(cf_dataset_open(&d, plain, ""));
    for (int pass = 0; pass < 2; pass++) {
        cf_loader *l;
        cf_loader_options o = training(1, 1);
        if (pass) o.mixup = 0;
        assert_ok(cf_loader_new(&l, d, &o));
        assert_ok(cf_loader_start(l, 0, 0));
        assert_int_equal(read_epoch(prints[pass], l), N_VIDEOS);
        cf_loader_free(l);
    }
    assert_memory_equal(prints[0], prints[1], sizeof prints[0]);
    cf_dataset_free(d);
}

static void it_ends_at_any_moment(void **state)
{
    (void)state;
    cf_dataset *d;
    assert_ok(cf_dataset_open(&d, plain, ""));
    for (int round = 0; round < 60; round++) {
        cf_loader *l;
        cf_loader_options o = training(5, 1 + round % 4);
        const cf_batch *b;
        assert_ok(cf_loader_new(&l, d, &o));
        if (round % 3) assert_ok(cf_loader_start(l, 0, 0));
        for (int k = 0; round % 3 && k < round % 5; k++) assert_ok(cf_loader_next(&b, l));
        if (round % 7 == 1) assert_ok(cf_loader_start(l, 1, 1));
        cf_loader_free(l);
    }
    cf_dataset_free(d);
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    cf_dataset *d;
    cf_loader_options o = training(3, 2);
    assert_ok(cf_dataset_open(&d, plain, ""));
    size_t before = cf_memory_stats_get().bytes_now, n = 1;
    for (;; n++) {
        cf_loader *l = NULL;
        cf_memory_fail_at(n);
        cf_status status = cf_loader_new(&l, d, &o);
        cf_memory_fail_at(0);
        cf_loader_free(l);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
        if (status == CF_OK) break;
        assert_null(l);
        assert_int_equal(status, CF_ENOMEM);
    }
    assert_true(n > 20);
    cf_dataset_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(same_bits_plain),
        TEST(same_bits_families),
        TEST(an_epoch_takes_each_video_once),
        TEST(batches_hold_one_family),
        TEST(training_contents),
        TEST(a_test_covers_every_video_once),
        TEST(test_views_are_crop_major),
        TEST(frames_of_the_final_size_are_only_normalized),
        TEST(a_steady_epoch_allocates_nothing),
        TEST(a_bad_frame_is_told_in_its_turn),
        TEST(refused_options),
        TEST(one_clip_is_not_mixed),
        TEST(it_ends_at_any_moment),
        TEST(every_failed_allocation_is_clean),
    };
    return cmocka_run_group_tests(tests, setup, teardown) != 0;
}
