/* What a model costs, by formulas: numbers in it, and multiply-adds of one view. What the library
 * counts of models that it made and of steps that it ran is held against it; the formulas
 * themselves against the published table (models/test_cost.c). */
#ifndef CROSSFRAME_TESTS_XCLIP_COST_H
#define CROSSFRAME_TESTS_XCLIP_COST_H

#include "crossframe/models.h"

/* Numbers by part, and multiply-adds of one view: T frames scored against K classes whose text
 * features are there. Matrix products only, both of each attention among them, and those really
 * run: no query of the message, the mean over frames before the prompts' projection. */
typedef struct {
    double text, visual, mit, prompts, head;
    double message; /* messages, or joint attention's temporal embedding */
    double multiply_adds;
} xclip_cost;

static inline double block_numbers(double w) { return 12 * w * w + 13 * w; }

static inline double text_numbers(const cf_xclip_config *c)
{
    double w = (double)c->text_width;
    return (double)(c->vocabulary + c->context) * w + 2 * w + w * (double)c->embed + 1 +
           (double)c->text_layers * block_numbers(w);
}

static inline xclip_cost xclip_cost_of(const cf_xclip_config *c, size_t K)
{
    double d = (double)c->vision_width, e = (double)c->embed;
    double T = (double)c->frames, side = (double)(c->image / c->patch), N = side * side;
    double patch = 3.0 * (double)(c->patch * c->patch), layers = (double)c->vision_layers;
    double classes = (double)K, prompts = (double)c->prompt_layers, mit = (double)c->mit_layers;
    xclip_cost cost = { 0 };

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

#endif
