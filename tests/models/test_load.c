/* Weights through safetensors: sizes out of shapes, complete or refused, CLIP as the one partial
 * file. */
#include "../test.h"

#include "crossframe/models.h"

/* Kept out of line: gcc 12 takes the inlined name for a dangling one. */
__attribute__((noinline)) static char *new_folder(void) { return test_folder_new(); }

static const cf_xclip_config sizes = {
    .image = 20,
    .patch = 10,
    .vision_width = 64,
    .vision_layers = 2,
    .embed = 64,
    .text_width = 128,
    .text_layers = 1,
    .context = 12,
    .vocabulary = 30,
    .frames = 3,
    .video = CF_ENCODER_CCT,
    .mit_layers = 1,
    .prompt_layers = 2,
    .prompt_alpha = 0.1,
};

static cf_xclip_config clip_sizes(void)
{
    cf_xclip_config c = sizes;
    c.video = CF_ENCODER_MEAN;
    c.mit_layers = c.prompt_layers = 0;
    return c;
}

static cf_xclip *new_model(const cf_xclip_config *c, uint64_t seed)
{
    cf_xclip *m;
    assert_ok(cf_xclip_new(&m, c));
    cf_params_init(cf_xclip_params(m), seed);
    return m;
}

/* The model's tensors, one of them changed by `edit` (NULL: none), and one more of this name if
 * given. */
typedef void editor(cf_st_tensor *t);
static void write_model(const char *path, const cf_xclip *m, const char *name, editor *edit,
                        const char *more)
{
    cf_st_tensor tensors[512];
    static const float extra[4];
    size_t n = 0;
    const cf_params *p = cf_xclip_params(m);
    for (size_t i = 0; i < cf_params_count(p); i++) {
        const cf_param *q = cf_params_get(p, i);
        tensors[n] = cf_param_as_st(q, q->tensor.name, q->tensor.data);
        if (!name || strcmp(q->tensor.name, name) != 0) {
            n++;
            continue;
        }
        if (edit) edit(&tensors[n++]); /* without an editor it is left out */
    }
    if (more)
        tensors[n++] = (cf_st_tensor){
            .name = more, .dtype = CF_ST_F32, .rank = 1, .shape = { 4 }, .data = extra
        };
    assert_ok(cf_st_write(path, tensors, n, NULL, 0));
}

static cf_status load(cf_load_counts *counts, cf_xclip *m, const char *path, bool allow_clip)
{
    cf_weights *f;
    assert_ok(cf_weights_open(&f, path));
    cf_status status = cf_xclip_load(counts, m, f, allow_clip);
    cf_weights_close(f);
    return status;
}

static void assert_equal_models(const cf_xclip *a, const cf_xclip *b)
{
    const cf_params *p = cf_xclip_params(a), *q = cf_xclip_params(b);
    for (size_t i = 0; i < cf_params_count(p); i++) {
        const cf_tensor *x = &cf_params_get(p, i)->tensor;
        const cf_param *y = cf_params_find(q, x->name);
        if (!y || memcmp(x->data, y->tensor.data, x->n * sizeof *x->data) != 0)
            fail_msg("%s differs", x->name);
    }
}

static void whole_model_comes_back(void **state)
{
    (void)state;
    char *folder = new_folder(), *path = test_path(folder, "m.safetensors");
    cf_xclip *a = new_model(&sizes, 1), *b = new_model(&sizes, 2);
    cf_load_counts counts;
    write_model(path, a, NULL, NULL, "optimizer.m.visual.proj"); /* passed over */
    assert_ok(load(&counts, b, path, false));
    assert_int_equal(counts.loaded, cf_params_count(cf_xclip_params(a)));
    assert_int_equal(counts.fresh, 0);
    assert_equal_models(a, b);
    cf_xclip_free(a);
    cf_xclip_free(b);
    cf_free(path);
    test_folder_remove(folder);
}

static void assert_same_sizes(const cf_xclip_config *a, const cf_xclip_config *b)
{
    const size_t x[] = { a->image,        a->patch,      a->vision_width, a->vision_layers,
                         a->embed,        a->text_width, a->text_layers,  a->context,
                         a->vocabulary,   a->frames,     a->video,        a->mit_layers,
                         a->prompt_layers };
    const size_t y[] = { b->image,        b->patch,      b->vision_width, b->vision_layers,
                         b->embed,        b->text_width, b->text_layers,  b->context,
                         b->vocabulary,   b->frames,     b->video,        b->mit_layers,
                         b->prompt_layers };
    assert_memory_equal(x, y, sizeof x);
}

static void sizes_come_from_shapes(void **state)
{
    (void)state;
    char *folder = new_folder(), *path = test_path(folder, "m.safetensors");
    for (int clip = 0; clip < 2; clip++) {
        cf_xclip_config want = clip ? clip_sizes() : sizes, got;
        cf_xclip *m = new_model(&want, 1);
        cf_weights *f;
        write_model(path, m, NULL, NULL, NULL);
        assert_ok(cf_weights_open(&f, path));
        assert_ok(cf_xclip_config_from_file(&got, f));
        assert_true(cf_xclip_file_is_clip(f) == clip);
        cf_weights_close(f);
        if (clip) want.frames = 0;
        assert_same_sizes(&got, &want);
        cf_xclip_free(m);
    }
    cf_free(path);
    test_folder_remove(folder);
}

/* Loaded over start values, or start values drawn for what was not loaded: the same. */
static void assert_starts_like(const cf_xclip *want, const char *path, uint64_t seed)
{
    cf_xclip *m = new_model(cf_xclip_config_get(want), seed + 1);
    cf_load_counts counts;
    cf_weights *f;
    assert_ok(cf_weights_open(&f, path));
    assert_ok(cf_xclip_start(&counts, m, f, true, seed));
    cf_weights_close(f);
    assert_equal_models(want, m);
    assert_int_equal(counts.loaded + counts.fresh, cf_params_count(cf_xclip_params(m)));
    cf_xclip_free(m);
}

static void clip_starts_xclip(void **state)
{
    (void)state;
    char *folder = new_folder(), *path = test_path(folder, "clip.safetensors");
    cf_xclip_config c = clip_sizes();
    cf_xclip *clip = new_model(&c, 1), *m = new_model(&sizes, 2), *start = new_model(&sizes, 2);
    cf_load_counts counts;
    write_model(path, clip, NULL, NULL, NULL);
    assert_fails(load(&counts, m, path, false), CF_EFORMAT, "--pretrained");
    assert_equal_models(start, m);
    assert_ok(load(&counts, m, path, true));
    assert_starts_like(m, path, 2);
    assert_int_equal(counts.loaded, cf_params_count(cf_xclip_params(clip)));
    assert_int_equal(counts.fresh,
                     cf_params_count(cf_xclip_params(m)) - cf_params_count(cf_xclip_params(clip)));
    assert_equal_models(clip, m); /* CLIP's part */
    const cf_param *old = cf_params_find(cf_xclip_params(start), "prompts_generator.alpha");
    const cf_param *now = cf_params_find(cf_xclip_params(m), "prompts_generator.alpha");
    assert_memory_equal(old->tensor.data, now->tensor.data, old->tensor.n * sizeof(cf_real));
    /* A CLIP that lacks something of CLIP is none, and the opposite way is closed. */
    write_model(path, clip, "visual.proj", NULL, NULL);
    assert_fails(load(&counts, m, path, true), CF_EFORMAT, "missing: visual.proj");
    write_model(path, m, NULL, NULL, NULL);
    assert_fails(load(&counts, clip, path, true), CF_EFORMAT, "the CLIP it was made from");
    cf_xclip_free(clip);
    cf_xclip_free(m);
    cf_xclip_free(start);
    cf_free(path);
    test_folder_remove(folder);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void as_one_row(cf_st_tensor *t) /* [d, e] -> [1, d * e] */
{
    t->shape[1] *= t->shape[0];
    t->shape[0] = 1;
}
static void as_integers(cf_st_tensor *t) { t->dtype = CF_REAL_IS_DOUBLE ? CF_ST_I64 : CF_ST_I32; }
static void as_vector(cf_st_tensor *t) { t->rank = 1, t->shape[0] = 1; }

static void differences_are_named(void **state)
{
    (void)state;
    char *folder = new_folder(), *path = test_path(folder, "m.safetensors");
    cf_xclip *m = new_model(&sizes, 1), *other = new_model(&sizes, 2), *same = new_model(&sizes, 2);
    cf_load_counts counts;
    write_model(path, m, "visual.proj", as_one_row, NULL);
    assert_fails(load(&counts, other, path, true), CF_EFORMAT,
                 "visual.proj is [1, 4096], the model's [64, 64]");
    write_model(path, m, "visual.proj", as_integers, NULL);
    assert_fails(load(&counts, other, path, true), CF_EFORMAT, "visual.proj holds I");
    write_model(path, m, "ln_final.bias", NULL, "surplus");
    assert_fails(load(&counts, other, path, true), CF_EFORMAT,
                 "missing: ln_final.bias; unexpected: surplus");
    assert_equal_models(same, other); /* a refused file changes nothing */
    write_model(path, m, "logit_scale", as_vector, NULL);
    assert_ok(load(&counts, other, path, true));
    write_model(path, m, NULL, NULL, "vocab_size");
    assert_ok(load(&counts, other, path, true));
    cf_xclip_free(m);
    cf_xclip_free(other);
    cf_xclip_free(same);
    cf_free(path);
    test_folder_remove(folder);
}

/* All names in one line: layers and endings are drawn together. */
static void all_names_are_told(void **state)
{
    (void)state;
    char *folder = new_folder(), *path = test_path(folder, "m.safetensors");
    cf_xclip_config deep = sizes, wide = sizes;
    deep.vision_layers = 5;
    wide.vision_width = 128;
    cf_xclip *m = new_model(&sizes, 1), *d = new_model(&deep, 2), *w = new_model(&wide, 3);
    cf_load_counts counts;
    write_model(path, m, NULL, NULL, NULL);
    assert_fails(load(&counts, d, path, true), CF_EFORMAT,
                 "missing: visual.transformer.resblocks.{2-4}.message_fc.{weight,bias}, ");
    assert_non_null(strstr(cf_error(), "visual.transformer.resblocks.{2-4}.attn.in_proj_weight, "));
    assert_true(strlen(cf_error()) < 1500 && !strstr(cf_error(), " more"));
    assert_fails(load(&counts, w, path, true), CF_EFORMAT,
                 "visual.transformer.resblocks.{0-1}.attn.in_proj_weight is [192, 64], the model's "
                 "[384, 128]");
    assert_true(!strstr(cf_error(), " more"));
    write_model(path, d, NULL, NULL, NULL);
    assert_fails(load(&counts, m, path, true), CF_EFORMAT,
                 "unexpected: visual.transformer.resblocks.{2-4}.message_fc.weight [64, 64], ");
    cf_xclip_free(m);
    cf_xclip_free(d);
    cf_xclip_free(w);
    cf_free(path);
    test_folder_remove(folder);
}

static void sizes_that_cannot_be(void **state)
{
    (void)state;
    static const char *const needed[] = { "visual.conv1.weight", "visual.positional_embedding",
                                          "text_projection", "positional_embedding",
                                          "token_embedding.weight" };
    char *folder = new_folder(), *path = test_path(folder, "m.safetensors");
    cf_xclip *m = new_model(&sizes, 1);
    cf_xclip_config got;
    cf_weights *f;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        write_model(path, m, needed[i], NULL, NULL);
        assert_ok(cf_weights_open(&f, path));
        assert_fails(cf_xclip_config_from_file(&got, f), CF_EFORMAT, needed[i]);
        cf_weights_close(f);
    }
    write_model(path, m, "visual.positional_embedding", as_one_row, NULL);
    assert_ok(cf_weights_open(&f, path));
    assert_fails(cf_xclip_config_from_file(&got, f), CF_EFORMAT, "no square + 1");
    cf_weights_close(f);
    cf_xclip_free(m);
    cf_free(path);
    test_folder_remove(folder);
}

TESTS(TEST(whole_model_comes_back), TEST(sizes_come_from_shapes), TEST(clip_starts_xclip),
      TEST(differences_are_named), TEST(all_names_are_told), TEST(sizes_that_cannot_be))
