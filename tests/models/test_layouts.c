/* Every layout: written and read back equal to the bit, the same logits; what is refused, and in
 * which words. */
#include "layout_help.h"
#include "models/weights/layout.h"
#include "test_in_folder.h"

static const cf_layout all_layouts[] = { CF_LAYOUT_XCLIP, CF_LAYOUT_XCLIP_HF, CF_LAYOUT_CLIP,
                                         CF_LAYOUT_CLIP_HF, CF_LAYOUT_VIFI };
enum { N_LAYOUTS = sizeof all_layouts / sizeof *all_layouts };

static bool is_whole(cf_layout l) { return l == CF_LAYOUT_XCLIP || l == CF_LAYOUT_XCLIP_HF; }

static char last_log[4096];
static size_t n_logs;
static void keep_log(void *user, cf_log_level level, const char *line)
{
    (void)user;
    (void)level;
    n_logs++;
    snprintf(last_log, sizeof last_log, "%s", line);
}

static int setup(void **state)
{
    folder_setup(state);
    cf_log_set(keep_log, NULL);
    n_logs = 0;
    *last_log = 0;
    char *path = test_path(folder, "x.safetensors"), *clip = test_path(folder, "c.safetensors");
    const cf_xclip_config c = small_clip();
    cf_xclip *m = small_model(&small_sizes, 1), *k = small_model(&c, 1);
    write_native(path, m);
    write_native(clip, k);
    cf_xclip_free(m);
    cf_xclip_free(k);
    cf_free(path);
    cf_free(clip);
    return 0;
}

static int teardown(void **state)
{
    cf_log_set(NULL, NULL);
    return folder_teardown(state);
}

/* folder/x (X-CLIP) or folder/c (CLIP) as `name` in this layout. */
static char *export_as(const char *name, cf_layout layout, cf_weights_format format,
                       cf_st_dtype dtype)
{
    char *from = test_path(folder, is_whole(layout) ? "x.safetensors" : "c.safetensors");
    char *to = test_path(folder, name);
    const cf_export e = { .layout = layout, .format = format, .dtype = dtype };
    cf_weights *w = open_native(from);
    assert_ok(cf_weights_export(to, w, &e));
    cf_weights_close(w);
    cf_free(from);
    return to;
}

/* Opens in native names; a ViFi-CLIP gets its tokens from folder/c, which *clip keeps open. */
static cf_weights *open_whole(const char *path, cf_weights **clip)
{
    cf_weights *w = open_native(path);
    *clip = NULL;
    if (!cf_weights_find(w, "token_embedding.weight")) {
        char *other = test_path(folder, "c.safetensors");
        *clip = open_native(other);
        assert_ok(cf_weights_borrow(w, *clip, "token_embedding.weight"));
        cf_free(other);
    }
    return w;
}

/* ---- there and back -------------------------------------------------------------------------- */

static void every_layout_comes_back(void **state)
{
    (void)state;
    static const cf_st_dtype types[] = { CF_ST_F32, CF_ST_F16, CF_ST_BF16 };
    for (size_t l = 0; l < N_LAYOUTS; l++) {
        for (size_t k = 0; k < 6; k++) {
            cf_layout layout = all_layouts[l],
                      base = is_whole(layout) ? CF_LAYOUT_XCLIP : CF_LAYOUT_CLIP;
            cf_weights_format format = k % 2 ? CF_FILE_TORCH : CF_FILE_SAFETENSORS;
            char *path = export_as("out", layout, format, types[k / 2]);
            char *native = export_as("native", base, CF_FILE_SAFETENSORS, types[k / 2]);
            cf_weights *clip, *w, *v = open_native(native);
            assert_ok(cf_weights_open(&w, path));
            assert_int_equal(cf_weights_layout(w), layout);
            cf_weights_close(w);
            w = open_whole(path, &clip);
            assert_int_equal(cf_weights_origin(w), layout);
            if (layout != CF_LAYOUT_VIFI || types[k / 2] == CF_ST_F32) assert_same_weights(v, w);
            cf_weights_close(w);
            cf_weights_close(v);
            cf_weights_close(clip);
            cf_free(path);
            cf_free(native);
        }
    }
    char *x = test_path(folder, "x.safetensors"),
         *y = export_as("y", CF_LAYOUT_XCLIP_HF, CF_FILE_TORCH, CF_ST_F32);
    cf_weights *a = open_native(x), *b = open_native(y);
    assert_same_weights(a, b); /* float32 is what it was */
    cf_weights_close(a);
    cf_weights_close(b);
    cf_free(x);
    cf_free(y);
}

static void logits_are_the_same_bits(void **state)
{
    (void)state;
    cf_real want[2][3], got[3];
    for (size_t l = 0; l < N_LAYOUTS; l++) {
        cf_load_counts counts;
        char *path = export_as("out", all_layouts[l], l % 2 ? CF_FILE_TORCH : CF_FILE_SAFETENSORS,
                               CF_ST_F32);
        cf_weights *clip, *w = open_whole(path, &clip);
        cf_xclip *m = small_model(&small_sizes, 3); /* X-CLIP's own parts of a CLIP */
        assert_ok(cf_xclip_load(&counts, m, w, true));
        small_logits(got, m);
        bool whole = is_whole(all_layouts[l]), first = l == 0 || all_layouts[l] == CF_LAYOUT_CLIP;
        assert_true((counts.fresh == 0) == whole);
        if (first) memcpy(want[whole], got, sizeof got);
        assert_memory_equal(want[whole], got, sizeof got);
        assert_true(isfinite(got[0]) && got[0] != got[1]);
        cf_xclip_free(m);
        cf_weights_close(w);
        cf_weights_close(clip);
        cf_free(path);
    }
    assert_memory_not_equal(want[0], want[1], sizeof got);
}

/* ---- the table ------------------------------------------------------------------------------- */

static size_t foreign_tensors(const cf_params *p, cf_layout layout)
{
    static cf_layout_rule rule[CF_LAYOUT_MAX_RULES];
    size_t n_rules = cf_layout_rules(rule, layout), n = 0;
    cf_pattern_fill fill;
    for (size_t i = 0; i < cf_params_count(p); i++) {
        size_t found = 0;
        const char *name = cf_params_get(p, i)->tensor.name;
        for (size_t k = 0; k < n_rules; k++) {
            if (rule[k].only_read || !cf_pattern_match(&fill, rule[k].native, name)) continue;
            found++;
            n += rule[k].kind == CF_RULE_QKV ? 3 : 1;
        }
        if (found > 1 || (found == 0 && is_whole(layout))) fail_msg("%s: %zu rules", name, found);
    }
    return n;
}

/* The counts that spec/weight-names.md 5 gives; nothing of that size is allocated. */
static void published_counts(void **state)
{
    (void)state;
    static const struct {
        const char *arch;
        size_t clip, clip_hf, xclip, xclip_hf, numbers;
    } want[] = {
        { "ViT-B/32", 302, 398, 443, 591, 196585729 },
        { "ViT-B/16", 302, 398, 443, 591, 194929153 },
        { "ViT-L/14", 446, 590, 683, 927, 575673601 },
        { "ViT-L/14@336px", 446, 590, 683, 927, 576001281 },
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        cf_xclip_config c;
        cf_xclip *m;
        assert_ok(cf_xclip_config_named(&c, want[i].arch));
        size_t before = cf_memory_stats_get().bytes_now;
        assert_ok(cf_xclip_declare(&m, &c));
        assert_true(cf_memory_stats_get().bytes_now - before < 1 << 20);
        const cf_params *p = cf_xclip_params(m);
        assert_int_equal(foreign_tensors(p, CF_LAYOUT_CLIP), want[i].clip);
        assert_int_equal(foreign_tensors(p, CF_LAYOUT_CLIP_HF), want[i].clip_hf);
        assert_int_equal(foreign_tensors(p, CF_LAYOUT_XCLIP), want[i].xclip);
        assert_int_equal(foreign_tensors(p, CF_LAYOUT_XCLIP_HF), want[i].xclip_hf);
        assert_int_equal(foreign_tensors(p, CF_LAYOUT_VIFI), want[i].clip - 1);
        assert_int_equal(cf_params_numbers(p, false), want[i].numbers);
        cf_xclip_free(m);
    }
}

static void names_match_as_a_whole(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool fits;
    } cases[] = {
        { "a.#.b.@", "a.12.b.weight", true },
        { "a.#.b.@", "a.012.b.weight", false },
        { "a.#.b.@", "a.0.b.bias", true },
        { "a.#.b.@", "a..b.bias", false },
        { "a.#.b.@", "xa.0.b.bias", false },
        { "a.#.b.@", "a.0.b.biased", false },
        { "a.#.b.@", "a.0.b.", false },
        { "a.#.b.@", "a.1234567.b.bias", false },
        { "a.?_proj", "a.v_proj", true },
        { "a.?_proj", "a.o_proj", false },
        { "a.?", "a.", false },
        { "", "", true },
    };
    cf_pattern_fill fill;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (cf_pattern_match(&fill, cases[i].pattern, cases[i].name) != cases[i].fits)
            fail_msg("%s, %s", cases[i].pattern, cases[i].name);
}

/* ---- files of others ------------------------------------------------------------------------- */

/* Copies a safetensors file, its tensors edited; an editor returns false to leave one out. */
typedef bool editor(cf_st_tensor *t);
static char *edited(const char *from, editor *edit, const cf_st_tensor *more, size_t n_more)
{
    cf_st_file *f;
    static cf_st_tensor tensors[700];
    size_t n = 0;
    char *to = test_path(folder, "edited.safetensors");
    assert_ok(cf_st_open(&f, from));
    for (size_t i = 0; i < cf_st_n_tensors(f); i++) {
        tensors[n] = *cf_st_tensor_at(f, i);
        if (!edit || edit(&tensors[n])) n++;
    }
    for (size_t i = 0; i < n_more; i++) tensors[n++] = more[i];
    assert_ok(cf_st_write(to, tensors, n, NULL, 0));
    cf_st_close(f);
    return to;
}

static cf_status load_file(const char *path)
{
    cf_weights *w;
    cf_load_counts counts;
    cf_xclip *m = small_model(&small_sizes, 3);
    cf_status status = cf_weights_open_model(&w, path);
    if (status == CF_OK) {
        status = cf_xclip_load(&counts, m, w, true);
        cf_weights_close(w);
    }
    cf_xclip_free(m);
    return status;
}

static void load_edited(const char *from, editor *edit, const char *complaint)
{
    char *path = edited(from, edit, NULL, 0);
    if (complaint)
        assert_fails(load_file(path), CF_EFORMAT, complaint);
    else
        assert_ok(load_file(path));
    cf_free(path);
}

static bool open_clip_prefix(cf_st_tensor *t)
{
    static char names[700][160];
    static size_t n;
    if (strncmp(t->name, "visual.", 7) == 0 || strcmp(t->name, "logit_scale") == 0) return true;
    snprintf(names[n % 700], sizeof names[0], "text.%s", t->name);
    t->name = names[n++ % 700];
    return true;
}
static bool right_spelling(cf_st_tensor *t)
{
    if (strcmp(t->name, "vision_model.pre_layrnorm.weight") == 0)
        t->name = "vision_model.pre_layernorm.weight";
    if (strcmp(t->name, "vision_model.pre_layrnorm.bias") == 0)
        t->name = "vision_model.pre_layernorm.bias";
    return true;
}
static bool scale_vector(cf_st_tensor *t)
{
    if (strcmp(t->name, "logit_scale") == 0) t->rank = 1, t->shape[0] = 1;
    return true;
}

static void spellings_are_understood(void **state)
{
    (void)state;
    static const int64_t ids[12];
    static const float prompt[4];
    const cf_st_tensor index[] = { { .name = "text_model.embeddings.position_ids",
                                     .dtype = CF_ST_I64,
                                     .rank = 2,
                                     .shape = { 1, 12 },
                                     .data = ids },
                                   { .name = "vision_model.embeddings.position_ids",
                                     .dtype = CF_ST_I64,
                                     .rank = 1,
                                     .shape = { 10 },
                                     .data = ids } };
    const cf_st_tensor sizes[] = { { .name = "input_resolution", .dtype = CF_ST_I64, .data = ids },
                                   { .name = "vocab_size", .dtype = CF_ST_I64, .data = ids } };
    const cf_st_tensor learner = {
        .name = "prompt_learner.token_prefix", .rank = 1, .shape = { 4 }, .data = prompt
    };
    char *clip = test_path(folder, "c.safetensors");
    char *hf = export_as("hf", CF_LAYOUT_CLIP_HF, CF_FILE_SAFETENSORS, CF_ST_F32);
    char *xhf = export_as("xhf", CF_LAYOUT_XCLIP_HF, CF_FILE_SAFETENSORS, CF_ST_F32);
    load_edited(clip, open_clip_prefix, NULL);
    assert_non_null(strstr(last_log, "exact GELU"));
    load_edited(hf, right_spelling, NULL);
    load_edited(hf, scale_vector, NULL);
    load_edited(xhf, scale_vector, NULL);
    n_logs = 0;
    cf_free(edited(xhf, NULL, index, 2));
    char *path = test_path(folder, "edited.safetensors");
    assert_ok(load_file(path));
    cf_free(edited(clip, NULL, sizes, 2));
    assert_ok(load_file(path));
    assert_int_equal(n_logs, 0); /* nothing to be warned of: X-CLIP; OpenAI's own archive */
    char *vifi = export_as("vifi", CF_LAYOUT_VIFI, CF_FILE_SAFETENSORS, CF_ST_F32);
    cf_free(edited(vifi, NULL, &learner, 1));
    cf_weights *w = open_native(path);
    assert_null(cf_weights_find(w, learner.name));
    cf_weights_close(w);
    assert_fails(load_file(path), CF_EFORMAT, "--clip CLIP");
    cf_free(path);
    cf_free(clip);
    cf_free(hf);
    cf_free(xhf);
    cf_free(vifi);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static bool no_key(cf_st_tensor *t)
{
    return strcmp(t->name, "vision_model.encoder.layers.1.self_attn.k_proj.weight") != 0;
}
static bool odd_key(cf_st_tensor *t)
{
    if (strcmp(t->name, "mit.encoder.layers.0.self_attn.k_proj.weight") == 0)
        t->shape[0] *= 2, t->shape[1] /= 2;
    return true;
}
static bool no_final(cf_st_tensor *t)
{
    return strcmp(t->name, "text_model.final_layer_norm.bias") != 0;
}
static bool flat_projection(cf_st_tensor *t)
{
    if (strcmp(t->name, "visual_projection.weight") == 0) t->shape[0] /= 2, t->shape[1] *= 2;
    return true;
}
static bool no_projection(cf_st_tensor *t)
{
    return strcmp(t->name, "text_projection.weight") != 0;
}

static void refusals_name_everything(void **state)
{
    (void)state;
    char *xhf = export_as("xhf", CF_LAYOUT_XCLIP_HF, CF_FILE_SAFETENSORS, CF_ST_F32);
    load_edited(xhf, no_key,
                "missing: vision_model.encoder.layers.1.self_attn.{q,k,v}_proj.weight; unexpected: "
                "vision_model.encoder.layers.1.self_attn.q_proj.weight [128, 128], "
                "vision_model.encoder.layers.1.self_attn.v_proj.weight [128, 128]");
    load_edited(xhf, odd_key, "mit.encoder.layers.0.self_attn.k_proj.weight [384, 96]");
    load_edited(xhf, no_final, "missing: text_model.final_layer_norm.bias");
    load_edited(xhf, flat_projection, "visual.proj is [256, 96], the model's [128, 192]");
    load_edited(xhf, no_projection, "missing: text_projection.weight");
    cf_free(xhf);
}

static void others_are_refused(void **state)
{
    (void)state;
    static const float x[4];
    char *path = test_path(folder, "other.safetensors");
    cf_st_tensor t[12];
    char names[12][16];
    cf_weights *w;
    t[0] = (cf_st_tensor){
        .name = "visual.layer1.0.conv1.weight", .rank = 1, .shape = { 4 }, .data = x
    };
    assert_ok(cf_st_write(path, t, 1, NULL, 0));
    assert_fails(cf_weights_open_model(&w, path), CF_EUNSUPPORTED, "ResNet");
    t[0].name = "visual.attnpool.positional_embedding";
    assert_ok(cf_st_write(path, t, 1, NULL, 0));
    assert_fails(cf_weights_open_model(&w, path), CF_EUNSUPPORTED, "ViT-B/16");
    for (size_t i = 0; i < 12; i++) {
        snprintf(names[i], sizeof names[i], "layer.%zu", i);
        t[i] = (cf_st_tensor){ .name = names[i], .rank = 1, .shape = { 4 }, .data = x };
    }
    assert_ok(cf_st_write(path, t, 12, NULL, 0));
    assert_fails(cf_weights_open_model(&w, path), CF_EFORMAT, "12 tensors start with layer.0, ");
    assert_non_null(strstr(cf_error(), "layer.9"));
    assert_null(strstr(cf_error(), "layer.10"));
    /* A name twice, once by each spelling. */
    t[0].name = "visual.conv1.weight";
    t[1].name = "visual.class_embedding";
    t[2].name = "positional_embedding";
    t[3].name = "text.positional_embedding";
    assert_ok(cf_st_write(path, t, 4, NULL, 0));
    assert_fails(cf_weights_open_model(&w, path), CF_EFORMAT,
                 "positional_embedding is there twice");
    cf_free(path);
}

/* ---- config.json ----------------------------------------------------------------------------- */

static void write_config(const char *text)
{
    char *path = test_path(folder, "config.json");
    assert_ok(cf_file_write(path, text, strlen(text)));
    cf_free(path);
}

static void config_is_held_against_the_shapes(void **state)
{
    (void)state;
    char *xhf = export_as("xhf", CF_LAYOUT_XCLIP_HF, CF_FILE_SAFETENSORS, CF_ST_F32);
    char *hf = export_as("hf", CF_LAYOUT_CLIP_HF, CF_FILE_SAFETENSORS, CF_ST_F32);
    write_config(
        "{\"vision_config\": {\"mit_num_attention_heads\": 3, \"num_frames\": 3}, "
        "\"prompt_num_attention_heads\": 3, \"text_config\": {\"hidden_act\": \"quick_gelu\"}}");
    assert_ok(load_file(xhf));
    assert_ok(load_file(hf));
    assert_int_equal(n_logs, 0);
    write_config("{\"vision_config\": {\"mit_num_attention_heads\": 8}}"); /* prompts: 8 too */
    assert_ok(load_file(xhf));
    assert_int_equal(n_logs, 1);
    assert_non_null(
        strstr(last_log, "8 heads in MIT and 8 in the prompts' attention: computed with 3"));
    write_config("{\"vision_config\": {\"mit_num_attention_heads\": 3, \"num_frames\": 8, "
                 "\"patch_size\": 16}, \"prompt_num_attention_heads\": 3}");
    assert_ok(load_file(xhf));
    assert_int_equal(n_logs, 2);
    assert_non_null(
        strstr(last_log, "vision_config.patch_size 16 (8), vision_config.num_frames 8 (3)"));
    write_config("{\"text_config\": {\"hidden_act\": \"gelu\"}}");
    assert_fails(load_file(hf), CF_EUNSUPPORTED, "text_config.hidden_act is gelu");
    write_config("[1]");
    assert_fails(load_file(hf), CF_EFORMAT, "is no JSON object");
    cf_free(xhf);
    cf_free(hf);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void without_memory_nothing_leaks(void **state)
{
    (void)state;
    char *xhf = export_as("xhf", CF_LAYOUT_XCLIP_HF, CF_FILE_SAFETENSORS, CF_ST_F32);
    size_t before = cf_memory_stats_get().bytes_now, n = 0;
    for (cf_status status = CF_ENOMEM; status != CF_OK; n += 7) {
        cf_weights *w = NULL;
        cf_memory_fail_at(n + 1);
        status = cf_weights_open_model(&w, xhf);
        cf_memory_fail_at(0);
        if (status == CF_OK) cf_weights_close(w);
        assert_true(status == CF_OK || status == CF_ENOMEM);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
    }
    assert_true(n > 200);
    cf_free(xhf);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
TESTS(IN_FOLDER(every_layout_comes_back), IN_FOLDER(logits_are_the_same_bits),
      TEST(published_counts), TEST(names_match_as_a_whole), IN_FOLDER(spellings_are_understood),
      IN_FOLDER(refusals_name_everything), IN_FOLDER(others_are_refused),
      IN_FOLDER(config_is_held_against_the_shapes), IN_FOLDER(without_memory_nothing_leaks))
