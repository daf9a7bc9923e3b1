/* crossframe convert: weights between containers, layouts and types.
 *
 *   convert IN OUT [--naming native|openai|hf] [--dtype f32|f16|bf16] [options]
 *
 * IN is anything that holds a CLIP or X-CLIP, and is refused unless it is whole. What OUT is, its
 * name says: .safetensors, .pth, .pt or .bin; with --naming hf a folder. */
#include "cli.h"

#include "crossframe/models.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    const char *in, *out;
    const char *naming, *dtype, *clip, *frames_by, *image_by, *activation;
    int64_t frames, image, seed;
} call;

typedef struct {
    cf_layout layout;
    cf_weights_format format;
    cf_st_dtype dtype;
    bool folder;
    cf_frame_positions frames_by;
    cf_picture_positions image_by;
} plan;

/* ---- what is asked for ----------------------------------------------------------------------- */

static bool ends_in(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n > m && strcmp(path + n - m, ending) == 0;
}

/* The index of `value` among the words; -1: it is none of them, and that was said. */
static int choose(const char *option, const char *value, const char *const *word, size_t n)
{
    char list[128] = "";
    for (size_t i = 0, at = 0; i < n; i++) {
        if (strcmp(value, word[i]) == 0) return (int)i;
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", word[i]);
    }
    cli_misused("convert", "--%s is one of %s, not %s", option, list, value);
    return -1;
}

static int plan_output(plan *p, const call *c)
{
    static const struct {
        const char *ending;
        cf_weights_format format;
    } formats[] = { { ".safetensors", CF_FILE_SAFETENSORS },
                    { ".pth", CF_FILE_TORCH },
                    { ".pt", CF_FILE_TORCH },
                    { ".bin", CF_FILE_TORCH } };
    bool folder = cf_is_folder(c->out);
    for (size_t i = 0; i < sizeof formats / sizeof *formats && !folder; i++) {
        if (!ends_in(c->out, formats[i].ending)) continue;
        p->format = formats[i].format;
        return 0;
    }
    p->folder = true;
    if (p->layout == CF_LAYOUT_XCLIP_HF) return 0;
    return cli_misused("convert", "%s: OUT ends in .safetensors, .pth, .pt or .bin%s", c->out,
                       folder ? "; a folder is written by --naming hf" : "");
}

/* 0, or the exit status after a complaint. */
static int plan_call(plan *p, const call *c)
{
    static const char *const namings[] = { "native", "openai", "hf" };
    static const char *const types[] = { "f32", "f16", "bf16" };
    static const char *const frames[] = { "interpolate", "cut", "new" };
    static const char *const images[] = { "bicubic", "bilinear" };
    static const char *const activations[] = { "quick_gelu" };
    static const cf_layout layouts[] = { CF_LAYOUT_XCLIP, CF_LAYOUT_CLIP, CF_LAYOUT_XCLIP_HF };
    static const cf_st_dtype dtypes[] = { CF_ST_F32, CF_ST_F16, CF_ST_BF16 };
    int naming = choose("naming", c->naming, namings, 3);
    int type = choose("dtype", c->dtype, types, 3);
    int by = c->frames_by ? choose("frames-by", c->frames_by, frames, 3) : 0;
    int image = c->image_by ? choose("image-by", c->image_by, images, 2) : 0;
    if (naming < 0 || type < 0 || by < 0 || image < 0) return 2;
    if (c->activation && choose("activation", c->activation, activations, 1) < 0) return 2;
    if (!c->frames != !c->frames_by)
        return cli_misused("convert", "--frames N and --frames-by go together");
    if (!c->image != !c->image_by)
        return cli_misused("convert", "--image N and --image-by go together");
    *p = (plan){ .layout = layouts[naming],
                 .dtype = dtypes[type],
                 .frames_by = (cf_frame_positions)(CF_FRAMES_INTERPOLATE + by),
                 .image_by = (cf_picture_positions)(CF_PICTURES_BICUBIC + image) };
    return plan_output(p, c);
}

/* ---- reading --------------------------------------------------------------------------------- */

static cf_status open_input(cf_weights **out, const call *c)
{
    if (!c->activation) return cf_weights_open_model(out, c->in);
    cf_weights *w;
    CF_TRY(cf_weights_open(&w, c->in));
    cf_status status = cf_weights_to_native(w, NULL);
    if (status == CF_OK)
        *out = w;
    else
        cf_weights_close(w);
    return status;
}

static cf_status take_tokens(cf_weights **clip, cf_weights *w, const call *c)
{
    const char *name = "token_embedding.weight";
    if (!c->clip) return CF_OK;
    if (cf_weights_find(w, name))
        return CF_FAIL(CF_EINVAL, "--clip %s: %s has a token embedding of its own", c->clip, c->in);
    CF_TRY(cf_weights_open(clip, c->clip));
    CF_TRY(cf_weights_to_native(*clip, NULL));
    return cf_weights_borrow(w, *clip, name);
}

static cf_status resize(cf_weights *w, const call *c, const plan *p)
{
    if (c->frames && cf_weights_frames(w) == 0)
        return CF_FAIL(CF_EINVAL, "--frames: %s has no positions along time", c->in);
    if (c->frames)
        CF_TRY(cf_weights_set_frames(w, (size_t)c->frames, p->frames_by, (uint64_t)c->seed));
    if (c->image) CF_TRY(cf_weights_set_image(w, (size_t)c->image, p->image_by));
    return CF_OK;
}

/* Whole, or refused with all that is wrong. */
static cf_status check(cf_xclip_config *sizes, cf_load_counts *counts, const cf_weights *w)
{
    cf_xclip *model;
    cf_xclip_config config;
    CF_TRY(cf_xclip_config_from_file(&config, w));
    *sizes = config;
    if (config.frames == 0) config.frames = 1;
    CF_TRY_CTX(cf_xclip_declare(&model, &config), "%s", cf_weights_path(w));
    cf_status status = cf_xclip_check(counts, model, w, false);
    cf_xclip_free(model);
    return status;
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct {
    cf_st_pair *pair;
    size_t n;
} metadata;

static cf_status collect_metadata(metadata *m, const cf_weights *w, const call *c)
{
    size_t n = cf_weights_n_metadata(w);
    CF_TRY(cf_alloc(&m->pair, n + 2, sizeof *m->pair));
    for (size_t i = 0; i < n; i++) {
        cf_st_pair p;
        cf_weights_metadata_at(&p.key, &p.value, w, i);
        bool own = strcmp(p.key, "format") == 0 || strcmp(p.key, "activation") == 0 ||
                   strcmp(p.key, "model") == 0;
        if (!own) m->pair[m->n++] = p;
    }
    bool quick = c->activation || cf_weights_tell_quick_gelu(w);
    if (quick) m->pair[m->n++] = (cf_st_pair){ "activation", "quick_gelu" };
    return CF_OK;
}

static void tell_left_out(const cf_weights *w, const plan *p)
{
    size_t state = 0, own = 0;
    for (size_t i = 0; i < cf_weights_count(w); i++) {
        const char *name = cf_weights_at(w, i)->name;
        if (strncmp(name, "optimizer.", strlen("optimizer.")) == 0)
            state++;
        else if (p->layout == CF_LAYOUT_CLIP && cf_xclip_is_new_module(name))
            own++;
    }
    if (state)
        fprintf(stderr,
                "%zu tensors of the optimiser's state are left out: training goes on only "
                "from %s itself\n",
                state, cf_weights_path(w));
    if (own) fprintf(stderr, "%zu tensors of X-CLIP's own parts are left out\n", own);
}

static cf_status write_output(const cf_weights *w, const call *c, const plan *p,
                              const cf_xclip_config *sizes)
{
    metadata m = { 0 };
    cf_status status = CF_OK;
    if (sizes->head_classes > 0 && p->layout != CF_LAYOUT_XCLIP)
        return CF_FAIL(CF_EUNSUPPORTED,
                       "%s has a fully connected head and no text side: only --naming native knows "
                       "such a model",
                       cf_weights_path(w));
    CF_GO(collect_metadata(&m, w, c));
    cf_export e = { .layout = p->layout,
                    .format = p->format,
                    .dtype = p->dtype,
                    .metadata = m.pair,
                    .n_metadata = m.n };
    bool clip = sizes->video == CF_ENCODER_MEAN && !sizes->mit_layers && !sizes->prompt_layers;
    if (e.layout == CF_LAYOUT_XCLIP_HF && clip && !p->folder) e.layout = CF_LAYOUT_CLIP_HF;
    if (e.layout != CF_LAYOUT_XCLIP && e.layout != CF_LAYOUT_CLIP && !p->folder)
        m.pair[m.n++] = (cf_st_pair){ "format", "pt" };
    e.n_metadata = m.n;
    CF_GO(p->folder ? cf_weights_export_hf(c->out, w, &e) : cf_weights_export(c->out, w, &e));
done:
    cf_free(m.pair);
    return status;
}

static cf_status convert(const call *c, const plan *p)
{
    cf_weights *w = NULL, *clip = NULL;
    cf_xclip_config sizes;
    cf_load_counts counts;
    cf_status status = CF_OK;
    CF_GO(open_input(&w, c));
    CF_GO(take_tokens(&clip, w, c));
    CF_GO(resize(w, c, p));
    CF_GO(check(&sizes, &counts, w));
    tell_left_out(w, p);
    CF_GO(write_output(w, c, p, &sizes));
    printf("%s: %zu tensors, %s in %s -> %s (%s, %s)\n", c->in, counts.loaded,
           cf_layout_name(cf_weights_origin(w)), cf_weights_container(w), c->out, c->naming,
           c->dtype);
done:
    cf_weights_close(w);
    cf_weights_close(clip);
    return status;
}

int cmd_convert(int argc, char **argv)
{
    call c = { .naming = "native", .dtype = "f32", .seed = 1024 };
    const cli_option options[] = {
        { "naming", 0, CLI_TEXT, &c.naming, "NAMING",
          "native (X-CLIP's own, the default), openai (CLIP alone), hf (Hugging Face)", 0, 0 },
        { "dtype", 0, CLI_TEXT, &c.dtype, "TYPE", "f32 (the default), f16 or bf16", 0, 0 },
        { "clip", 0, CLI_TEXT, &c.clip, "FILE", "takes the token embedding from this CLIP", 0, 0 },
        { "frames", 0, CLI_SIZE, &c.frames, "N", "fits the positions along time to N frames", 1,
          1024 },
        { "frames-by", 0, CLI_TEXT, &c.frames_by, "WAY",
          "interpolate (linear), cut (or repeat), or new (start values)", 0, 0 },
        { "image", 0, CLI_SIZE, &c.image, "N", "fits the positions in a picture to N pixels", 1,
          4000 },
        { "image-by", 0, CLI_TEXT, &c.image_by, "WAY", "bicubic or bilinear", 0, 0 },
        { "seed", 0, CLI_SIZE, &c.seed, "N", "of --frames-by new (1024)", 0, 2147483647 },
        { "activation", 0, CLI_TEXT, &c.activation, "NAME",
          "quick_gelu: the weights were trained with it, whatever stands beside them", 0, 0 },
    };
    const cli_command command = {
        .name = "convert",
        .usage = "IN OUT [options]",
        .summary = "converts weights between containers, names and types",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .least = 2,
        .most = 2,
        .notes = "OUT ends in .safetensors, .pth, .pt or .bin; with --naming hf it may be a "
                 "folder, which\nXCLIPModel.from_pretrained reads. .pth is what the official "
                 "program's --resume takes.",
    };
    cli_args args;
    int status;
    plan p;
    if (!cli_parse(&args, &status, &command, argc, argv)) return status;
    c.in = args.positional[0];
    c.out = args.positional[1];
    status = plan_call(&p, &c);
    if (status == 0) status = convert(&c, &p) == CF_OK ? 0 : cli_failed();
    cli_args_free(&args);
    return status;
}
