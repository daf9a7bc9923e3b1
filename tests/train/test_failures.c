/* Bad input and a failing world: one clear line each, the files of before untouched. */
#include "micro.h"

#include <sys/resource.h>
#include <sys/stat.h>

static void assert_refused(const char *folder, const char *key, const char *value, const char *says)
{
    char *pair;
    assert_ok(cf_format(&pair, "%s=%s", key, value));
    cf_status status =
        micro_train(micro_config(folder, "run", (const char *const[]){ pair, NULL }), 1);
    if (status == CF_OK || status == CF_EINTERRUPTED) fail_msg("%s was accepted", pair);
    if (!strstr(cf_error(), says))
        fail_msg("%s: \"%s\" does not say \"%s\"", pair, cf_error(), says);
    assert_int_equal(micro_lines(cf_error()), 1);
    char *last = test_path(folder, "run/last.safetensors");
    assert_false(cf_file_exists(last));
    cf_free(last);
    cf_free(pair);
}

static void settings_that_do_not_fit(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *path = test_path(folder, "train.h5#empty");
    assert_refused(folder, "DATA.NUM_CLASSES", "5", "NUM_CLASSES is 5, but there are 4");
    assert_refused(folder, "DATA.TRAIN_FILE", path, "no videos");
    cf_free(path);
    path = test_path(folder, "train.h5#nosuch");
    assert_refused(folder, "DATA.TRAIN_FILE", path, "nosuch");
    cf_free(path);
    path = test_path(folder, "test.h5#empty");
    assert_refused(folder, "DATA.VAL_FILE", path, "no videos");
    cf_free(path);
    assert_refused(folder, "DATA.TRAIN_FILE", "nowhere.h5", "nowhere.h5");
    assert_refused(folder, "DATA.TRAIN_FILE", "''", "DATA.TRAIN_FILE is not set");
    assert_refused(folder, "DATA.VAL_FILE", "nowhere.h5", "DATA.VAL_FILE: ");
    assert_refused(folder, "DATA.LABEL_LIST", "nowhere.csv", "nowhere.csv");
    assert_refused(folder, "MODEL.BPE", "nowhere.txt", "nowhere.txt");
    assert_refused(folder, "MODEL.PRETRAINED", "nowhere.safetensors", "nowhere.safetensors");
    assert_refused(folder, "DATA.INPUT_SIZE", "25", "DATA.INPUT_SIZE 25");
    assert_refused(folder, "MODEL.CONTEXT_LENGTH", "3", "a red thing moving left");
    assert_refused(folder, "TRAIN.BATCH_SIZE", "28", "do not fill one batch");
    assert_refused(folder, "TRAIN.ACCUMULATION_STEPS", "14", "an epoch has 13 micro-batches");
    assert_refused(folder, "OUTPUT", "''", "OUTPUT is not set");
    test_folder_remove(folder);
}

static void vectors_that_do_not_fit(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    const char *more[] = { "MODEL.PROMPT=vectors", NULL, NULL };
    assert_fails(micro_train(micro_config(folder, "run", more), 1), CF_EINVAL,
                 "16 prompt vectors and a text's start and end do not fit a context of 16 tokens");
    more[1] = "MODEL.PROMPT_VECTORS=12";
    assert_fails(micro_train(micro_config(folder, "run", more), 1), CF_EINVAL,
                 "the context holds 4: \"a red thing moving left\"");
    assert_non_null(strstr(cf_error(), "the context of 16 tokens holds the 12 vectors of MODEL."));
    test_folder_remove(folder);
}

static void nothing_to_train(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    const char *const more[] = { "MODEL.FIX_VISUAL=True", "MODEL.VIDEO=mean", "MODEL.MIT_LAYERS=0",
                                 "MODEL.PROMPT=none", NULL };
    assert_fails(micro_train(micro_config(folder, "run", more), 1), CF_EINVAL,
                 "nothing is trained: there are no new modules, MODEL.FIX_VISUAL is True (--opts)");
    const char *const scale[] = { "MODEL.FIX_VISUAL=True",       "MODEL.VIDEO=mean",
                                  "MODEL.MIT_LAYERS=0",          "MODEL.PROMPT=none",
                                  "MODEL.FIX_LOGIT_SCALE=False", NULL };
    assert_fails(micro_train(micro_config(folder, "run", scale), 1), CF_EINTERRUPTED, "stopped");
    test_folder_remove(folder);
}

static void no_vocabulary(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *path = test_path(folder, "merges.txt");
    unlink(path);
    assert_refused(folder, "SEED", "1", "set MODEL.BPE");
    cf_free(path);
    test_folder_remove(folder);
}

/* ---- class lists ----------------------------------------------------------------------------- */

static void class_lists(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        { "id,name\n0,a\n1,b\n2,c\n", "NUM_CLASSES is 4, but there are 3" },
        { "id,name\n0,a\n1,b\n2,c\n3,d\n4,e\n", "NUM_CLASSES is 4, but there are 5" },
        { "id,name\n0,a\n1,b\n1,c\n3,d\n", "line 4: class number 1 comes twice" },
        { "id,name\n0,a\n1,b\n2,c\n4,d\n", "line 5: class number 4 is outside" },
        { "id,name\n0,a\n1,b\n2,c,x\n3,d\n", "line 4: a row has more than two fields" },
        { "id,name\n0,a\n1\n2,c\n3,d\n", "line 3: a row must be" },
        { "id,name\n0,a\nx,b\n2,c\n3,d\n", "line 3: 'x' is no class number" },
        { "id,name\n0,a\n1,\n2,c\n3,d\n", "line 3: class 1 has no name" },
        { "id,name\n0,a\n1,\"b\n2,c\n3,d\n", "a quote is not closed" },
        { "id,name\n", "not a CSV" },
        { "", "not a CSV" },
    };
    static const char good[] =
        "\xef\xbb\xbfid,name\r\n3,\"a \"\"d\"\", or e\"\r\n\r\n1,b\r\n0,NA\r\n2,c";
    char *folder = micro_folder(false), *path = test_path(folder, "labels.csv");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_ok(cf_file_write(path, bad[i].text, strlen(bad[i].text)));
        assert_refused(folder, "DATA.LABEL_LIST", path, bad[i].says);
    }
    assert_ok(cf_file_write(path, good, strlen(good)));
    char *pair;
    assert_ok(cf_format(&pair, "DATA.LABEL_LIST=%s", path));
    const char *const more[] = { pair, NULL };
    assert_fails(micro_train(micro_config(folder, "run", more), 1), CF_EINTERRUPTED, "step 1");
    cf_free(pair);
    cf_free(path);
    test_folder_remove(folder);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* FOLDER/run/best.safetensors with one weight that is no number. */
static void write_spoilt(const char *folder, const char *from)
{
    cf_st_file *f;
    cf_st_tensor tensors[512];
    static cf_real none[64];
    char *path = test_path(folder, "spoilt.safetensors");
    assert_ok(cf_st_open(&f, from));
    size_t n = cf_st_n_tensors(f);
    for (size_t i = 0; i < n; i++) {
        tensors[i] = *cf_st_tensor_at(f, i);
        if (strcmp(tensors[i].name, "visual.ln_pre.bias") == 0) tensors[i].data = none;
    }
    none[5] = (cf_real)NAN;
    assert_ok(cf_st_write(path, tensors, n, NULL, 0));
    cf_st_close(f);
    cf_free(path);
}

static void not_finite_stops_before_the_update(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *last = test_path(folder, "run/last.safetensors"), *kept;
    char *now, *best = test_path(folder, "run/best.safetensors");
    char *spoilt = test_path(folder, "spoilt.safetensors");
    size_t n, m;
    const char *const more[] = { "TRAIN.LR=1.0e+6",       "TRAIN.NEW_LR_FACTOR=1.0e+6",
                                 "TRAIN.WARMUP_EPOCHS=0", "SAVE_FREQ=1000",
                                 "TRAIN.EPOCHS=100",      NULL };
    micro_train_whole(folder, "run", (const char *const[]){ "TRAIN.EPOCHS=1", NULL });
    write_spoilt(folder, best);
    cf_config *c = micro_config(folder, "new", NULL);
    assert_ok(cf_config_set_plain(c, "MODEL.PRETRAINED", spoilt, "--pretrained"));
    assert_fails(micro_train(c, 0), CF_ENUMERIC,
                 "the loss is nan at epoch 0, step 0: stopped before the update; there is no "
                 "checkpoint yet");
    assert_fails(micro_train(micro_config(folder, "high", more), 0), CF_ENUMERIC,
                 ": stopped before the update; ");
    assert_ok(cf_file_read(&kept, &n, last));
    c = micro_config(folder, "run", NULL);
    assert_ok(cf_config_set_plain(c, "MODEL.PRETRAINED", spoilt, "--pretrained"));
    assert_fails(micro_train(c, 0), CF_ENUMERIC, "run/last.safetensors");
    assert_ok(cf_file_read(&now, &m, last));
    assert_true(n == m && memcmp(kept, now, n) == 0);
    cf_free(now);
    cf_free(kept);
    cf_free(last);
    cf_free(best);
    cf_free(spoilt);
    test_folder_remove(folder);
}

/* ---- the program ----------------------------------------------------------------------------- */

static rlim_t largest_file;
static void limit_file_size(void)
{
    const struct rlimit limit = { largest_file, largest_file };
    setrlimit(RLIMIT_FSIZE, &limit);
}

static const char *last_line(const char *text)
{
    const char *at = text + strlen(text);
    while (at > text && at[-1] == '\n') at--;
    while (at > text && at[-1] != '\n') at--;
    return at;
}

static void full_disk_keeps_the_checkpoint(void **state)
{
    (void)state;
    micro_need_program();
    char *folder = micro_folder(false), *last = test_path(folder, "run/last.safetensors"), *kept,
         *err;
    char *yaml = test_path(folder, "run.yaml"), *now, *temporary;
    size_t n, m;
    assert_fails(micro_train(micro_config(folder, "run", NULL), 2), CF_EINTERRUPTED, "step 2");
    assert_ok(cf_file_read(&kept, &n, last));
    largest_file = n / 3; /* too small for the best checkpoint already */
    const char *const argv[] = { "train", "-c", yaml, "--resume", last, NULL };
    assert_int_equal(micro_program(&err, argv, limit_file_size, NULL), 1);
    if (strncmp(last_line(err), "crossframe: cannot write ", 25) != 0) fail_msg("%s", err);
    cf_free(err);
    assert_ok(cf_file_read(&now, &m, last));
    assert_true(n == m && memcmp(kept, now, n) == 0);
    assert_ok(cf_format(&temporary, "%s.tmp", last));
    assert_false(cf_file_exists(temporary));
    assert_int_equal(micro_program(&err, argv, NULL, NULL), 0); /* with room again it goes on */
    cf_free(err);
    cf_free(temporary);
    cf_free(now);
    cf_free(kept);
    cf_free(yaml);
    cf_free(last);
    test_folder_remove(folder);
}

static void interrupt_saves_and_exits_130(void **state)
{
    (void)state;
    micro_need_program();
    char *folder = micro_folder(false), *last = test_path(folder, "run/last.safetensors"), *err;
    char *yaml = test_path(folder, "run.yaml"),
         *whole = test_path(folder, "whole/last.safetensors");
    char *log = test_path(folder, "run/log.jsonl"),
         *whole_log = test_path(folder, "whole/log.jsonl");
    const char *const more[] = { "TRAIN.EPOCHS=40", NULL };
    cf_config_free(micro_config(folder, "run", more));
    const char *const argv[] = { "train", "-c", yaml, NULL };
    const char *const again[] = { "train", "-c", yaml, "--resume", last, NULL };
    assert_int_equal(micro_program(&err, argv, NULL, "  step 2/"), 130);
    if (strncmp(last_line(err), "crossframe: stopped at epoch ", 29) != 0) fail_msg("%s", err);
    cf_free(err);
    assert_int_equal(micro_program(&err, again, NULL, NULL), 0);
    cf_free(err);
    micro_train_whole(folder, "whole", more);
    assert_same_tensors(last, whole);
    assert_same_log(log, whole_log);
    cf_free(last);
    cf_free(yaml);
    cf_free(whole);
    cf_free(log);
    cf_free(whole_log);
    test_folder_remove(folder);
}

static void the_program_says_one_line(void **state)
{
    (void)state;
    micro_need_program();
    char *folder = micro_folder(false), *err, *yaml = test_path(folder, "run.yaml");
    const char *const more[] = { "DATA.NUM_CLASSES=7", NULL };
    cf_config_free(micro_config(folder, "run", more));
    const char *const mismatch[] = { "train", "-c", yaml, NULL };
    const char *const missing[] = { "train", "-c", "nowhere.yaml", NULL };
    const char *const wrong[] = { "train", NULL };
    const char *const untold[] = { "test", "-c", yaml, NULL };
    const struct {
        const char *const *argv;
        int status;
        const char *says;
    } cases[] = { { mismatch, 1, "NUM_CLASSES is 7" },
                  { missing, 1, "nowhere.yaml" },
                  { wrong, 2, "-c CONFIG is missing" },
                  { untold, 1, "--resume FILE" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(micro_program(&err, cases[i].argv, NULL, NULL), cases[i].status);
        const char *line = strstr(err, "crossframe: ");
        if (!line || line != last_line(err) || !strstr(line, cases[i].says)) fail_msg("%s", err);
        cf_free(err);
    }
    cf_free(yaml);
    test_folder_remove(folder);
}

TESTS(TEST(settings_that_do_not_fit), TEST(vectors_that_do_not_fit), TEST(nothing_to_train),
      TEST(no_vocabulary), TEST(class_lists), TEST(not_finite_stops_before_the_update),
      TEST(full_disk_keeps_the_checkpoint), TEST(interrupt_saves_and_exits_130),
      TEST(the_program_says_one_line))
