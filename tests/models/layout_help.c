#include "layout_help.h"

#include <dirent.h>

const cf_xclip_config small_sizes = {
    .image = 24,
    .patch = 8,
    .vision_width = 128,
    .vision_layers = 2,
    .embed = 192,
    .text_width = 64,
    .text_layers = 2,
    .context = 12,
    .vocabulary = 30,
    .frames = 3,
    .video = CF_ENCODER_CCT,
    .mit_layers = 1,
    .prompt_layers = 2,
    .prompt_alpha = 0.1,
};

cf_xclip_config small_clip(void)
{
    cf_xclip_config c = small_sizes;
    c.video = CF_ENCODER_MEAN;
    c.mit_layers = c.prompt_layers = 0;
    return c;
}

cf_xclip *small_model(const cf_xclip_config *c, uint64_t seed)
{
    cf_xclip *m;
    assert_ok(cf_xclip_new(&m, c));
    cf_params *p = cf_xclip_params(m);
    for (size_t i = 0; i < cf_params_count(p); i++) {
        cf_tensor *x = &cf_params_get(p, i)->tensor;
        cf_rng r = cf_rng_make(seed, CF_RNG_TEST, 0, cf_hash64(x->name, strlen(x->name)));
        for (size_t k = 0; k < x->n; k++)
            x->data[k] = (cf_real)(float)(0.3 * cf_rng_normal(&r) + (x->n == 1 ? 2 : 0));
    }
    return m;
}

void write_native(const char *path, const cf_xclip *m)
{
    cf_st_tensor tensors[512];
    const cf_params *p = cf_xclip_params(m);
    size_t n = cf_params_count(p);
    for (size_t i = 0; i < n; i++) {
        const cf_param *q = cf_params_get(p, i);
        tensors[i] = cf_param_as_st(q, q->tensor.name, q->tensor.data);
    }
    assert_ok(cf_st_write(path, tensors, n, NULL, 0));
}

cf_weights *open_native(const char *path)
{
    cf_weights *w;
    assert_ok(cf_weights_open(&w, path));
    assert_ok(cf_weights_to_native(w, NULL));
    return w;
}

static cf_real *numbers_of(const cf_weights *w, const cf_weight *t)
{
    cf_real *x;
    assert_ok(cf_alloc(&x, t->n, sizeof *x));
    assert_ok(cf_weights_read(x, t->n, w, t));
    return x;
}

void assert_same_weights(const cf_weights *a, const cf_weights *b)
{
    assert_int_equal(cf_weights_count(a), cf_weights_count(b));
    for (size_t i = 0; i < cf_weights_count(a); i++) {
        const cf_weight *t = cf_weights_at(a, i), *u = cf_weights_find(b, t->name);
        if (!u) fail_msg("%s: no %s", cf_weights_path(b), t->name);
        if (t->rank != u->rank || memcmp(t->shape, u->shape, t->rank * sizeof *t->shape) != 0)
            fail_msg("%s: %s has another shape", cf_weights_path(b), t->name);
        cf_real *x = numbers_of(a, t), *y = numbers_of(b, u);
        if (memcmp(x, y, t->n * sizeof *x) != 0)
            fail_msg("%s: %s has other numbers", cf_weights_path(b), t->name);
        cf_free(x);
        cf_free(y);
    }
}

void small_logits(cf_real out[3], const cf_xclip *m)
{
    const cf_xclip_config *c = cf_xclip_config_get(m);
    int32_t tokens[3][12] = { { 28, 4, 5, 29 }, { 28, 6, 29 }, { 28, 7, 8, 9, 29 } };
    cf_shape shape = cf_shape_of(1, c->frames, 3, c->image, c->image);
    size_t n = cf_shape_count(&shape);
    cf_real *pixels;
    cf_tape *t;
    cf_xclip_outputs o;
    const cf_xclip_run run = { 0 };
    cf_rng r = cf_rng_make(5, CF_RNG_TEST, 0, 0);
    assert_ok(cf_alloc(&pixels, n, sizeof *pixels));
    for (size_t i = 0; i < n; i++) pixels[i] = (cf_real)cf_rng_normal(&r);
    assert_ok(cf_tape_new(&t, NULL));
    cf_tape_record(t, false);
    cf_tensor *video = cf_tensor_input(t, shape, pixels, false);
    assert_ok(cf_xclip_video(&o, m, t, video, &run, NULL, NULL));
    assert_ok(cf_xclip_scores(&o, m, t, cf_xclip_text(m, t, tokens[0], 3), NULL, NULL));
    assert_int_equal(o.logits->n, 3);
    assert_ok(cf_tensor_copy(out, o.logits));
    cf_tape_free(t);
    cf_free(pixels);
}

size_t count_files(const char *folder)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}
