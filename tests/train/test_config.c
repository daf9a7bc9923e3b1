/* The configuration: reading, precedence, refusals with file and line, writing back. */
#include "../test.h"

#include "crossframe/train.h"

/* Kept out of line: gcc 12 takes the inlined name for a dangling one. */
__attribute__((noinline)) static char *new_folder(void) { return test_folder_new(); }

static cf_config *parse(const char *text)
{
    cf_config *c;
    assert_ok(cf_config_parse(&c, text, strlen(text), "x.yaml"));
    return c;
}

#define assert_parse_fails(text, needle)                                                           \
    do {                                                                                           \
        cf_config *none_ = NULL;                                                                   \
        assert_fails(cf_config_parse(&none_, text, strlen(text), "x.yaml"), CF_EINVAL, needle);    \
        assert_null(none_);                                                                        \
    } while (0)

static void put_file(const char *folder, const char *name, const char *text)
{
    char *path = test_path(folder, name);
    assert_ok(cf_file_write(path, text, strlen(text)));
    cf_free(path);
}

static void assert_same(const cf_config *a, const cf_config *b)
{
    for (size_t i = 0; i < cf_config_n_keys(); i++) {
        char *x, *y;
        assert_ok(cf_config_get(&x, a, i));
        assert_ok(cf_config_get(&y, b, i));
        assert_string_equal(x, y);
        cf_free(x);
        cf_free(y);
    }
}

static void defaults_are_published(void **state)
{
    (void)state;
    cf_config *c;
    assert_ok(cf_config_load(&c, NULL, NULL, 0));
    assert_string_equal(c->model.arch, "ViT-B/32");
    assert_string_equal(c->data.label_list, "labels/kinetics_400_labels.csv");
    assert_string_equal(c->model.pretrained, "");
    assert_int_equal(c->data.num_frames, 8);
    assert_int_equal(c->train.epochs, 30);
    assert_near(c->train.lr, 8e-6, 0);
    assert_near(c->train.warmup_epochs, 5, 0);
    assert_near(c->aug.cutmix, 1, 0);
    assert_true(c->model.fix_text && c->data.shuffle && c->aug.multi_scale_crop);
    assert_false(c->test.only_test || c->model.fix_visual);
    assert_int_equal(c->model.video, CF_VIDEO_CCT);
    assert_int_equal(c->model.prompt_layers, 2);
    assert_int_equal(c->seed, 1024);
    assert_ok(cf_config_check(c));
    cf_config_free(c);
}

static void scalars_read_as_yacs_reads_them(void **state)
{
    (void)state;
    cf_config *c =
        parse("# as published\n"
              "DATA:\n  ROOT: '/data/k400'\n  TRAIN_FILE: \"a\\tb\"\n  VAL_FILE: all.h5#x\n"
              "MODEL:\n  PRETRAINED: None\n  RESUME: null\n  BPE: ~\n  PROMPT: None\n"
              "  VIDEO: mean\n  FIX_TEXT: false\n"
              "TRAIN:\n  LR: 2.e-6\n  WEIGHT_DECAY: 1e-5\n  WARMUP_EPOCHS: 3\n"
              "  EPOCHS: '12'\n  BATCH_SIZE: 1_000\n"
              "AUG:\nTEST: {NUM_CLIP: 4, NUM_CROP: 3, SAMPLING: dense, VIEW_SAMPLING: random}\n"
              "OUTPUT: caf\xc3\xa9\nSEED: +7\n");
    assert_string_equal(c->data.root, "/data/k400");
    assert_string_equal(c->data.train_file, "a\tb");
    assert_string_equal(c->data.val_file, "all.h5#x");
    assert_string_equal(c->model.pretrained, "");
    assert_string_equal(c->model.resume, "");
    assert_string_equal(c->model.bpe, "");
    assert_int_equal(c->model.prompt, CF_PROMPT_NONE);
    assert_int_equal(c->model.video, CF_VIDEO_MEAN);
    assert_false(c->model.fix_text);
    assert_near(c->train.lr, 2e-6, 0);
    assert_near(c->train.weight_decay, 1e-5, 0);
    assert_near(c->train.warmup_epochs, 3, 0);
    assert_int_equal(c->train.epochs, 12);
    assert_int_equal(c->train.batch_size, 1000);
    assert_int_equal(c->test.num_clip, 4);
    assert_int_equal(c->test.num_crop, 3);
    assert_int_equal(c->test.sampling, CF_SAMPLING_DENSE);
    assert_int_equal(c->test.view_sampling, CF_VIEWS_RANDOM);
    cf_loader_options o = cf_config_loader(c, false, 5);
    assert_true(o.clips == 4 && o.crops == 3 && o.view_sampling == CF_VIEWS_RANDOM);
    assert_true(o.short_videos == CF_SHORT_LOOP && o.n_classes == 5 && o.seed == 7);
    assert_int_equal(c->data.sampling, CF_SAMPLING_SPARSE);
    assert_string_equal(c->output, "caf\xc3\xa9");
    assert_int_equal(c->seed, 7);
    cf_config_free(c);
}

static void refusals_name_key_file_and_line(void **state)
{
    (void)state;
    assert_parse_fails("TRAIN:\n  LRR: 1\n",
                       "unknown key TRAIN.LRR; the nearest is TRAIN.LR (x.yaml:2)");
    assert_parse_fails("DATA:\n  BATCH_SIZE: 1\n", "the nearest is TRAIN.BATCH_SIZE (x.yaml:2)");
    assert_parse_fails("SEEED: 1\n", "unknown key SEEED; the nearest is SEED (x.yaml:1)");
    assert_parse_fails("\nTRANE:\n  LR: 1\n", "unknown section TRANE");
    assert_parse_fails("TRAIN:\n  EPOCHS: 1.5\n",
                       "TRAIN.EPOCHS takes a whole number, not '1.5' (x.yaml:2)");
    assert_parse_fails("TRAIN:\n  EPOCHS: 0\n",
                       "TRAIN.EPOCHS must be from 1 to 1000000 epochs, not 0");
    assert_parse_fails("TRAIN:\n  EPOCHS: 99999999999999999999\n", "must be from");
    assert_parse_fails("TRAIN:\n  EPOCHS: 010\n", "takes a whole number");
    assert_parse_fails("TRAIN:\n  EPOCHS: True\n", "takes a whole number");
    assert_parse_fails("TRAIN:\n  LR: fast\n", "TRAIN.LR takes a number, not 'fast'");
    assert_parse_fails("TRAIN:\n  LR: .nan\n", "takes a number");
    assert_parse_fails("TRAIN:\n  LR: 1e999\n", "must be from");
    assert_parse_fails("TRAIN:\n  LR: None\n", "takes a number");
    assert_parse_fails("TRAIN:\n  LR: (1, 2)\n", "takes a number, not '(1, 2)'");
    assert_parse_fails("TRAIN:\n  LR: [1, 2]\n",
                       "TRAIN.LR takes one value, not a list or keys (x.yaml:2)");
    assert_parse_fails("AUG:\n  FLIP: 1.5\n", "AUG.FLIP must be from 0 to 1");
    assert_parse_fails("MODEL:\n  FIX_TEXT: 1\n", "MODEL.FIX_TEXT takes True or False");
    assert_parse_fails("DATA:\n  ROOT: 3\n", "DATA.ROOT takes a text; put '3' in quotes");
    assert_parse_fails("DATA:\n  ROOT: True\n", "DATA.ROOT takes a text");
    assert_parse_fails("DATA:\n  ROOT: \"a\\0b\"\n", "without zero bytes");
    assert_parse_fails("MODEL:\n  VIDEO: tsm\n",
                       "MODEL.VIDEO must be one of cct, mean, one, joint, not 'tsm'");
    assert_parse_fails("MODEL:\n  ARCH: RN50\n", "MODEL.ARCH must be one of ViT-B/32, ");
    assert_parse_fails("DATA: 5\n", "DATA is a section of keys");
    assert_parse_fails("DATA:\n- 5\n", "DATA is a section of keys");
    assert_parse_fails("TRAIN:\n  LR: {a: 1}\n", "takes one value");
    assert_parse_fails("just words\n", "the top level has no keys (x.yaml:1)");
    assert_parse_fails("- a\n- b\n", "the top level has no keys");
    assert_parse_fails("SEED: 1\n---\nSEED: 2\n", "a second document in one file");
    assert_parse_fails("SEED: 'a\n", "not YAML");
    assert_parse_fails("TRAIN:\n\tLR: 1\n", "a tab; indent with spaces (x.yaml:2)");
    assert_parse_fails("SEED: \xff\n", "not YAML");
    assert_parse_fails("? [a]\n: 1\n", "a key is one word");
    assert_parse_fails("a: &x\n  b: *x\n", "unknown section a");
    assert_parse_fails("BASE: [a.yaml]\n", "BASE needs a file to be relative to");
    static char big[300000];
    memset(big, ' ', sizeof big - 1);
    assert_parse_fails(big, "bytes are more than");
}

static void empty_text_gives_defaults(void **state)
{
    (void)state;
    const char *texts[] = {
        "", "\n", "# nothing\n", "---\n...\n", "DATA:\n", "{}\n", "BASE: ['']\n"
    };
    cf_config *standard;
    assert_ok(cf_config_load(&standard, NULL, NULL, 0));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cf_config *c = parse(texts[i]);
        assert_same(c, standard);
        cf_config_free(c);
    }
    cf_config_free(standard);
}

static void base_files_come_first(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "top.yaml");
    char *sub = test_path(folder, "sub");
    assert_ok(cf_make_folders(sub));
    put_file(sub, "a.yaml", "BASE: [../b.yaml]\nTRAIN:\n  LR: 2.0\n  EPOCHS: 2\n");
    put_file(folder, "b.yaml",
             "TRAIN:\n  LR: 3.0\n  EPOCHS: 3\n  BATCH_SIZE: 3\n  WEIGHT_DECAY: 3\n");
    put_file(folder, "c.yaml", "TRAIN:\n  BATCH_SIZE: 4\n");
    put_file(folder, "top.yaml", "TRAIN:\n  LR: 1.0\nBASE: ['sub/a.yaml', '', c.yaml]\n");
    cf_config *c;
    assert_ok(cf_config_load(&c, path, NULL, 0));
    assert_near(c->train.lr, 1, 0);
    assert_int_equal(c->train.epochs, 2);
    assert_int_equal(c->train.batch_size, 4);
    assert_near(c->train.weight_decay, 3, 0);
    size_t index;
    assert_non_null(cf_config_find(&index, "TRAIN.EPOCHS"));
    assert_non_null(strstr(c->origin[index], "sub/a.yaml:4"));
    cf_config_free(c);

    put_file(folder, "top.yaml", "BASE: ('sub/a.yaml', \"c.yaml\",)\n");
    assert_ok(cf_config_load(&c, path, NULL, 0));
    assert_near(c->train.lr, 2, 0);
    assert_int_equal(c->train.batch_size, 4);
    cf_config_free(c);

    put_file(folder, "b.yaml", "BASE: [sub/../top.yaml]\n");
    assert_fails(cf_config_load(&c, path, NULL, 0), CF_EINVAL, "BASE goes in a circle");
    put_file(folder, "top.yaml", "\nBASE: [missing.yaml]\n");
    assert_fails(cf_config_load(&c, path, NULL, 0), CF_ENOTFOUND, "top.yaml:2)");
    put_file(folder, "top.yaml", "BASE: {a: b}\n");
    assert_fails(cf_config_load(&c, path, NULL, 0), CF_EINVAL, "BASE is a list of files");
    assert_fails(cf_config_load(&c, folder, NULL, 0), CF_EINVAL, "a folder");
    cf_free(sub);
    cf_free(path);
    test_folder_remove(folder);
}

static void opts_come_last(void **state)
{
    (void)state;
    const char *opts[] = { "TRAIN.LR",   "1e-5",           "SEED=3",
                           "DATA.ROOT",  "a b=c",          "OUTPUT",
                           "'it''s #1'", "MODEL.BPE=x=y",  "MODEL.PRETRAINED",
                           "",           "TEST.ONLY_TEST", "True" };
    cf_config *c;
    assert_ok(cf_config_load(&c, NULL, opts, sizeof opts / sizeof *opts));
    assert_near(c->train.lr, 1e-5, 0);
    assert_int_equal(c->seed, 3);
    assert_string_equal(c->data.root, "a b=c");
    assert_string_equal(c->output, "it's #1");
    assert_string_equal(c->model.bpe, "x=y");
    assert_string_equal(c->model.pretrained, "");
    assert_true(c->test.only_test);

    assert_fails(cf_config_set(c, "TRAIN.LR", "'x", "--opts"), CF_EINVAL, "TRAIN.LR");
    assert_fails(cf_config_set(c, "OUTPUT", "'x", "--opts"), CF_EINVAL, "do not close");
    assert_fails(cf_config_set(c, "OUTPUT", "\xff", "--opts"), CF_EINVAL, "UTF-8");
    assert_fails(cf_config_set(c, "train.lr", "1", "--opts"), CF_EINVAL,
                 "nearest is TRAIN.LR (--opts)");
    assert_fails(cf_config_set(c, "TRAIN.EPOCHS", "x", "--epochs"), CF_EINVAL, "(--epochs)");
    assert_string_equal(c->output, "it's #1");
    assert_ok(cf_config_set_plain(c, "OUTPUT", "2024", "--output"));
    assert_string_equal(c->output, "2024");
    assert_ok(cf_config_set_plain(c, "OUTPUT", "'q", "--output"));
    assert_string_equal(c->output, "'q");
    cf_config_free(c);

    const char *odd[] = { "TRAIN.LR" };
    assert_fails(cf_config_load(&c, NULL, odd, 1), CF_EINVAL, "TRAIN.LR has no value (--opts)");
    const char *unknown[] = { "TRAIN.LRR" };
    assert_fails(cf_config_load(&c, NULL, unknown, 1), CF_EINVAL, "nearest is TRAIN.LR");
}

static void written_text_loads_back(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "config.yaml");
    const char *opts[] = { "DATA.ROOT",        "'a: #b ''x'' \\'",
                           "DATA.TRAIN_FILE",  "\"l1\\nl2\\x7f\\u2028\"",
                           "DATA.VAL_FILE",    "'null'",
                           "OUTPUT",           "'123'",
                           "TRAIN.LR",         "0.1234567890123456789",
                           "AUG.MIXUP",        "1e-300",
                           "AUG.CUTMIX",       "100000",
                           "MODEL.VIDEO",      "joint",
                           "MODEL.BPE",        "caf\xc3\xa9\xf0\x9f\x98\x80",
                           "MODEL.FIX_VISUAL", "yes" };
    cf_config *a, *b;
    assert_ok(cf_config_load(&a, NULL, opts, sizeof opts / sizeof *opts));
    assert_string_equal(a->data.train_file, "l1\nl2\x7f\xe2\x80\xa8");
    assert_ok(cf_config_write(a, path));
    assert_ok(cf_config_load(&b, path, NULL, 0));
    assert_same(a, b);
    assert_string_equal(b->data.root, "a: #b 'x' \\");
    assert_string_equal(b->data.train_file, a->data.train_file);
    assert_string_equal(b->data.val_file, "null");
    assert_near(b->train.lr, a->train.lr, 0);
    assert_near(b->aug.mixup, 1e-300, 0);
    char *text;
    assert_ok(cf_config_text(&text, a));
    assert_non_null(strstr(text, "TRAIN:\n  EPOCHS: 30\n"));
    assert_non_null(strstr(text, "  MIXUP: 1.0e-300\n"));
    assert_non_null(strstr(text, "\nOUTPUT: '123'\n"));
    cf_free(text);
    cf_config_free(a);
    cf_config_free(b);
    cf_free(path);
    test_folder_remove(folder);
}

static int n_logged;
static char logged[4096];
static void remember(void *user, cf_log_level level, const char *line)
{
    (void)user;
    (void)level;
    n_logged++;
    snprintf(logged, sizeof logged, "%s", line);
}

static cf_status check(const char *text)
{
    cf_config *c = parse(text);
    n_logged = 0;
    cf_log_set(remember, NULL);
    cf_status status = cf_config_check(c);
    cf_log_set(NULL, NULL);
    cf_config_free(c);
    return status;
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    assert_ok(check("MODEL:\n  PROMPT: ensemble\n"));
    assert_ok(check("MODEL:\n  PROMPT: vectors\n"));
    assert_ok(check("MODEL:\n  HEAD: fc\n"));
    assert_int_equal(n_logged, 0);
    assert_ok(check("MODEL:\n  HEAD: fc\n  FIX_TEXT: False\n"));
    assert_int_equal(n_logged, 1);
    assert_non_null(strstr(logged, "MODEL.FIX_TEXT has no effect: MODEL.HEAD fc has no text side"));
    assert_fails(check("TEST:\n  NUM_CROP: 2\n"), CF_EINVAL, "must be 1 or 3, not 2 (x.yaml:2)");
    assert_fails(check("AUG:\n  CUTMIX: 0\n"), CF_EINVAL, "AUG.CUTMIX 0");
    assert_ok(check("AUG:\n  CUTMIX: 0\n  MIXUP_SWITCH_PROB: 0\n"));
    assert_fails(check("DATA:\n  INPUT_SIZE: 336\n"), CF_EINVAL,
                 "ViT-B/32 needs DATA.INPUT_SIZE 224");
    assert_fails(check("MODEL:\n  PATCH_SIZE: 8\n"), CF_EINVAL, "is for MODEL.ARCH custom");
    assert_fails(check("MODEL:\n  ARCH: custom\n"), CF_EINVAL,
                 "without weights needs MODEL.PATCH_SIZE");
    assert_ok(check("MODEL:\n  ARCH: custom\n  PRETRAINED: clip.safetensors\n"));
    const char *custom = "DATA:\n  INPUT_SIZE: 40\nMODEL:\n  ARCH: custom\n  PATCH_SIZE: %d\n"
                         "  VISION_WIDTH: %d\n  VISION_LAYERS: 3\n  EMBED_DIM: 128\n"
                         "  TEXT_WIDTH: 64\n  TEXT_LAYERS: 2\n";
    char text[400];
    snprintf(text, sizeof text, custom, 10, 128);
    assert_ok(check(text));
    snprintf(text, sizeof text, custom, 12, 128);
    assert_fails(check(text), CF_EINVAL,
                 "DATA.INPUT_SIZE 40 is no multiple of MODEL.PATCH_SIZE 12");
    snprintf(text, sizeof text, custom, 10, 100);
    assert_fails(check(text), CF_EINVAL, "MODEL.VISION_WIDTH 100 is no multiple of 64");
}

static void unused_keys_are_logged(void **state)
{
    (void)state;
    assert_ok(check(""));
    assert_int_equal(n_logged, 0);
    assert_ok(check("TRAIN:\n  OPT_LEVEL: O1\n"));
    assert_non_null(strstr(logged, "TRAIN.OPT_LEVEL O1 has no effect"));
    assert_ok(check("TRAIN:\n  LR_SCHEDULER: step\n"));
    assert_non_null(strstr(logged, "TRAIN.LR_SCHEDULER step has no effect"));
    assert_ok(check("TRAIN:\n  OPTIMIZER: sgd\n"));
    assert_non_null(strstr(logged, "TRAIN.OPTIMIZER sgd has no effect"));
    assert_ok(check("AUG:\n  MIXUP: 0\n"));
    assert_non_null(strstr(logged, "switches cutmix off too"));
    assert_ok(check("TRAIN:\n  BATCH_SIZE: 1\n"));
    assert_non_null(strstr(logged, "no mixup"));
    assert_ok(check("TRAIN:\n  EPOCHS: 2\n"));
    assert_non_null(strstr(logged, "only rises"));
}

static void a_key_given_twice_is_logged(void **state)
{
    (void)state;
    n_logged = 0;
    cf_log_set(remember, NULL);
    cf_config *c = parse("TRAIN:\n  LR: 1.0\n  EPOCHS: 3\n  LR: 2.0\n");
    cf_log_set(NULL, NULL);
    assert_int_equal(n_logged, 1);
    assert_non_null(strstr(logged, "TRAIN.LR stands twice, at x.yaml:2 and x.yaml:4"));
    assert_near(c->train.lr, 2, 0);
    cf_config_free(c);

    /* A whole section: PyYAML keeps the later one alone. */
    n_logged = 0;
    cf_log_set(remember, NULL);
    c = parse("TRAIN:\n  LR: 1.0\n  NONE: 3\nSEED: 1\nSEED: 2\nTRAIN:\n  EPOCHS: 4\n");
    cf_log_set(NULL, NULL);
    assert_int_equal(n_logged, 2);
    assert_non_null(strstr(logged, "SEED stands twice, at x.yaml:4 and x.yaml:5; only the later"));
    assert_near(c->train.lr, 8e-6, 0);
    assert_int_equal(c->train.epochs, 4);
    assert_int_equal(c->seed, 2);
    cf_config_free(c);
}

/* What published files, and those that users dumped from the published program, have in them. */
static void published_peculiarities(void **state)
{
    (void)state;
    cf_config *c = parse("AUG:\n    COLOR_JITTER: 0.8\n    MIXUP_SWITCH_PROB: .5\nBASE:\n- ''\n"
                         "DATA:\n    DATASET: kinetics400\n    INPUT_SIZE: '336'\n"
                         "LOCAL_RANK: 0\nMODEL:\n    ARCH: ViT-L/14@336px\n"
                         "    DROP_PATH_RATE: 0.\n    PRETRAINED: 'None'\n    RESUME: null\n"
                         "TRAIN:\n    LR: 8.e-06\n    WEIGHT_DECAY: 1E-3\n    OPT_LEVEL: O2\n"
                         "    USE_CHECKPOINT: True\n    WARMUP_EPOCHS: 5\n"
                         "OUTPUT: ''\nPRINT_FREQ: 50");
    assert_near(c->aug.mixup_switch_prob, 0.5, 0);
    assert_int_equal(c->data.input_size, 336);
    assert_string_equal(c->model.pretrained, "");
    assert_string_equal(c->model.resume, "");
    assert_near(c->train.lr, 8e-6, 0);
    assert_near(c->train.weight_decay, 1e-3, 0);
    assert_true(c->train.use_checkpoint);
    assert_ok(cf_config_check(c));
    cf_config_free(c);
    c = parse("BASE: ''\nTRAIN: {LR: '2.e-6', EPOCHS: 50}\nMODEL:\n");
    assert_near(c->train.lr, 2e-6, 0);
    cf_config_free(c);
}

static void the_table_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < cf_config_n_keys(); i++) {
        const cf_config_key *key = cf_config_key_at(i);
        size_t found = SIZE_MAX;
        assert_ptr_equal(cf_config_find(&found, key->name), key);
        assert_int_equal(found, i); /* no name twice */
        assert_true(*key->help && key->unit);
        for (size_t j = 0; j < i; j++)
            assert_true(cf_config_key_at(j)->offset != key->offset); /* no field twice */
    }
}

static void distances(void **state)
{
    (void)state;
    assert_int_equal(cf_text_distance("", "abc"), 3);
    assert_int_equal(cf_text_distance("kitten", "sitting"), 3);
    assert_int_equal(cf_text_distance("train", "TRIAN"), 1);
    assert_int_equal(cf_text_distance("same", "same"), 0);
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "top.yaml");
    put_file(folder, "b.yaml", "TRAIN:\n  LR: 3.0\n");
    put_file(folder, "top.yaml", "BASE: [b.yaml]\nDATA:\n  ROOT: x\n");
    const char *opts[] = { "SEED=1" };
    cf_status status = CF_ENOMEM;
    for (size_t n = 1; status != CF_OK; n++) {
        size_t before = cf_memory_stats_get().bytes_now;
        cf_config *c = NULL;
        cf_memory_fail_at(n);
        status = cf_config_load(&c, path, opts, 1);
        cf_memory_fail_at(0);
        if (status != CF_OK) assert_int_equal(status, CF_ENOMEM);
        cf_config_free(c);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
    }
    cf_free(path);
    test_folder_remove(folder);
}

TESTS(TEST(defaults_are_published), TEST(scalars_read_as_yacs_reads_them),
      TEST(refusals_name_key_file_and_line), TEST(empty_text_gives_defaults),
      TEST(base_files_come_first), TEST(opts_come_last), TEST(written_text_loads_back),
      TEST(contradictions_are_refused), TEST(unused_keys_are_logged),
      TEST(a_key_given_twice_is_logged), TEST(published_peculiarities), TEST(the_table_is_whole),
      TEST(distances), TEST(every_failed_allocation_is_clean))
