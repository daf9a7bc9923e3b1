/* What a test counts, against a straightforward computation: all candidates sorted. */
#include "../test.h"

#include <signal.h>

#include "train/run.h"

enum { VIEWS = 6 };

typedef struct {
    size_t n, K;
    int32_t *label, *family;
    float *sum; /* [n, K] */
    bool *shown;
} setting;

/* levels: how many different scores there are, so that few make many ties. gap: every so manieth
 * class has no videos. Some videos have no label, some are never shown. */
static setting make(size_t n, size_t K, uint32_t levels, size_t gap, size_t families)
{
    setting s = { .n = n, .K = K };
    cf_rng rng = cf_rng_make(3, CF_RNG_TEST, (uint32_t)K, n);
    assert_ok(cf_alloc(&s.label, n, sizeof *s.label));
    assert_ok(cf_alloc(&s.family, K, sizeof *s.family));
    assert_ok(cf_alloc(&s.sum, n * K, sizeof *s.sum));
    assert_ok(cf_alloc(&s.shown, n, sizeof *s.shown));
    for (size_t k = 0; k < K; k++) s.family[k] = (int32_t)(k % families);
    for (size_t i = 0; i < n; i++) {
        uint32_t label = cf_rng_below(&rng, (uint32_t)K);
        if (gap && label % gap == gap - 1) label = 0;
        s.label[i] = i % 7 == 3 ? -1 : (int32_t)label;
        s.shown[i] = i % 11 != 5;
        for (size_t k = 0; k < K; k++)
            s.sum[i * K + k] = VIEWS * (float)cf_rng_below(&rng, levels) / (float)levels;
    }
    return s;
}

static void setting_fini(setting *s)
{
    cf_free(s->label);
    cf_free(s->family);
    cf_free(s->sum);
    cf_free(s->shown);
}

static const float *sorted_by;
static int by_score(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (sorted_by[x] != sorted_by[y]) return sorted_by[x] > sorted_by[y] ? -1 : 1;
    return x < y ? -1 : 1;
}

/* The video's candidates, best first; how many. */
static size_t sort_candidates(int32_t *out, const setting *s, size_t i)
{
    size_t n = 0;
    for (size_t k = 0; k < s->K; k++)
        if (s->label[i] < 0 || s->family[k] == s->family[s->label[i]]) out[n++] = (int32_t)k;
    sorted_by = s->sum + i * s->K;
    qsort(out, n, sizeof *out, by_score);
    return n;
}

static cf_metrics count(const setting *s)
{
    cf_metrics m;
    assert_ok(cf_metrics_new(&m, s->n, s->K));
    memcpy(m.label, s->label, s->n * sizeof *m.label);
    memcpy(m.family, s->family, s->K * sizeof *m.family);
    for (size_t i = s->n; i-- > 0;) /* in any order */
        if (s->shown[i]) cf_metrics_add(&m, i, s->sum + i * s->K, VIEWS);
    return m;
}

static void check_predictions(const cf_metrics *m, const setting *s, size_t i)
{
    int32_t order[64];
    size_t n = sort_candidates(order, s, i);
    for (size_t j = 0; j < m->k; j++) {
        int32_t want = s->shown[i] && j < n ? order[j] : -1;
        float score = m->score[i * m->k + j];
        assert_int_equal(m->prediction[i * m->k + j], want);
        if (want < 0)
            assert_true(isnan(score));
        else
            assert_near(score, s->sum[i * s->K + (size_t)want] / VIEWS, 1e-7);
    }
}

static void check_counts(const cf_metrics *m, const setting *s)
{
    double mean = 0;
    int64_t videos = 0, top1 = 0, top5 = 0, classes = 0, all = 0;
    for (size_t c = 0; c < s->K; c++) {
        int64_t own = 0, hits = 0, taken[64] = { 0 };
        for (size_t i = 0; i < s->n; i++) {
            int32_t order[64];
            if (!s->shown[i] || s->label[i] != (int32_t)c) continue;
            size_t n = sort_candidates(order, s, i);
            own++;
            hits += order[0] == (int32_t)c;
            taken[order[0]]++;
            for (size_t j = 0; j < n && j < 5; j++) top5 += order[j] == (int32_t)c;
        }
        cf_class_metrics got = cf_metrics_of_class(m, c);
        int32_t wrong = -1;
        for (size_t k = 0; k < s->K; k++) {
            assert_int_equal(m->confusion[c * s->K + k], taken[k]);
            all += m->confusion[c * s->K + k];
            if (k != c && taken[k] > (wrong < 0 ? 0 : taken[wrong])) wrong = (int32_t)k;
        }
        assert_int_equal(got.videos, own);
        assert_int_equal(got.hits, hits);
        assert_int_equal(got.wrong, wrong);
        videos += own;
        top1 += hits;
        if (own > 0) mean += 100.0 * (double)hits / (double)own, classes++;
    }
    assert_int_equal(m->videos, videos);
    assert_int_equal(all, videos);
    assert_int_equal(m->top1, top1);
    assert_int_equal(m->top5, top5);
    assert_near(cf_metrics_mean_class(m), mean / (double)classes, 1e-9);
}

static void counts_are_the_plain_ones(void **state)
{
    (void)state;
    static const struct {
        size_t n, K, gap, families;
        uint32_t levels;
    } cases[] = { { 50, 1, 0, 1, 3 },   { 50, 2, 0, 1, 3 },    { 60, 3, 3, 1, 1000 },
                  { 80, 4, 0, 2, 2 },   { 80, 5, 0, 1, 4 },    { 200, 7, 2, 1, 3 },
                  { 300, 12, 4, 3, 5 }, { 500, 60, 5, 1, 40 }, { 500, 60, 7, 20, 100000 },
                  { 90, 9, 0, 9, 3 } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        setting s = make(cases[c].n, cases[c].K, cases[c].levels, cases[c].gap, cases[c].families);
        cf_metrics m = count(&s);
        size_t shown = 0;
        assert_int_equal(m.k, s.K < 5 ? s.K : 5);
        for (size_t i = 0; i < s.n; i++) {
            shown += s.shown[i];
            check_predictions(&m, &s, i);
        }
        assert_int_equal(m.scored, shown);
        check_counts(&m, &s);
        cf_metrics_fini(&m);
        setting_fini(&s);
    }
}

static void nothing_to_count_is_no_number(void **state)
{
    (void)state;
    cf_metrics m;
    const float sum[] = { 1, 2, 3 };
    assert_ok(cf_metrics_new(&m, 2, 3));
    assert_true(isnan(cf_metrics_mean_class(&m)));
    cf_metrics_add(&m, 1, sum, 1); /* without a label */
    assert_int_equal(m.scored, 1);
    assert_int_equal(m.videos, 0);
    assert_int_equal(m.prediction[3], 2);
    assert_int_equal(m.prediction[0], -1);
    assert_true(isnan(cf_metrics_mean_class(&m)) && isnan(cf_percent(m.top1, m.videos)));
    cf_metrics_fini(&m);
}

/* The check behind "scored once": a second time, or a row that is not there, aborts. */
static void a_video_twice_aborts(void **state)
{
    (void)state;
    const float sum[] = { 1, 2 };
    for (size_t row = 0; row < 3; row++) { /* 0: new; 1: seen; 2: none */
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            cf_metrics m;
            signal(SIGABRT, SIG_DFL);
            freopen("/dev/null", "w", stderr);
            if (cf_metrics_new(&m, 2, 2) != CF_OK) _exit(1);
            cf_metrics_add(&m, 1, sum, 1);
            cf_metrics_add(&m, row, sum, 1);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, row > 0);
    }
}

/* Kept out of line: gcc 12 takes the inlined name for a dangling one. */
__attribute__((noinline)) static char *new_folder(void) { return test_folder_new(); }

static void assert_file(const char *path, const char *want)
{
    char *text;
    size_t n;
    assert_ok(cf_file_read(&text, &n, path));
    assert_string_equal(text, want);
    cf_free(text);
}

static void tables_name_the_classes(void **state)
{
    (void)state;
    static char a[] = "running, fast", b[] = "say \"cheese\"", c[] = "sit";
    char *names[] = { a, b, c }, *folder = new_folder();
    char *classes_path = test_path(folder, "classes.csv"),
         *matrix = test_path(folder, "matrix.csv");
    const cf_classes classes = { .n = 3, .name = names };
    static const float sums[][3] = { { 3, 2, 1 }, { 1, 2, 3 }, { 1, 3, 2 }, { 0, 1, 2 } };
    cf_metrics m;
    assert_ok(cf_metrics_new(&m, 4, 3));
    for (size_t i = 0; i < 4; i++) {
        m.label[i] = i == 3 ? 1 : 0;
        cf_metrics_add(&m, i, sums[i], 1);
    }
    assert_ok(cf_result_write_classes(&m, &classes, classes_path));
    assert_file(classes_path, "class,videos,right,top-1 %,most frequent wrong class\n"
                              "\"running, fast\",3,1,33.33,\"say \"\"cheese\"\"\"\n"
                              "\"say \"\"cheese\"\"\",1,0,0.00,sit\n"
                              "sit,0,0,,\n");
    assert_ok(cf_result_write_confusion(&m, &classes, matrix));
    assert_file(matrix, "label,\"running, fast\",\"say \"\"cheese\"\"\",sit\n"
                        "\"running, fast\",1,1,1\n"
                        "\"say \"\"cheese\"\"\",0,0,1\n"
                        "sit,0,0,0\n");
    cf_free(classes_path);
    classes_path = test_path(folder, "none/classes.csv");
    assert_fails(cf_result_write_classes(&m, &classes, classes_path), CF_ENOTFOUND,
                 "none/classes.csv");
    cf_metrics_fini(&m);
    cf_free(classes_path);
    cf_free(matrix);
    test_folder_remove(folder);
}

TESTS(TEST(counts_are_the_plain_ones), TEST(nothing_to_count_is_no_number),
      TEST(a_video_twice_aborts), TEST(tables_name_the_classes))
