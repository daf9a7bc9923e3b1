/* What a checkpoint holds, and that a damaged or foreign one is refused with one line. */
#include "micro.h"

static cf_status resume(const char *folder, const char *path)
{
    cf_config *c = micro_config(folder, "other", NULL);
    assert_ok(cf_config_set_plain(c, "MODEL.RESUME", path, "--resume"));
    return micro_train(c, 1);
}

static void it_holds_what_the_design_says(void **state)
{
    (void)state;
    static const char *const keys[][2] = { { "epoch", "0" },       { "micro_batch", "6" },
                                           { "step", "3" },        { "previous_update", "5" },
                                           { "adamw_steps", "3" }, { "log_evals", "0" },
                                           { "seed", "1024" },     { "best_top1", "-1" } };
    char *folder = micro_folder(false), *last = test_path(folder, "run/last.safetensors");
    assert_fails(micro_train(micro_config(folder, "run", NULL), 3), CF_EINTERRUPTED, "step 3");
    cf_st_file *f;
    size_t weights = 0, moments = 0;
    assert_ok(cf_st_open(&f, last));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_string_equal(cf_st_metadata(f, keys[i][0]), keys[i][1]);
    assert_non_null(strstr(cf_st_metadata(f, "config"), "ACCUMULATION_STEPS: 2"));
    for (size_t i = 0; i < cf_st_n_tensors(f); i++) {
        const char *name = cf_st_tensor_at(f, i)->name;
        bool moment = strncmp(name, "optimizer.", 10) == 0;
        moments += moment;
        weights += !moment;
        if (moment) assert_non_null(cf_st_find(f, name + strlen("optimizer.m.")));
    }
    assert_non_null(cf_st_find(f, "token_embedding.weight")); /* frozen: saved, without moments */
    assert_null(cf_st_find(f, "optimizer.m.token_embedding.weight"));
    assert_non_null(cf_st_find(f, "optimizer.v.mit.positional_embedding"));
    assert_true(moments > 0 && moments < 2 * weights);
    cf_st_close(f);
    cf_free(last);
    test_folder_remove(folder);
}

static void best_holds_weights_alone(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *best = test_path(folder, "run/best.safetensors");
    micro_train_whole(folder, "run", (const char *const[]){ "TRAIN.EPOCHS=1", NULL });
    cf_st_file *f;
    assert_ok(cf_st_open(&f, best));
    for (size_t i = 0; i < cf_st_n_tensors(f); i++)
        assert_null(strstr(cf_st_tensor_at(f, i)->name, "optimizer."));
    assert_string_equal(cf_st_metadata(f, "epoch"), "1");
    cf_st_close(f);
    cf_free(best);
    test_folder_remove(folder);
}

static void save_freq_spares_epochs(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *last = test_path(folder, "run/last.safetensors");
    const char *const more[] = { "SAVE_FREQ=5", "TRAIN.EPOCHS=3", NULL };
    micro_train_whole(folder, "run", more); /* saves epochs 0 and, as the last, 2 */
    cf_st_file *f;
    assert_ok(cf_st_open(&f, last));
    assert_string_equal(cf_st_metadata(f, "epoch"), "3");
    cf_st_close(f);
    cf_free(last);
    test_folder_remove(folder);
}

/* Cut anywhere, the file is refused and the run's own files are not there. */
static void truncated_is_refused(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *last = test_path(folder, "run/last.safetensors");
    char *cut = test_path(folder, "cut.safetensors"), *bytes;
    size_t n;
    assert_fails(micro_train(micro_config(folder, "run", NULL), 1), CF_EINTERRUPTED, "step 1");
    assert_ok(cf_file_read(&bytes, &n, last));
    for (size_t i = 0; i < 24; i++) {
        size_t length = i < 12 ? i * 3 : n - 1 - (n / 13) * (i - 12);
        assert_ok(cf_file_write(cut, bytes, length));
        assert_fails(resume(folder, cut), CF_EFORMAT, "cut.safetensors");
        assert_int_equal(micro_lines(cf_error()), 1);
    }
    assert_ok(cf_file_write(cut, bytes, n));
    assert_fails(resume(folder, cut), CF_EINTERRUPTED, "step 1");
    cf_free(bytes);
    cf_free(cut);
    cf_free(last);
    test_folder_remove(folder);
}

static void write_changed(const char *to, const char *from, const char *key, const char *value,
                          const char *without)
{
    cf_st_file *f;
    cf_st_tensor *tensors;
    cf_st_pair pairs[64];
    size_t n = 0, n_pairs;
    assert_ok(cf_st_open(&f, from));
    assert_ok(cf_alloc(&tensors, cf_st_n_tensors(f), sizeof *tensors));
    for (size_t i = 0; i < cf_st_n_tensors(f); i++) {
        const cf_st_tensor *t = cf_st_tensor_at(f, i);
        if (!without || strcmp(t->name, without) != 0) tensors[n++] = *t;
    }
    n_pairs = cf_st_n_metadata(f);
    size_t kept = 0;
    for (size_t i = 0; i < n_pairs; i++) {
        cf_st_metadata_at(&pairs[kept].key, &pairs[kept].value, f, i);
        if (strcmp(pairs[kept].key, CF_ST_CRC_KEY) == 0) continue; /* as older files: unchecked */
        if (strcmp(pairs[kept].key, CF_ST_CHECKSUM_KEY) == 0) continue;
        if (key && strcmp(pairs[kept].key, key) == 0) {
            if (!value) continue;
            pairs[kept].value = value;
        }
        kept++;
    }
    assert_ok(cf_st_write(to, tensors, n, pairs, kept));
    cf_free(tensors);
    cf_st_close(f);
}

static void changed_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *without, *says;
    } cases[] = {
        { "epoch", "-1", NULL, "metadata epoch is '-1'" },
        { "epoch", NULL, NULL, "no epoch" },
        { "step", "3x", NULL, "metadata step" },
        { "micro_batch", "1", NULL, "no step ends" },
        { "epoch", "9", NULL, "no step ends" },
        { "config", NULL, NULL, "no config" },
        { "config", "NONSENSE: 1", NULL, "NONSENSE" },
        { "best_top1", "nan", NULL, "best_top1" },
        { "accumulation", "3", NULL, "cannot be gone on with" },
        { NULL, NULL, "optimizer.v.visual.proj", "optimizer.v.visual.proj" },
        { NULL, NULL, "visual.proj", "missing: visual.proj" },
        { NULL, NULL, "mit.positional_embedding", "mit.positional_embedding" },
    };
    char *folder = micro_folder(false), *last = test_path(folder, "run/last.safetensors");
    char *changed = test_path(folder, "changed.safetensors");
    assert_fails(micro_train(micro_config(folder, "run", NULL), 2), CF_EINTERRUPTED, "step 2");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_changed(changed, last, cases[i].key, cases[i].value, cases[i].without);
        cf_status status = resume(folder, changed);
        assert_true(status == CF_EFORMAT || status == CF_EINVAL || status == CF_ENOTFOUND);
        if (!strstr(cf_error(), cases[i].says) || !strstr(cf_error(), "changed.safetensors"))
            fail_msg("\"%s\" does not say \"%s\"", cf_error(), cases[i].says);
        assert_int_equal(micro_lines(cf_error()), 1);
    }
    cf_free(changed);
    cf_free(last);
    test_folder_remove(folder);
}

static void foreign_is_refused(void **state)
{
    (void)state;
    static const float number[2] = { 1, 2 };
    const cf_st_tensor tensor = {
        .name = "model.weight", .dtype = CF_ST_F32, .rank = 1, .shape = { 2 }, .data = number
    };
    char *folder = micro_folder(false), *path = test_path(folder, "foreign.safetensors");
    assert_ok(cf_st_write(path, &tensor, 1, NULL, 0));
    assert_fails(resume(folder, path), CF_EFORMAT, "not a CLIP");
    assert_ok(cf_file_write(path, "GIF89a and more", 15));
    assert_fails(resume(folder, path), CF_EFORMAT, "foreign.safetensors");
    cf_free(path);
    path = test_path(folder, "nowhere.safetensors");
    assert_fails(resume(folder, path), CF_ENOTFOUND, "nowhere.safetensors");
    cf_free(path);
    path = test_path(folder, "other/last.safetensors");
    assert_false(cf_file_exists(path));
    cf_free(path);
    test_folder_remove(folder);
}

TESTS(TEST(it_holds_what_the_design_says), TEST(best_holds_weights_alone),
      TEST(save_freq_spares_epochs), TEST(truncated_is_refused), TEST(changed_is_refused),
      TEST(foreign_is_refused))
