/* Start values of every tensor, where there are no weights to start from: kind of distribution,
 * mean and spread as the model's description has them, and numbers of their own for each. */
#include "crossframe/models.h"
#include "test.h"

enum { D = 128, E = 64, W = 192, P = 10, TEXT_LAYERS = 3 };

typedef enum { CONSTANT, NORMAL, UNIFORM } kind;
typedef struct {
    const char *part; /* of the name; the first row that fits counts */
    kind kind;
    double value; /* the constant, the standard deviation, the bound */
} rule;

static const rule everywhere[] = {
    { "in_proj_bias", CONSTANT, 0 },
    { "out_proj.bias", CONSTANT, 0 },
    { "ln_1.weight", CONSTANT, 1 },
    { "ln_1.bias", CONSTANT, 0 },
    { "ln_2.weight", CONSTANT, 1 },
    { "ln_2.bias", CONSTANT, 0 },
    { "ln_pre.weight", CONSTANT, 1 },
    { "ln_pre.bias", CONSTANT, 0 },
    { "ln_post.weight", CONSTANT, 1 },
    { "ln_post.bias", CONSTANT, 0 },
    { "ln_final.weight", CONSTANT, 1 },
    { "ln_final.bias", CONSTANT, 0 },
    { "message_ln.weight", CONSTANT, 1 },
    { "message_ln.bias", CONSTANT, 0 },
    { "visual_ln.weight", CONSTANT, 1 },
    { "visual_ln.bias", CONSTANT, 0 },
    { "norm.weight", CONSTANT, 1 },
    { "norm.bias", CONSTANT, 0 },
    { "norm1.weight", CONSTANT, 1 },
    { "norm1.bias", CONSTANT, 0 },
    { "norm3.weight", CONSTANT, 1 },
    { "norm3.bias", CONSTANT, 0 },
    { "logit_scale", CONSTANT, 2.6592600369327783 },
};
#define ROOT(x) (1 / sqrt((double)(x)))

/* Of the parts in turn; sqrt is no constant expression. */
static rule rule_of(const char *name)
{
    const double out = ROOT(W) * ROOT(2 * TEXT_LAYERS), xavier_d = sqrt(6.0 / (4 * D));
    const rule vision[] = {
        { "class_embedding", NORMAL, ROOT(D) },  { "positional_embedding", NORMAL, ROOT(D) },
        { "visual.proj", NORMAL, ROOT(D) },      { "conv1.weight", UNIFORM, ROOT(3 * P * P) },
        { "in_proj_weight", UNIFORM, xavier_d }, { "out_proj.weight", UNIFORM, ROOT(D) },
        { "message_fc.", UNIFORM, ROOT(D) },     { "c_fc.", UNIFORM, ROOT(D) },
        { "c_proj.", UNIFORM, ROOT(4 * D) },     { NULL, CONSTANT, 0 },
    };
    const rule text[] = {
        { "token_embedding", NORMAL, 0.02 },     { "positional_embedding", NORMAL, 0.01 },
        { "text_projection", NORMAL, ROOT(W) },  { "in_proj_weight", NORMAL, ROOT(W) },
        { "out_proj.weight", NORMAL, out },      { "c_fc.weight", NORMAL, ROOT(2 * W) },
        { "c_proj.weight", NORMAL, out },        { "c_fc.bias", UNIFORM, ROOT(W) },
        { "c_proj.bias", UNIFORM, ROOT(4 * W) }, { NULL, CONSTANT, 0 },
    };
    const rule own[] = {
        { "in_proj_weight", UNIFORM, sqrt(6.0 / (4 * E)) },
        { "prompts_visual_proj", NORMAL, 1 },
        { "alpha", CONSTANT, 0.1 },
        { ".bias", CONSTANT, 0 },
        { "", NORMAL, 0.02 },
    };
    for (size_t i = 0; i < sizeof everywhere / sizeof *everywhere; i++)
        if (strstr(name, everywhere[i].part)) return everywhere[i];
    bool is_own = strncmp(name, "mit.", 4) == 0 || strncmp(name, "prompts_", 8) == 0;
    const rule *r = is_own ? own : strncmp(name, "visual.", 7) == 0 ? vision : text;
    while (r->part && !strstr(name, r->part)) r++;
    if (!r->part) fail_msg("%s: the description has no start value for it", name);
    return *r;
}

/* Five standard errors of mean and standard deviation; what is uniform ends at its bound, what is
 * normal does not. */
static void check(const cf_param *p)
{
    const char *name = p->tensor.name;
    rule r = rule_of(name);
    double n = (double)p->tensor.n, sum = 0, squares = 0, most = 0;
    for (size_t i = 0; i < p->tensor.n; i++) {
        double x = (double)p->tensor.data[i];
        if (r.kind == CONSTANT && !(fabs(x - r.value) <= 1e-7 * fabs(r.value)))
            fail_msg("%s: starts as %g, not %g", name, x, r.value);
        sum += x;
        squares += x * x;
        most = fmax(most, fabs(x));
    }
    if (r.kind == CONSTANT) return;
    double std = r.kind == NORMAL ? r.value : r.value / sqrt(3), spread = sqrt(squares / n);
    double error = sqrt((r.kind == NORMAL ? 0.5 : 0.2) / n);
    if (!(fabs(sum / n) <= 5 * std / sqrt(n))) fail_msg("%s: mean %g", name, sum / n);
    if (!(fabs(spread / std - 1) <= 5 * error))
        fail_msg("%s: standard deviation %g, expected %g", name, spread, std);
    if (r.kind == UNIFORM && !(most <= r.value && most > 0.9 * r.value))
        fail_msg("%s: largest value %g, expected a uniform one to %g", name, most, r.value);
    if (r.kind == NORMAL && !(most > 2 * std)) fail_msg("%s: largest value %g", name, most);
}

static void every_tensor(void **state)
{
    (void)state;
    const cf_xclip_config c = { .image = 40,
                                .patch = P,
                                .vision_width = D,
                                .vision_layers = 2,
                                .embed = E,
                                .text_width = W,
                                .text_layers = TEXT_LAYERS,
                                .context = 20,
                                .vocabulary = 300,
                                .frames = 8,
                                .mit_layers = 2,
                                .prompt_layers = 2,
                                .prompt_vectors = 16,
                                .prompt_alpha = 0.1 };
    cf_xclip *m;
    assert_ok(cf_xclip_new(&m, &c));
    const cf_params *params = cf_xclip_params(m);
    for (uint64_t seed = 1; seed < 4; seed++) {
        cf_params_init(cf_xclip_params(m), seed);
        for (size_t i = 0; i < cf_params_count(params); i++) {
            const cf_param *p = cf_params_get(params, i);
            check(p);
            for (size_t j = 0; rule_of(p->tensor.name).kind != CONSTANT && j < i; j++) {
                const cf_param *q = cf_params_get(params, j);
                if (rule_of(q->tensor.name).kind == CONSTANT) continue;
                double ratio = (double)(p->tensor.data[0] / q->tensor.data[0]);
                double next = (double)(p->tensor.data[1] / q->tensor.data[1]);
                if (fabs(ratio - next) < 1e-6 * fabs(ratio))
                    fail_msg("%s and %s start alike", p->tensor.name, q->tensor.name);
            }
        }
    }
    cf_xclip_free(m);
}

TESTS(TEST(every_tensor))
