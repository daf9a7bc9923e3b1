/* MODEL.PROMPT ensemble: which texts, one drawn for each micro-batch, the mean of all in a test. */
#include "micro.h"
#include "train/run.h"

static char *write_templates(const char *folder, const char *text)
{
    char *path = test_path(folder, "templates.txt"), *option;
    assert_ok(cf_file_write(path, text, strlen(text)));
    assert_ok(cf_format(&option, "MODEL.PROMPT_TEMPLATES=%s", path));
    cf_free(path);
    return option;
}

static cf_config *make_config(const char *folder, const char *option)
{
    const char *const more[] = { "MODEL.PROMPT=ensemble", option, NULL };
    return micro_config(folder, "run", more);
}

/* ---- texts ----------------------------------------------------------------------------------- */

static void sixteen_are_published(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *text;
    cf_config *c = make_config(folder, NULL);
    cf_templates t;
    assert_ok(cf_templates_open(&t, c));
    assert_int_equal(t.n, 16);
    for (size_t i = 0; i < t.n; i++) {
        const char *at = strstr(t.text[i], "{}");
        assert_non_null(at);
        assert_null(strstr(at + 1, "{}"));
        for (size_t j = 0; j < i; j++) assert_string_not_equal(t.text[i], t.text[j]);
    }
    assert_ok(cf_template_fill(&text, t.text[11], "juggling"));
    assert_string_equal(text, "Can you recognize the action of juggling?");
    cf_free(text);
    cf_templates_fini(&t);
    c->model.prompt = CF_PROMPT_VIDEO;
    assert_ok(cf_templates_open(&t, c));
    assert_int_equal(t.n, 1);
    assert_string_equal(t.text[0], "{}");
    cf_templates_fini(&t);
    cf_config_free(c);
    test_folder_remove(folder);
}

static void a_file_of_them(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *option = write_templates(folder, "a {}\r\n\n{} b");
    cf_config *c = make_config(folder, option);
    cf_templates t = { 0 };
    assert_ok(cf_templates_open(&t, c));
    assert_int_equal(t.n, 2);
    assert_string_equal(t.text[0], "a {}");
    assert_string_equal(t.text[1], "{} b");
    cf_templates_fini(&t);
    cf_free(option);
    option = write_templates(folder, "a {}\n\nb\n");
    assert_fails(cf_templates_open(&t, c), CF_EFORMAT, "templates.txt, line 3: there is no {}");
    cf_free(option);
    option = write_templates(folder, "\n\n");
    assert_fails(cf_templates_open(&t, c), CF_EFORMAT, "templates.txt is empty");
    assert_ok(cf_config_set_plain(c, "MODEL.PROMPT_TEMPLATES", "nowhere.txt", "--opts"));
    assert_fails(cf_templates_open(&t, c), CF_ENOTFOUND, "MODEL.PROMPT_TEMPLATES: ");
    cf_config_free(c);
    cf_free(option);
    test_folder_remove(folder);
}

/* The micro model's context is 16, its words are cut small. */
static void too_long_is_refused(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    cf_config *c = make_config(folder, NULL);
    assert_fails(micro_train(c, 1), CF_EINVAL, "MODEL.PROMPT ensemble: ");
    assert_non_null(strstr(cf_error(), "a photo of action a red thing moving left"));
    assert_non_null(strstr(cf_error(), "MODEL.PROMPT_TEMPLATES may name shorter texts"));
    test_folder_remove(folder);
}

/* ---- training -------------------------------------------------------------------------------- */

enum { LOSSES = 26 };

typedef struct {
    double loss[LOSSES];
    size_t n;
} losses;

static void keep_loss(void *user, const cf_run_progress *p)
{
    losses *l = user;
    assert_true(l->n < LOSSES);
    l->loss[l->n++] = p->record.loss;
}

/* Losses of two epochs in which the weights stay as they are. text NULL: no ensemble. */
static losses train(const char *folder, const char *text, bool fixed)
{
    losses l = { .n = 0 };
    char *option = text ? write_templates(folder, text) : NULL;
    const char *const more[] = { text ? "MODEL.PROMPT=ensemble" : "MODEL.PROMPT=none",
                                 fixed ? "MODEL.FIX_TEXT=True" : "MODEL.FIX_TEXT=False",
                                 "TRAIN.LR=0",
                                 "TRAIN.ACCUMULATION_STEPS=1",
                                 option,
                                 NULL };
    const cf_run_options o = { .user = &l, .stepped = keep_loss };
    cf_config *c = micro_config(folder, "run", more);
    cf_run *r;
    assert_ok(cf_run_new(&r, c, &o));
    assert_ok(cf_run_train(r));
    cf_run_free(r);
    cf_config_free(c);
    cf_free(option);
    assert_int_equal(l.n, LOSSES);
    return l;
}

static void each_micro_batch_draws_one(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    for (int fixed = 0; fixed < 2; fixed++) {
        losses none = train(folder, NULL, fixed), bare = train(folder, "{}\n", fixed);
        losses twice = train(folder, "{}\n{}\n", fixed), red = train(folder, "red {}\n", fixed);
        losses both = train(folder, "{}\nred {}\n", fixed);
        size_t of_red = 0;
        assert_memory_equal(none.loss, bare.loss, sizeof bare.loss);
        assert_memory_equal(none.loss, twice.loss, sizeof bare.loss);
        for (size_t i = 0; i < LOSSES; i++) {
            double l = both.loss[i];
            assert_true(bare.loss[i] < red.loss[i] || bare.loss[i] > red.loss[i]);
            assert_true(!(l < bare.loss[i] || l > bare.loss[i]) ||
                        !(l < red.loss[i] || l > red.loss[i]));
            of_red += !(l < red.loss[i] || l > red.loss[i]);
        }
        assert_in_range(of_red, LOSSES / 5, LOSSES - LOSSES / 5);
    }
    test_folder_remove(folder);
}

/* ---- test ------------------------------------------------------------------------------------ */

/* The mean of the normalised features, computed here from those of one template at a time. */
static void a_test_takes_the_mean(void **state)
{
    (void)state;
    static const char *const text[] = { "{}\n", "red {}\n", "{} blue\n", "{}\nred {}\n{} blue\n" };
    enum { E = 64 };
    static cf_real got[MICRO_CLASSES * E];
    double mean[MICRO_CLASSES * E] = { 0 };
    char *folder = micro_folder(false);
    for (size_t i = 0; i < 4; i++) {
        char *option = write_templates(folder, text[i]);
        cf_config *c = make_config(folder, option);
        const cf_run_options o = { .only_test = true };
        cf_run *r;
        cf_eval_record record;
        assert_ok(cf_run_new(&r, c, &o));
        assert_ok(cf_run_test(&record, r));
        for (size_t k = 0; k < MICRO_CLASSES; k++) {
            const cf_real *row = r->text.features + k * E;
            double norm = sqrt(cf_vec_sum_squares(row, E));
            for (size_t j = 0; j < E && i < 3; j++) mean[k * E + j] += (double)row[j] / norm / 3;
        }
        memcpy(got, r->text.features, sizeof got);
        cf_run_free(r);
        cf_config_free(c);
        cf_free(option);
    }
    assert_all_near(got, mean, MICRO_CLASSES * E, 1e-6);
    test_folder_remove(folder);
}

TESTS(TEST(sixteen_are_published), TEST(a_file_of_them), TEST(too_long_is_refused),
      TEST(each_micro_batch_draws_one), TEST(a_test_takes_the_mean))
