/* The plan of a run is what the run then does: memory of its steps to the byte, flop, numbers. */
#include "micro.h"
#include "xclip_cost.h"

/* Not inlined: gcc 12 would take the name for a dangling pointer. */
__attribute__((noinline)) static char *new_folder(void) { return test_folder_new(); }

typedef struct {
    cf_run_plan plan;
    double flop; /* of a view, by the formula */
    int told;
} seen;

static void planned(void *user, const cf_run_plan *p)
{
    seen *s = user;
    s->plan = *p;
    s->flop = 2 * xclip_cost_of(p->model, p->classes).multiply_adds;
    s->told++;
}

/* The plan, and what the tape says after `steps` steps (0: after the whole run). */
static cf_tape_stats run(seen *s, cf_config *c, int64_t steps)
{
    cf_run *r;
    *s = (seen){ .told = 0 };
    const cf_run_options o = { .user = s, .planned = planned, .stop_after = steps };
    assert_ok(cf_run_new(&r, c, &o));
    assert_int_equal(s->told, 1);
    cf_status status = cf_run_train(r);
    assert_int_equal(status, steps ? CF_EINTERRUPTED : CF_OK);
    cf_tape_stats stats = cf_tape_stats_get(cf_run_tape(r));
    cf_run_free(r);
    return stats;
}

static void compare_memory(const cf_run_plan *p, const cf_tape_stats *real)
{
    const cf_plan_memory *m = &p->memory;
    assert_int_equal(m->activations, real->activation_peak);
    assert_int_equal(m->buffers, real->gradient_peak);
    assert_int_equal(m->gradients_at, real->gradients_at); /* they never had to move */
    assert_int_equal(m->gradients + m->activations - m->shared, real->shared_bytes);
    bool adds_up = p->config->train.accumulation_steps > 1;
    assert_true(adds_up ? m->gradients_at >= m->activations / 2 : m->shared > 0);
}

static const char *const variants[][6] = {
    { "TRAIN.USE_CHECKPOINT=False", NULL },
    { "TRAIN.USE_CHECKPOINT=True", NULL },
    { "TRAIN.USE_CHECKPOINT=False", "MODEL.FIX_TEXT=False", NULL },
    { "TRAIN.USE_CHECKPOINT=True", "MODEL.FIX_TEXT=False", NULL },
    { "TRAIN.USE_CHECKPOINT=False", "MODEL.VIDEO=mean", "MODEL.MIT_LAYERS=0", NULL },
    { "TRAIN.USE_CHECKPOINT=True", "MODEL.VIDEO=mean", "MODEL.PROMPT=none", NULL },
    { "MODEL.PROMPT=vectors", "MODEL.PROMPT_VECTORS=2", "TRAIN.USE_CHECKPOINT=False", NULL },
    { "MODEL.PROMPT=vectors", "MODEL.PROMPT_VECTORS=2", "TRAIN.USE_CHECKPOINT=True", NULL },
    { "MODEL.FIX_VISUAL=True", "TRAIN.USE_CHECKPOINT=False", NULL },
    { "MODEL.FIX_VISUAL=True", "TRAIN.USE_CHECKPOINT=True", "MODEL.FIX_TEXT=False", NULL },
    { "MODEL.FIX_VISUAL=True", "MODEL.VIDEO=mean", "MODEL.FIX_LOGIT_SCALE=False", NULL },
    { "TRAIN.USE_CHECKPOINT=False", "MODEL.VIDEO=joint", "MODEL.MIT_LAYERS=0", NULL },
    { "MODEL.FIX_VISUAL=True", "MODEL.VIDEO=joint", "MODEL.MIT_LAYERS=0", NULL },
    { "TRAIN.USE_CHECKPOINT=True", "MODEL.VIDEO=one", "MODEL.MIT_LAYERS=0", "DATA.NUM_FRAMES=1",
      NULL },
    { "TRAIN.USE_CHECKPOINT=True", "MODEL.DROP_PATH_RATE=0.5", "TRAIN.BATCH_SIZE=3", NULL },
    { "TRAIN.USE_CHECKPOINT=False", "TRAIN.ACCUMULATION_STEPS=1", NULL },
    { "TRAIN.USE_CHECKPOINT=True", "TRAIN.ACCUMULATION_STEPS=1", NULL },
    { "MODEL.FIX_TEXT=False", "TRAIN.ACCUMULATION_STEPS=1", "TRAIN.BATCH_SIZE=3", NULL },
    { "MODEL.FIX_VISUAL=True", "TRAIN.USE_CHECKPOINT=False", "TRAIN.ACCUMULATION_STEPS=1", NULL },
};

static void memory_and_flop_of_a_step(void **state)
{
    (void)state;
    for (int families = 0; families < 2; families++) {
        char *folder = micro_folder(families != 0);
        size_t turned[2] = { 0 };
        for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
            cf_config *c = micro_config(folder, "out", variants[i]);
            double batch = c->train.batch_size;
            seen s;
            cf_tape_stats real = run(&s, c, 2);
            cf_config_free(c);
            const cf_run_plan *p = &s.plan;
            compare_memory(p, &real);
            assert_near(p->gflop_train * 1e9 * batch, real.flop, 1e-9 * real.flop);
            if (i < 2) turned[i] = p->memory.total;
            if (i == 1) assert_int_equal(p->other_memory.total, turned[0]);
        }
        assert_true(turned[1] < turned[0]);
        test_folder_remove(folder);
    }
}

/* Texts in two templates of one length: a step takes what it would with one of them, a test's
 * features the time of both. */
static void templates_of_an_ensemble(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *file = test_path(folder, "templates.txt"), *templates;
    assert_ok(cf_format(&templates, "MODEL.PROMPT_TEMPLATES=%s", file));
    for (int trained = 0; trained < 2; trained++) {
        const char *const more[] = { "MODEL.PROMPT=ensemble", templates,
                                     trained ? "MODEL.FIX_TEXT=False" : "MODEL.FIX_TEXT=True",
                                     NULL };
        seen s, one;
        assert_ok(cf_file_write(file, "red {}\n{} red\n", 14));
        cf_config *c = micro_config(folder, "out", more);
        double batch = c->train.batch_size;
        cf_tape_stats real = run(&s, c, 2);
        cf_config_free(c);
        assert_int_equal(s.plan.templates, 2);
        compare_memory(&s.plan, &real);
        assert_near(s.plan.gflop_train * 1e9 * batch, real.flop, 1e-9 * real.flop);
        assert_int_equal(s.plan.memory.text,
                         4 * (3 * 64 * sizeof(cf_real) + 3 * 16 * sizeof(int32_t)));
        assert_ok(cf_file_write(file, "red {}\n", 7));
        c = micro_config(folder, "out", more);
        run(&one, c, 1);
        cf_config_free(c);
        assert_near(s.plan.gflop_text, 2 * one.plan.gflop_text, 1e-9);
        assert_near(s.plan.gflop_train, one.plan.gflop_train, 1e-9);
    }
    cf_free(templates);
    cf_free(file);
    test_folder_remove(folder);
}

/* Tests between and after the epochs take nothing that was not planned. */
static void memory_of_a_whole_run(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    const char *const more[] = { "TRAIN.EPOCHS=1", "TEST.NUM_CLIP=2", "TEST.NUM_CROP=3", NULL };
    cf_config *c = micro_config(folder, "out", more);
    seen s;
    cf_tape_stats real = run(&s, c, 0);
    compare_memory(&s.plan, &real);
    /* The six views of a video are a batch of the last test: larger than two videos of one view. */
    cf_loader_options o = cf_config_loader(c, false, s.plan.classes);
    cf_loader_size train, test;
    o.batch = 1;
    assert_ok(cf_loader_measure(&test, NULL, &o));
    o = cf_config_loader(c, true, s.plan.classes);
    assert_ok(cf_loader_measure(&train, NULL, &o));
    assert_int_equal(s.plan.memory.batches, train.bytes + test.bytes);
    cf_config_free(c);
    test_folder_remove(folder);
}

/* Forward: what the formulas tell, which test_cost holds against the published table. */
static void flop_and_parts(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    for (int fixed = 0; fixed < 2; fixed++) {
        const char *const more[] = { fixed ? "MODEL.FIX_TEXT=True" : "MODEL.FIX_TEXT=False", NULL };
        cf_config *c = micro_config(folder, "out", more);
        seen s;
        run(&s, c, 1);
        const cf_run_plan *p = &s.plan;
        assert_near(p->gflop_forward * 1e9, s.flop, 1e-9 * s.flop);
        size_t numbers = 0, trained = 0, stays = 0;
        for (int i = 0; i < CF_PLAN_PARTS; i++) {
            const cf_plan_part *part = &p->parts[i];
            bool text =
                strcmp(part->name, "text tower") == 0 || strcmp(part->name, "logit scale") == 0;
            assert_int_equal(part->numbers > 0, strcmp(part->name, "head") != 0);
            if (!fixed || strcmp(part->name, "text tower") != 0) stays += part->numbers;
            assert_int_equal(part->trained, text && fixed ? 0 : part->numbers);
            numbers += part->numbers;
            trained += part->trained;
        }
        assert_int_equal(numbers, p->parameters);
        assert_int_equal(trained, p->trained);
        assert_int_equal(p->memory.weights, stays * sizeof(cf_real));
        assert_true(p->memory.start > p->parameters * sizeof(cf_real));
        assert_true(p->memory.total >= p->memory.start);
        assert_int_equal(p->memory.moments, 2 * p->memory.gradients);
        cf_config_free(c);
    }
    test_folder_remove(folder);
}

/* ---- dry runs -------------------------------------------------------------------------------- */

typedef struct {
    cf_run_plan plan;
    char *missing[16];
} told;

static void planned_dry(void *user, const cf_run_plan *p)
{
    told *t = user;
    t->plan = *p;
    assert_true(p->dry && p->n_missing <= 16);
    for (size_t i = 0; i < p->n_missing; i++) assert_ok(cf_strdup(&t->missing[i], p->missing[i]));
}

static cf_status dry_run(told *t, cf_config *c)
{
    *t = (told){ .plan = { .dry = false } };
    const cf_run_options o = { .user = t, .planned = planned_dry };
    return cf_run_dry(c, &o);
}

static void forget(told *t)
{
    for (size_t i = 0; i < 16; i++) cf_free(t->missing[i]);
}

static bool has_missing(const told *t, const char *start)
{
    for (size_t i = 0; i < t->plan.n_missing; i++)
        if (strncmp(t->missing[i], start, strlen(start)) == 0) return true;
    return false;
}

/* Where everything is there a dry run tells what the run itself tells, and leaves nothing. */
static void the_same_as_the_run(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *out = test_path(folder, "out");
    const char *const more[] = { "MODEL.FIX_TEXT=False", "TEST.NUM_CLIP=2", NULL };
    cf_config *c = micro_config(folder, "out", more);
    told t;
    seen s;
    assert_ok(dry_run(&t, c));
    assert_false(cf_is_folder(out));
    run(&s, c, 1);
    const cf_run_plan *a = &t.plan, *b = &s.plan;
    assert_int_equal(a->n_missing, 0);
    assert_memory_equal(&a->memory, &b->memory, sizeof a->memory);
    assert_memory_equal(&a->other_memory, &b->other_memory, sizeof a->memory);
    assert_int_equal(a->steps, b->steps);
    assert_int_equal(a->steps, 2 * MICRO_STEPS);
    assert_int_equal(a->tests, 2);
    assert_int_equal(a->micro_batches, b->micro_batches);
    assert_int_equal(a->train_videos, MICRO_TRAIN);
    assert_int_equal(a->test_videos, MICRO_TEST);
    assert_int_equal(a->parameters, b->parameters);
    assert_near(a->gflop_train, b->gflop_train, 0);
    assert_near(a->gflop_text, b->gflop_text, 0);
    forget(&t);
    cf_config_free(c);
    cf_free(out);
    test_folder_remove(folder);
}

/* Nothing is there: each thing has its line. A list counts videos that are not there. */
static void what_is_missing(void **state)
{
    (void)state;
    char *folder = new_folder(), *list = test_path(folder, "train.txt"), *text;
    told t;
    cf_config *c;
    assert_ok(cf_format(&text,
                        "DATA: {TRAIN_FILE: %s, VAL_FILE: %s/val.txt, ROOT: %s/videos,\n"
                        "  LABEL_LIST: %s/labels.csv, NUM_CLASSES: 7}\n"
                        "MODEL: {ARCH: ViT-B/16, BPE: %s/bpe.txt}\n"
                        "TRAIN: {EPOCHS: 3, BATCH_SIZE: 2, ACCUMULATION_STEPS: 2}\n",
                        list, folder, folder, folder, folder));
    assert_ok(cf_config_parse(&c, text, strlen(text), "text"));
    assert_ok(dry_run(&t, c));
    static const char *const lines[] = { "DATA.TRAIN_FILE ",  "DATA.VAL_FILE ", "DATA.LABEL_LIST",
                                         "MODEL.PRETRAINED ", "MODEL.BPE ",     "OUTPUT" };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!has_missing(&t, lines[i])) fail_msg("no line \"missing %s\"", lines[i]);
    assert_int_equal(t.plan.n_missing, sizeof lines / sizeof *lines);
    assert_int_equal(t.plan.steps, 0);
    assert_int_equal(t.plan.classes, 7);
    assert_int_equal(t.plan.parameters, 194929153);
    assert_int_equal(t.plan.trained, 131501056);
    assert_true(t.plan.weights == NULL && t.plan.vocabulary == NULL);
    forget(&t);
    static const char videos[] = "a 0\nb 1\nc 2\nd 3\ne 4\nf 5\ng 6\nh 0\ni 1\n";
    assert_ok(cf_file_write(list, videos, strlen(videos)));
    assert_ok(dry_run(&t, c));
    assert_int_equal(t.plan.train_videos, 9);
    assert_int_equal(t.plan.micro_batches, 4);
    assert_int_equal(t.plan.steps, 3 * 2);
    forget(&t);
    assert_ok(cf_config_set(c, "MODEL.ARCH", "custom", "test"));
    assert_ok(cf_config_set(c, "MODEL.PRETRAINED", "no.safetensors", "test"));
    assert_ok(dry_run(&t, c));
    assert_null(t.plan.model); /* who knows */
    assert_true(has_missing(&t, "MODEL.PRETRAINED no.safetensors"));
    forget(&t);
    c->train.batch_size = 10;
    assert_fails(dry_run(&t, c), CF_EINVAL, "9 videos do not fill one batch of 10");
    assert_ok(cf_config_set(c, "TEST.NUM_CROP", "2", "test"));
    assert_fails(dry_run(&t, c), CF_EINVAL, "TEST.NUM_CROP");
    cf_config_free(c);
    cf_free(text);
    cf_free(list);
    test_folder_remove(folder);
}

/* After the third step of a process the run's own speed tells how long it takes. */
static void how_long_it_takes(void **state)
{
    (void)state;
    micro_need_program();
    char *folder = micro_folder(false), *yaml = test_path(folder, "out.yaml"), *err;
    const char *const more[] = { "TEST.NUM_CLIP=2", NULL };
    cf_config_free(micro_config(folder, "out", more));
    const char *const argv[] = { "train", "-c", yaml, "--pretrained", "scratch", NULL };
    assert_int_equal(micro_program(&err, argv, NULL, NULL), 0);
    const char *plan = strstr(err, "memory   "), *line = strstr(err, "at this rate ");
    if (!line || !plan || line < plan) fail_msg("no line after the plan:\n%s", err);
    assert_non_null(strstr(line, " for training, "));
    assert_non_null(strstr(line, " for 3 tests; done at about "));
    assert_null(strstr(line + 1, "at this rate "));
    cf_free(err);
    cf_free(yaml);
    test_folder_remove(folder);
}

/* The published table: multiply-adds of a view with 400 classes (spec/model.md), in 1e9. What no
 * machine of today holds gets advice. */
static void published_models(void **state)
{
    (void)state;
    static const struct {
        const char *arch, *frames, *size;
        double giga;
    } row[] = {
        { "ViT-B/32", "8", "224", 37.9 },        { "ViT-B/32", "16", "224", 73.6 },
        { "ViT-B/16", "8", "224", 143.5 },       { "ViT-B/16", "16", "224", 284.5 },
        { "ViT-B/16", "32", "224", 566.4 },      { "ViT-L/14", "8", "224", 655.5 },
        { "ViT-L/14@336px", "16", "336", 3066 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const char *const opts[] = { "MODEL.ARCH",       row[i].arch,
                                     "DATA.NUM_FRAMES",  row[i].frames,
                                     "DATA.INPUT_SIZE",  row[i].size,
                                     "DATA.NUM_CLASSES", "400",
                                     "TRAIN.BATCH_SIZE", "4096" };
        cf_config *c;
        told t;
        assert_ok(cf_config_load(&c, NULL, opts, sizeof opts / sizeof *opts));
        assert_ok(dry_run(&t, c));
        const cf_run_plan *p = &t.plan;
        assert_near(p->gflop_forward / 2, row[i].giga, row[i].giga > 1000 ? 0.5 : 0.05);
        assert_true(p->gflop_train > 2.9 * p->gflop_forward);
        assert_true(p->gflop_train < 3.1 * p->gflop_forward);
        assert_true(p->other_gflop_train > p->gflop_train);
        assert_true(p->memory.total > p->machine_memory || p->fitting.batch == 0);
        if (p->fitting.batch > 0) {
            assert_true(p->fitting.total <= p->machine_memory && p->fitting.use_checkpoint);
            size_t a = (size_t)c->train.accumulation_steps;
            assert_int_equal(p->fitting.batch * p->fitting.accumulation, 4096 * a);
        }
        forget(&t);
        cf_config_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_and_flop_of_a_step), cmocka_unit_test(templates_of_an_ensemble),
        cmocka_unit_test(memory_of_a_whole_run),     cmocka_unit_test(flop_and_parts),
        cmocka_unit_test(the_same_as_the_run),       cmocka_unit_test(what_is_missing),
        cmocka_unit_test(how_long_it_takes),         cmocka_unit_test(published_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
