/* The plan of a run is what the run then does: memory of its steps to the byte, flop, numbers. */
#include "micro.h"

typedef struct {
    cf_run_plan plan;
    double flop; /* of a view, by the formula */
    int told;
} seen;

static void planned(void *user, const cf_run_plan *p)
{
    seen *s = user;
    s->plan = *p;
    s->flop = 2 * cf_xclip_cost_of(p->model, p->classes).multiply_adds;
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

static const char *const variants[][4] = {
    { "TRAIN.USE_CHECKPOINT=False", NULL },
    { "TRAIN.USE_CHECKPOINT=True", NULL },
    { "TRAIN.USE_CHECKPOINT=False", "MODEL.FIX_TEXT=False", NULL },
    { "TRAIN.USE_CHECKPOINT=True", "MODEL.FIX_TEXT=False", NULL },
    { "TRAIN.USE_CHECKPOINT=False", "MODEL.VIDEO=mean", "MODEL.MIT_LAYERS=0", NULL },
    { "TRAIN.USE_CHECKPOINT=True", "MODEL.VIDEO=mean", "MODEL.PROMPT=none", NULL },
    { "TRAIN.USE_CHECKPOINT=True", "MODEL.DROP_PATH_RATE=0.5", "TRAIN.BATCH_SIZE=3", NULL },
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
            assert_int_equal(p->memory.activations, real.activation_peak);
            assert_int_equal(p->memory.buffers, real.gradient_peak);
            assert_near(p->gflop_train * 1e9 * batch, real.flop, 1e-9 * real.flop);
            if (i < 2) turned[i] = p->memory.total;
            if (i == 1) assert_int_equal(p->other_memory.total, turned[0]);
        }
        assert_true(turned[1] < turned[0]);
        test_folder_remove(folder);
    }
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
    assert_int_equal(s.plan.memory.activations, real.activation_peak);
    assert_int_equal(s.plan.memory.buffers, real.gradient_peak);
    cf_config_free(c);
    test_folder_remove(folder);
}

/* Forward: what cf_xclip_cost_of tells, which test_cost holds against the published table. */
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
        size_t numbers = 0, trained = 0;
        for (int i = 0; i < CF_PLAN_PARTS; i++) {
            const cf_plan_part *part = &p->parts[i];
            bool text =
                strcmp(part->name, "text tower") == 0 || strcmp(part->name, "logit scale") == 0;
            assert_true(part->numbers > 0);
            assert_int_equal(part->trained, text && fixed ? 0 : part->numbers);
            numbers += part->numbers;
            trained += part->trained;
        }
        assert_int_equal(numbers, p->parameters);
        assert_int_equal(trained, p->trained);
        assert_int_equal(p->memory.weights, p->parameters * sizeof(cf_real));
        assert_int_equal(p->memory.moments, 2 * p->memory.gradients);
        cf_config_free(c);
    }
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_and_flop_of_a_step),
        cmocka_unit_test(memory_of_a_whole_run),
        cmocka_unit_test(flop_and_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
