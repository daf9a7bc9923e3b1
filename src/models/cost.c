/* What a model costs before it is made: numbers in it, and multiply-adds of one view. Only matrix
 * products count, both of each attention among them. */
#include "xclip.h"

static double block_numbers(double w) { return 12 * w * w + 13 * w; }

static double text_numbers(const cf_xclip_config *c)
{
    double w = (double)c->text_width;
    return (double)(c->vocabulary + c->context) * w + 2 * w + w * (double)c->embed + 1 +
           (double)c->text_layers * block_numbers(w);
}

cf_xclip_cost cf_xclip_cost_of(const cf_xclip_config *c, size_t K)
{
    double d = (double)c->vision_width, e = (double)c->embed;
    double T = (double)c->frames, side = (double)(c->image / c->patch), N = side * side;
    double patch = 3.0 * (double)(c->patch * c->patch), layers = (double)c->vision_layers;
    double classes = (double)K, prompts = (double)c->prompt_layers, mit = (double)c->mit_layers;
    cf_xclip_cost cost = { 0 };

    if (c->head_classes > 0) {
        classes = (double)c->head_classes;
        cost.head = classes * (e + 1);
    } else {
        cost.text = text_numbers(c);
    }
    cost.visual = d + (N + 1) * d + 4 * d + d * e + patch * d + layers * block_numbers(d);
    double keys = N + 1, tokens = T * (N + 1), features = T;
    if (c->video == CF_ENCODER_JOINT) {
        cost.message = T * d; /* places in time */
        keys = tokens = 1 + T * N;
        features = 1;
    }
    double block = 12 * tokens * d * d; /* qkv 3, out 1, mlp 8 */
    if (c->video == CF_ENCODER_CCT) {
        cost.message = layers * (5 * d * d + 7 * d); /* fc, norm, attention */
        keys += 1;
        block += T * (5 * d * d + 2 * T * d) + T * 2 * d * d; /* message, CFA; its key and value */
    }
    block += 2 * tokens * keys * d;
    cost.multiply_adds = T * N * patch * d + layers * block + features * d * e;
    if (mit > 0) {
        cost.mit = T * e + mit * block_numbers(e);
        cost.multiply_adds += mit * (12 * T * e * e + 2 * T * T * e);
    }
    cost.prompts = (double)c->prompt_vectors * (double)c->text_width;
    if (prompts > 0) {
        cost.prompts += 2 * d + d * e + 3 * e + prompts * (12 * e * e + 10 * e);
        cost.multiply_adds +=
            N * d * e + prompts * (2 * N * e * e + classes * (10 * e * e + 2 * N * e));
    }
    cost.multiply_adds += classes * e;
    return cost;
}
