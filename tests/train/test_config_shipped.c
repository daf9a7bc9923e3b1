/* The configurations of configs/: each published setting, to the letter. */
#include "../test.h"

#include "crossframe/train.h"

typedef struct {
    const char *file, *arch, *train, *labels;
    int classes, frames, size, batch, processes_of, accumulation, epochs;
    double lr;
} setting;

/* accumulation: of each of the 8 processes of the published run. */
#define KINETICS(set, name, arch, frames, size, batch, accumulation)                               \
    {                                                                                              \
        "k" #set "/" name, arch, "k" #set "_train.h5", "../labels/kinetics" #set ".csv", set,      \
            frames, size, batch, 8, accumulation, 30, 8e-6                                         \
    }
#define FEW(set, classes, K)                                                                       \
    {                                                                                              \
        set "/few_" #K, "ViT-B/16", set "/train_split1_" #K "-shot_seed0.txt",                     \
            "../labels/" set ".csv", classes, 32, 224, 4, 8, 2, 50, 2e-6                           \
    }

static const setting settings[] = {
    KINETICS(400, "32_8", "ViT-B/32", 8, 224, 8, 4),
    KINETICS(400, "32_16", "ViT-B/32", 16, 224, 8, 4),
    KINETICS(400, "16_8", "ViT-B/16", 8, 224, 8, 4),
    KINETICS(400, "16_16", "ViT-B/16", 16, 224, 4, 8),
    KINETICS(400, "16_32", "ViT-B/16", 32, 224, 4, 8),
    KINETICS(400, "14_8", "ViT-L/14", 8, 224, 4, 8),
    KINETICS(400, "14_16_336", "ViT-L/14@336px", 16, 336, 1, 32),
    KINETICS(600, "16_8", "ViT-B/16", 8, 224, 8, 4),
    KINETICS(600, "16_16", "ViT-B/16", 16, 224, 4, 8),
    KINETICS(600, "14_8", "ViT-L/14", 8, 224, 4, 8),
    FEW("hmdb51", 51, 2),
    FEW("hmdb51", 51, 4),
    FEW("hmdb51", 51, 8),
    FEW("hmdb51", 51, 16),
    FEW("ucf101", 101, 2),
    FEW("ucf101", 101, 4),
    FEW("ucf101", 101, 8),
    FEW("ucf101", 101, 16),
    { "zeroshot/train_k400", "ViT-B/16", "k400_train.h5", "../labels/kinetics400.csv", 400, 32, 224,
      4, 8, 8, 10, 8e-6 },
};

static cf_config *load(const char *name)
{
    char *path;
    cf_config *c;
    assert_ok(cf_format(&path, "configs/%s.yaml", name));
    assert_ok(cf_config_load(&c, path, NULL, 0));
    assert_ok(cf_config_settle(c));
    assert_ok(cf_config_check(c));
    cf_free(path);
    return c;
}

/* What the published defaults say and no published file changes. */
static void assert_common(const cf_config *c)
{
    assert_near(c->train.warmup_epochs, 5, 0);
    assert_near(c->train.weight_decay, 0.001, 0);
    assert_near(c->train.new_lr_factor, 10, 0);
    assert_near(c->train.clip_grad, 0, 0);
    assert_near(c->model.drop_path_rate, 0, 0);
    assert_true(c->model.fix_text && !c->model.fix_visual && c->aug.multi_scale_crop);
    assert_near(c->aug.label_smooth, 0.1, 0);
    assert_near(c->aug.color_jitter, 0.8, 0);
    assert_near(c->aug.gray_scale, 0.2, 0);
    assert_near(c->aug.mixup, 0.8, 0);
    assert_near(c->aug.cutmix, 1, 0);
    assert_near(c->aug.mixup_switch_prob, 0.5, 0);
    assert_near(c->aug.flip, 0.5, 0);
    assert_int_equal(c->data.sampling, CF_SAMPLING_SPARSE);
    assert_int_equal(c->seed, 1024);
}

static void training_settings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const setting *s = &settings[i];
        cf_config *c = load(s->file);
        assert_true(c->test.num_clip == 4 && c->test.num_crop == 3); /* at the end */
        assert_string_equal(c->model.arch, s->arch);
        assert_string_equal(c->data.train_file, s->train);
        assert_string_equal(c->data.label_list, s->labels);
        assert_int_equal(c->data.num_classes, s->classes);
        assert_int_equal(c->data.num_frames, s->frames);
        assert_int_equal(c->data.input_size, s->size);
        assert_int_equal(c->train.batch_size, s->batch);
        assert_int_equal(c->train.ranks, s->processes_of);
        assert_int_equal(c->train.accumulation_steps, s->processes_of * s->accumulation);
        assert_int_equal(c->train.global_batch, c->train.batch_size * c->train.accumulation_steps);
        assert_int_equal(c->train.epochs, s->epochs);
        assert_near(c->train.lr, s->lr, 0);
        assert_int_equal(c->train.use_checkpoint, s->size == 336);
        assert_false(c->test.only_test);
        assert_common(c);
        cf_config_free(c);
    }
}

static void zero_shot_tests(void **state)
{
    (void)state;
    static const struct {
        const char *file, *labels;
        int classes;
    } rows[] = { { "zeroshot/test_hmdb51", "../labels/hmdb51.csv", 51 },
                 { "zeroshot/test_ucf101", "../labels/ucf101.csv", 101 },
                 { "zeroshot/test_k600", "k600/zeroshot_set1.csv", 160 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cf_config *c = load(rows[i].file);
        assert_string_equal(c->model.arch, "ViT-B/16");
        assert_string_equal(c->data.label_list, rows[i].labels);
        assert_int_equal(c->data.num_classes, rows[i].classes);
        assert_int_equal(c->data.num_frames, 32);
        assert_true(c->test.only_test && c->test.num_clip * c->test.num_crop == 1);
        assert_common(c);
        cf_config_free(c);
    }
}

TESTS(TEST(training_settings), TEST(zero_shot_tests))
