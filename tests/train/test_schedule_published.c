/* The learning rate of every update of the published runs, and of ours that repeat them.
 *
 * Both sides start from the same settings. Ours: configuration, cf_run_plan_steps, cf_run_tick and
 * cf_schedule_rates, in the order run.c and loop.c call them. Theirs: the published loop written
 * down plainly, micro-batch after micro-batch of one of R processes (spec of the recipe 5, 7.4,
 * 7.5). */
#include "micro.h"

#include "train/run.h"

#include <math.h>

/* Videos of Kinetics-400 as the common copies have it, and few-shot sets of K a class. */
enum { K400 = 240436, R = 8 };

/* ---- the published loop ---------------------------------------------------------------------- */

typedef struct {
    double lr;
    long videos, batch, accumulation, ranks, epochs;
    double warmup_epochs;
} setting;

static double formula(const setting *s, double base, long n, long t)
{
    double least = s->lr / 100, total = (double)(s->epochs * n);
    long warm = (long)(s->warmup_epochs * (double)n);
    if (t < warm) return base / (double)warm * (double)t;
    return least + (base - least) * (1 + cos(acos(-1.0) * (double)t / total)) / 2;
}

/* Rates of every update, [updates][2]; their number in *n_updates. The sampler fills up to a whole
 * number of videos a process, the loader drops the last incomplete batch. */
static double (*published(size_t *n_updates, const setting *s))[2]
{
    long n = (s->videos + s->ranks - 1) / s->ranks / s->batch;
    double(*rates)[2], now[2];
    assert_ok(cf_alloc(&rates, (size_t)(s->epochs * (n / s->accumulation) + 1), sizeof *rates));
    *n_updates = 0;
    for (int g = 0; g < 2; g++) now[g] = s->warmup_epochs > 0 ? 0 : s->lr * (g ? 10 : 1);
    for (long epoch = 0; epoch < s->epochs; epoch++)
        for (long i = 0; i < n; i++) {
            if ((i + 1) % s->accumulation != 0) continue;
            memcpy(rates[(*n_updates)++], now, sizeof now);
            for (int g = 0; g < 2; g++) now[g] = formula(s, s->lr * (g ? 10 : 1), n, epoch * n + i);
        }
    return rates;
}

/* ---- ours ------------------------------------------------------------------------------------ */

/* All updates of the run that this configuration makes with `videos` videos. Frees c. */
static double (*ours(size_t *n_updates, cf_config *c, long videos))[2]
{
    assert_ok(cf_config_settle(c));
    cf_run r = { .config = c, .at = { .previous = -1 } };
    r.micro_batches = (size_t)videos / (size_t)c->train.batch_size;
    assert_ok(cf_run_plan_steps(&r, (size_t)videos));
    double(*rates)[2];
    assert_ok(cf_alloc(&rates, (size_t)r.steps, sizeof *rates));
    *n_updates = 0;
    for (; r.at.epoch < c->train.epochs; r.at.epoch++)
        for (r.at.micro = 0; (size_t)r.at.micro + r.accumulation <= r.micro_batches;) {
            cf_schedule_rates(rates[(*n_updates)++], &r.schedule, r.at.previous < 0,
                              (uint64_t)r.at.previous);
            r.at.micro += (int64_t)r.accumulation;
            r.at.previous = cf_run_tick(&r);
        }
    assert_int_equal(*n_updates, r.steps);
    cf_config_free(c);
    return rates;
}

static void assert_equal_rates(cf_config *c, const setting *s)
{
    size_t n, m;
    double(*mine)[2] = ours(&n, c, s->videos), (*theirs)[2] = published(&m, s);
    assert_int_equal(n, m);
    for (size_t i = 0; i < 2 * n; i++) {
        double a = mine[i / 2][i % 2], b = theirs[i / 2][i % 2];
        if (!(fabs(a - b) <= 1e-9 * b))
            fail_msg("update %zu, group %zu: %.15g, published %.15g", i / 2, i % 2, a, b);
    }
    cf_free(mine);
    cf_free(theirs);
}

/* A shipped configuration, with "KEY=VALUE"s. */
static cf_config *shipped(const char *file, const char *const *opts, size_t n)
{
    cf_config *c;
    assert_ok(cf_config_load(&c, file, opts, n));
    return c;
}

static void kinetics_as_shipped(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        long batch, accumulation, updates;
    } rows[] = { { "configs/k400/32_8.yaml", 8, 4, 939 },
                 { "configs/k400/16_32.yaml", 4, 8, 939 },
                 { "configs/k400/14_16_336.yaml", 1, 32, 939 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const setting s = { 8e-6, K400, rows[i].batch, rows[i].accumulation, R, 30, 5 };
        size_t n;
        cf_free(published(&n, &s));
        assert_int_equal(n, 30 * rows[i].updates);
        assert_equal_rates(shipped(rows[i].file, NULL, 0), &s);
    }
}

static void few_shot_as_shipped(void **state)
{
    (void)state;
    static const struct {
        const char *set;
        long classes;
    } sets[] = { { "hmdb51", 51 }, { "ucf101", 101 } };
    for (size_t i = 0; i < 2; i++)
        for (long k = 2; k <= 16; k *= 2) {
            char *file;
            assert_ok(cf_format(&file, "configs/%s/few_%ld.yaml", sets[i].set, k));
            const setting s = { 2e-6, sets[i].classes * k, 4, 2, R, 50, 5 };
            assert_equal_rates(shipped(file, NULL, 0), &s);
            cf_free(file);
        }
}

/* One process: the configurations as published, without GLOBAL_BATCH and RANKS. */
static void one_process(void **state)
{
    (void)state;
    const char *kinetics[] = { "TRAIN.BATCH_SIZE=8", "TRAIN.ACCUMULATION_STEPS=4" };
    const setting k = { 8e-6, K400, 8, 4, 1, 30, 5 };
    assert_equal_rates(shipped(NULL, kinetics, 2), &k);
    const char *few[] = { "TRAIN.BATCH_SIZE=4", "TRAIN.ACCUMULATION_STEPS=2", "TRAIN.EPOCHS=50",
                          "TRAIN.LR=2.e-6" };
    for (long shots = 2; shots <= 16; shots *= 2) {
        const setting s = { 2e-6, 51 * shots, 4, 2, 1, 50, 5 };
        assert_equal_rates(shipped(NULL, few, 4), &s);
    }
    const char *cold[] = { "TRAIN.WARMUP_EPOCHS=0", "TRAIN.ACCUMULATION_STEPS=3" };
    const setting c = { 8e-6, 1000, 8, 3, 1, 30, 0 }; /* 125 micro-batches: 2 left over */
    assert_equal_rates(shipped(NULL, cold, 2), &c);
}

/* Another BATCH_SIZE on one machine: a published run of that many videos a process. */
static void other_batch_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *batch;
        long size, accumulation, ranks;
    } rows[] = { { "TRAIN.BATCH_SIZE=2", 2, 16, 8 },
                 { "TRAIN.BATCH_SIZE=32", 32, 1, 8 },
                 { "TRAIN.BATCH_SIZE=64", 64, 1, 4 }, /* 4 a step: 4 processes */
                 { "TRAIN.BATCH_SIZE=256", 256, 1, 1 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const setting s = { 8e-6, K400, rows[i].size, rows[i].accumulation, rows[i].ranks, 30, 5 };
        assert_equal_rates(shipped("configs/k400/32_8.yaml", &rows[i].batch, 1), &s);
    }
}

/* Without RANKS: how far the rates are off, as docs/configuration.md says. */
static void without_ranks(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        setting s;
        double most_off, most_ratio; /* of the largest rate; of one rate */
    } rows[] = { { "configs/k400/32_8.yaml", { 8e-6, K400, 8, 4, R, 30, 5 }, 1e-4, 1.3 },
                 { "configs/hmdb51/few_2.yaml", { 2e-6, 102, 4, 2, R, 50, 5 }, 0.06, 1.9 },
                 { "configs/hmdb51/few_4.yaml", { 2e-6, 204, 4, 2, R, 50, 5 }, 0.06, 1.9 },
                 { "configs/hmdb51/few_8.yaml", { 2e-6, 408, 4, 2, R, 50, 5 }, 0.06, 1.9 },
                 { "configs/hmdb51/few_16.yaml", { 2e-6, 816, 4, 2, R, 50, 5 }, 0.06, 1.9 },
                 { "configs/ucf101/few_2.yaml", { 2e-6, 202, 4, 2, R, 50, 5 }, 0.06, 1.9 },
                 { "configs/ucf101/few_4.yaml", { 2e-6, 404, 4, 2, R, 50, 5 }, 0.06, 1.9 },
                 { "configs/ucf101/few_8.yaml", { 2e-6, 808, 4, 2, R, 50, 5 }, 0.06, 1.9 },
                 { "configs/ucf101/few_16.yaml", { 2e-6, 1616, 4, 2, R, 50, 5 }, 0.06, 1.9 } };
    const char *alone[] = { "TRAIN.RANKS=1" };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n, m;
        double(*mine)[2] = ours(&n, shipped(rows[i].file, alone, 1), rows[i].s.videos);
        double(*theirs)[2] = published(&m, &rows[i].s), off = 0, ratio = 0;
        assert_int_equal(n, m);
        for (size_t u = 1; u < n; u++) {
            off = fmax(off, fabs(mine[u][0] - theirs[u][0]) / rows[i].s.lr);
            ratio = fmax(ratio, mine[u][0] / theirs[u][0]);
        }
        print_message("%s: %.3g of the largest rate, %.3g times\n", rows[i].file, off, ratio);
        assert_true(off <= rows[i].most_off && off > 1e-6);
        assert_true(ratio <= rows[i].most_ratio && ratio > rows[i].most_ratio - 0.15);
        cf_free(mine);
        cf_free(theirs);
    }
}

/* The values printed in the specification, 7.4. */
static void reference_values(void **state)
{
    (void)state;
    static const struct {
        size_t update;
        int group;
        double rate;
    } rows[] = { { 0, 0, 0 },
                 { 1, 0, 0 },
                 { 2, 0, 1.6e-8 },
                 { 499, 0, 7.968e-6 },
                 { 500, 0, 7.984e-6 },
                 { 501, 0, 7.469460598986378e-6 },
                 { 501, 1, 7.464637513522616e-5 },
                 { 1500, 0, 4.044146901544809e-6 },
                 { 2999, 0, 8.000868524869796e-8 },
                 { 2999, 1, 8.008764205504303e-8 } };
    size_t n;
    double(*rates)[2] = ours(&n, shipped(NULL, NULL, 0), 800);
    assert_int_equal(n, 3000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_near(rates[rows[i].update][rows[i].group], rows[i].rate, 1e-9 * rows[i].rate);
    cf_free(rates);
    const char *opts[] = { "TRAIN.LR=2e-6", "TRAIN.EPOCHS=3", "TRAIN.WARMUP_EPOCHS=0",
                           "TRAIN.ACCUMULATION_STEPS=2" };
    const double head[] = { 2e-6, 1.988942517962877e-6, 1.901959179223395e-6,
                            1.735721353111528e-6 };
    rates = ours(&n, shipped(NULL, opts, 4), 56);
    assert_int_equal(n, 9);
    for (size_t i = 0; i < 4; i++) assert_near(rates[i][0], head[i], 1e-9 * head[i]);
    assert_near(rates[8][0], 1.9202361342716493e-7, 1e-9 * 2e-7);
    cf_free(rates);
}

/* ---- a run ----------------------------------------------------------------------------------- */

static double logged_rate(const char **at)
{
    const char *lr = strstr(*at, "\"lr\":");
    assert_non_null(lr);
    char *end;
    double value = strtod(lr + 5, &end);
    *at = end;
    return value;
}

/* 27 videos in micro-batches of 2, 8 videos a step as of 2 processes: the log has the rates of 14
 * videos a process, 7 micro-batches, 2 a step; and config.yaml repeats the run. */
static void a_run_logs_them(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *text;
    const char *more[] = { "TRAIN.GLOBAL_BATCH=8", "TRAIN.RANKS=2", NULL };
    cf_config *c = micro_config(folder, "run", more), *again;
    char *path = test_path(folder, "run/log.jsonl"), *yaml = test_path(folder, "run/config.yaml");
    assert_int_equal(c->train.accumulation_steps, 2);
    assert_ok(micro_train(c, 0));
    const setting s = { 1e-3, MICRO_TRAIN, 2, 2, 2, 2, 0.3 };
    size_t n, bytes;
    double(*expected)[2] = published(&n, &s);
    assert_int_equal(n, 6);
    assert_ok(cf_file_read(&text, &bytes, path));
    const char *at = text;
    for (size_t i = 0; i < n; i++)
        assert_near(logged_rate(&at), expected[i][0], 1e-8 * expected[i][0]);
    assert_null(strstr(at, "\"lr\":"));

    assert_ok(cf_config_load(&again, yaml, NULL, 0));
    assert_int_equal(again->train.global_batch, 8);
    assert_int_equal(again->train.accumulation_steps, 4);
    assert_ok(cf_config_settle(again));
    assert_int_equal(again->train.accumulation_steps, 4);
    cf_config_free(again);
    cf_free(expected);
    cf_free(text);
    cf_free(yaml);
    cf_free(path);
    test_folder_remove(folder);
}

TESTS(TEST(kinetics_as_shipped), TEST(few_shot_as_shipped), TEST(one_process),
      TEST(other_batch_sizes), TEST(without_ranks), TEST(reference_values), TEST(a_run_logs_them))
