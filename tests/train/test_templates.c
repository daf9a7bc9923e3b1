/* MODEL.PROMPT ensemble: which texts, one drawn for each micro-batch, the mean of all in a test. */
#include "micro.h"
#include "train/run.h"

#include "crossframe/h5.h"
#include "crossframe/predict.h"

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

/* ---- prediction ------------------------------------------------------------------------------ */

static cf_status one_pack(void *user, const char **out)
{
    const char **next = user;
    *out = *next;
    *next = NULL;
    return CF_OK;
}

/* Trains a run of these settings. The largest difference of a probability between its test and
 * what a predictor says, with `template`. */
static double predict_against_test(const char *folder, const char *const *settings,
                                   const char *template)
{
    char *weights = test_path(folder, "run/last.safetensors"), *pack = test_path(folder, "test.h5");
    char *scores = test_path(folder, "scores.h5"), *merges = test_path(folder, "merges.txt");
    const cf_run_options o = { .only_test = true, .scores = scores };
    const cf_predictor_options po = {
        .checkpoint = weights, .vocabulary = merges, .clips = 1, .crops = 1
    };
    const char *next = pack;
    double most = 0;
    float *expected, got[MICRO_CLASSES];
    size_t n;
    cf_run *r;
    cf_eval_record record;
    cf_predictor *p;
    cf_input_reader *reader;
    cf_labels labels = { 0 };
    cf_h5 *f;
    micro_train_whole(folder, "run", settings);
    cf_config *c = micro_config(folder, "run", settings);
    assert_ok(cf_config_set_plain(c, "MODEL.RESUME", weights, "--resume"));
    assert_ok(cf_run_new(&r, c, &o));
    assert_ok(cf_run_test(&record, r));
    cf_run_free(r);
    cf_config_free(c);
    assert_ok(cf_h5_open(&f, scores));
    assert_ok(cf_h5_read_f32(&expected, &n, f, "/scores"));
    cf_h5_close(f);
    assert_ok(cf_predictor_new(&p, &po));
    assert_ok(cf_predictor_own_labels(&labels, p));
    assert_ok(cf_predictor_set_labels(p, &labels, template));
    assert_ok(cf_input_reader_new(&reader, cf_predictor_views(p), one_pack, &next));
    for (size_t i = 0; i < MICRO_TEST; i++) {
        const cf_input *input;
        assert_ok(cf_input_reader_next(&input, reader));
        assert_ok(cf_predictor_score(got, p, input->views));
        for (size_t k = 0; k < MICRO_CLASSES; k++)
            most = fmax(most, fabs((double)(got[k] - expected[i * MICRO_CLASSES + k])));
    }
    cf_input_reader_free(reader);
    cf_predictor_free(p);
    cf_labels_fini(&labels);
    cf_free(expected);
    cf_free(weights);
    cf_free(scores);
    cf_free(merges);
    cf_free(pack);
    return most;
}

/* Labels in all templates of the run, as in its test; another template is one instead. */
static void predict_says_what_a_test_says(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *option = write_templates(folder, "{}\nred {}\n");
    const char *const ensemble[] = { "MODEL.PROMPT=ensemble", option, "TRAIN.EPOCHS=1", NULL };
    const char *const vectors[] = { "MODEL.PROMPT=vectors", "MODEL.PROMPT_VECTORS=2",
                                    "TRAIN.EPOCHS=1", NULL };
    assert_true(predict_against_test(folder, ensemble, NULL) < 1e-6);
    assert_true(predict_against_test(folder, ensemble, "{}") > 1e-4);
    assert_true(predict_against_test(folder, vectors, NULL) < 1e-6);
    cf_free(option);
    test_folder_remove(folder);
}

/* The file tells its vectors; a configuration that says otherwise is refused. */
static void weights_tell_their_vectors(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *weights = test_path(folder, "run/best.safetensors");
    const char *const vectors[] = { "MODEL.PROMPT=vectors", "MODEL.PROMPT_VECTORS=2",
                                    "TRAIN.EPOCHS=1", NULL };
    static const char *const other[] = { NULL, "MODEL.PROMPT=ensemble", "MODEL.PROMPT_VECTORS=3",
                                         "MODEL.PROMPT=video" };
    micro_train_whole(folder, "run", vectors);
    for (size_t i = 0; i < 4; i++) {
        const char *const more[] = { other[i], NULL };
        const cf_run_options o = { .only_test = true };
        cf_config *c = micro_config(folder, "run", more);
        cf_run *r = NULL;
        assert_ok(cf_config_set_plain(c, "MODEL.RESUME", weights, "--resume"));
        cf_status status = cf_run_new(&r, c, &o);
        if (i == 0) {
            assert_int_equal(status, CF_OK);
            assert_int_equal(c->model.prompt, CF_PROMPT_VECTORS);
            assert_int_equal(c->model.prompt_vectors, 2);
        } else {
            assert_fails(status, CF_EINVAL, "contradicts the weights");
        }
        cf_run_free(r);
        cf_config_free(c);
    }
    cf_free(weights);
    test_folder_remove(folder);
}

TESTS(TEST(sixteen_are_published), TEST(a_file_of_them), TEST(too_long_is_refused),
      TEST(each_micro_batch_draws_one), TEST(a_test_takes_the_mean),
      TEST(predict_says_what_a_test_says), TEST(weights_tell_their_vectors))
