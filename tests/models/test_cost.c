/* Numbers and multiply-adds told beforehand: the published table, and what a model really has and
 * runs. */
#include "test.h"
#include "xclip_cost.h"

static double numbers(const xclip_cost *c)
{
    return c->text + c->visual + c->message + c->mit + c->prompts + c->head;
}

static void published_sizes(void **state)
{
    (void)state;
    const struct {
        const char *arch;
        size_t T;
        double giga, total, trained;
    } row[] = {
        { "ViT-B/32", 8, 37.9, 196585729, 133157632 },
        { "ViT-B/32", 16, 73.6, 196585729 + 8 * 512, 133157632 + 8 * 512 },
        { "ViT-B/16", 8, 143.5, 194929153, 131501056 },
        { "ViT-B/16", 16, 284.5, 194929153 + 8 * 512, 131501056 + 8 * 512 },
        { "ViT-B/16", 32, 566.4, 194929153 + 24 * 512, 131501056 + 24 * 512 },
        { "ViT-L/14", 8, 655.5, 575673601, 452023296 },
        { "ViT-L/14@336px", 16, 3066, 576001281 + 8 * 768, 452350976 + 8 * 768 },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        cf_xclip_config c;
        assert_ok(cf_xclip_config_named(&c, row[i].arch));
        c.frames = row[i].T;
        xclip_cost cost = xclip_cost_of(&c, 400);
        assert_near(cost.multiply_adds * 1e-9, row[i].giga, row[i].giga > 1000 ? 0.5 : 0.05);
        assert_near(numbers(&cost), row[i].total, 0);
        assert_near(numbers(&cost) - cost.text, row[i].trained, 0);
    }
}

/* One forward pass of a small model in every variant runs and holds exactly what is told. */
static void what_really_runs(void **state)
{
    (void)state;
    for (int variant = 0; variant < 12; variant++) {
        const cf_xclip_config c = { .image = 30,
                                    .patch = 10,
                                    .vision_width = 128,
                                    .vision_layers = 2,
                                    .embed = 64,
                                    .text_width = 64,
                                    .text_layers = 1,
                                    .context = 8,
                                    .vocabulary = 20,
                                    .frames = 3,
                                    .video = variant / 2 == 4 ? CF_ENCODER_JOINT
                                             : variant & 1    ? CF_ENCODER_CCT
                                                              : CF_ENCODER_MEAN,
                                    .mit_layers = variant & 2 ? 2 : 0, /* heads: with MIT */
                                    .prompt_layers = variant == 9 || variant & 4 ? 2 : 0,
                                    .prompt_vectors = variant >= 10 || variant & 4 ? 0 : 3,
                                    .head_classes = variant >= 10 ? 5 : 0 };
        cf_xclip *m;
        cf_tape *t;
        cf_xclip_outputs out;
        const cf_xclip_run run = { 0 };
        assert_ok(cf_xclip_new(&m, &c));
        assert_ok(cf_tape_new(&t, NULL));
        cf_params_init(cf_xclip_params(m), 1);
        xclip_cost cost = xclip_cost_of(&c, 5);
        assert_near(numbers(&cost), cf_params_numbers(cf_xclip_params(m), false), 0);
        assert_near(numbers(&cost) - cost.text, cf_params_numbers(cf_xclip_params(m), true), 0);
        cf_tensor *text = cf_tensor_new(t, cf_shape_of(5, 64));
        cf_tensor *x = cf_tensor_new(t, cf_shape_of(1, 3, 3, 30, 30));
        for (size_t i = 0; i < text->n; i++) text->data[i] = (cf_real)(i % 7) - 3;
        for (size_t i = 0; i < x->n; i++) x->data[i] = (cf_real)(i % 5) - 2;
        assert_ok(cf_xclip_video(&out, m, t, x, &run, NULL, NULL));
        assert_ok(cf_xclip_scores(&out, m, t, text, NULL, NULL));
        assert_near(cf_tape_stats_get(t).flop, 2 * cost.multiply_adds, 0.5);
        cf_tape_free(t);
        cf_xclip_free(m);
    }
}

TESTS(TEST(published_sizes), TEST(what_really_runs))
