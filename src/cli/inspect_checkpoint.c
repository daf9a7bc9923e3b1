/* inspect, weights: container, layout, architecture, parts, types, metadata, each tensor.
 *
 * Sizes and parts are told of the native names, the list of tensors is the file's own. A file that
 * is no model, or not a whole one, is shown all the same, with what is wrong. */
#include "inspect.h"

#include "crossframe/models.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef enum { TEXT, VISUAL, MESSAGE, PLACES, MIT, PROMPTS, HEAD, OTHER, OPTIMIZER, N_PARTS } part;
static const char *const inspect_parts[] = {
    "text",    "visual", "message", "temporal embedding", "mit",
    "prompts", "head",   "other",   "optimiser state"
};

static bool starts(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static part part_of(const char *name)
{
    static const char *const text[] = { "token_embedding.", "positional_embedding", "transformer.",
                                        "ln_final.",        "text_projection",      "logit_scale" };
    if (starts(name, "optimizer.")) return OPTIMIZER;
    if (starts(name, "visual.")) {
        if (strstr(name, ".message_")) return MESSAGE;
        return strstr(name, ".temporal_embedding") ? PLACES : VISUAL;
    }
    if (starts(name, "mit.")) return MIT;
    if (starts(name, "head.")) return HEAD;
    if (starts(name, "prompts_")) return PROMPTS;
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        if (starts(name, text[i])) return TEXT;
    }
    return OTHER;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void print_types(const cf_weights *f)
{
    size_t tensors[CF_ST_BOOL + 1] = { 0 }, numbers[CF_ST_BOOL + 1] = { 0 };
    for (size_t i = 0; i < cf_weights_count(f); i++) {
        const cf_weight *t = cf_weights_at(f, i);
        tensors[t->dtype]++;
        numbers[t->dtype] += t->n;
    }
    const char *title = "types";
    for (int k = 0; k <= CF_ST_BOOL; k++) {
        if (tensors[k] == 0) continue;
        printf("%-14s %s in %zu tensors, %zu numbers\n", title, cf_st_dtype_name((cf_st_dtype)k),
               tensors[k], numbers[k]);
        title = "";
    }
}

static void print_parts(const cf_weights *f)
{
    size_t tensors[N_PARTS] = { 0 }, numbers[N_PARTS] = { 0 };
    for (size_t i = 0; i < cf_weights_count(f); i++) {
        const cf_weight *t = cf_weights_at(f, i);
        part p = part_of(t->name);
        tensors[p]++;
        numbers[p] += t->n;
    }
    printf("\n%-18s %8s %14s\n", "part", "tensors", "parameters");
    size_t all_tensors = 0, all_numbers = 0;
    for (int p = 0; p < N_PARTS; p++) {
        if (tensors[p] == 0) continue;
        printf("%-18s %8zu %14zu\n", inspect_parts[p], tensors[p], numbers[p]);
        if (p == OPTIMIZER) continue;
        all_tensors += tensors[p];
        all_numbers += numbers[p];
    }
    printf("%-18s %8zu %14zu\n", "model", all_tensors, all_numbers);
}

static const char *arch_of(const cf_xclip_config *c)
{
    static const char *const names[] = { "ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14@336px" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cf_xclip_config p;
        if (cf_xclip_config_named(&p, names[i]) == CF_OK && p.image == c->image &&
            p.patch == c->patch && p.vision_width == c->vision_width &&
            p.vision_layers == c->vision_layers && p.embed == c->embed &&
            p.text_width == c->text_width && p.text_layers == c->text_layers)
            return names[i];
    }
    return "custom";
}

/* "whole", or what is missing, surplus or misshapen. */
static void print_check(const cf_weights *f, cf_xclip_config c)
{
    cf_xclip *model;
    cf_load_counts counts;
    if (c.frames == 0) c.frames = 1;
    cf_status status = cf_xclip_declare(&model, &c);
    if (status == CF_OK) {
        status = cf_xclip_check(&counts, model, f, false);
        cf_xclip_free(model);
    }
    printf("%-14s %s\n", "complete", status == CF_OK ? "yes" : cf_error());
}

static void print_model(const cf_weights *f)
{
    cf_xclip_config c;
    if (cf_xclip_config_from_file(&c, f) != CF_OK) {
        printf("%-14s %s\n", "architecture", cf_error());
        return;
    }
    printf("%-14s %s\n", "architecture", arch_of(&c));
    printf("%-14s %zu pixels in patches of %zu, %zu blocks of width %zu\n", "image", c.image,
           c.patch, c.vision_layers, c.vision_width);
    if (c.head_classes > 0)
        printf("%-14s none: a fully connected head of %zu classes\n", "text", c.head_classes);
    else
        printf("%-14s %zu tokens of %zu, %zu blocks of width %zu\n", "text", c.context,
               c.vocabulary, c.text_layers, c.text_width);
    printf("%-14s %zu\n", "embedding", c.embed);
    if (c.frames > 0)
        printf("%-14s %zu\n", "frames (T)", c.frames);
    else
        printf("%-14s any: no tensor depends on their number\n", "frames (T)");
    printf("%-14s %s, %zu MIT layers, %zu prompt layers", "video", cf_video_encoder_text(c.video),
           c.mit_layers, c.prompt_layers);
    if (c.prompt_vectors > 0) printf(", %zu prompt vectors", c.prompt_vectors);
    printf("\n");
    print_check(f, c);
}

static cf_status print_summary(const cf_weights *f, cf_weights *native)
{
    double bytes = 0;
    for (size_t i = 0; i < cf_weights_count(f); i++) {
        const cf_weight *t = cf_weights_at(f, i);
        bytes += (double)t->n * (double)cf_st_dtype_bytes(t->dtype);
    }
    printf("%s: checkpoint (%s), %zu tensors, %.1f MB\n\n", cf_weights_path(f),
           cf_weights_container(f), cf_weights_count(f), bytes / 1e6);
    cf_layout layout = cf_weights_layout(f);
    printf("%-14s %s\n", "layout", cf_layout_name(layout));
    if (layout != CF_LAYOUT_UNKNOWN && layout != CF_LAYOUT_RESNET) {
        CF_TRY(cf_weights_to_native(native, NULL));
        print_model(native);
    }
    print_types(f);
    print_parts(native);
    return CF_OK;
}

/* ---- details --------------------------------------------------------------------------------- */

/* `s` cut to fit, without the control characters with which a file could steer a terminal. */
static const char *shown(char out[121], const char *s)
{
    size_t n = strnlen(s, 120);
    for (size_t i = 0; i < n; i++) out[i] = (unsigned char)s[i] < ' ' || s[i] == 0x7f ? '?' : s[i];
    out[n] = 0;
    return out;
}

/* A value of one short line as it is; of anything longer how long it is. */
static void print_metadata(const cf_weights *f)
{
    if (cf_weights_n_metadata(f) > 0) printf("\nmetadata\n");
    for (size_t i = 0; i < cf_weights_n_metadata(f); i++) {
        const char *key, *value;
        cf_weights_metadata_at(&key, &value, f, i);
        size_t n = strlen(value);
        char name[121], text[121];
        if (n <= 100 && !strchr(value, '\n'))
            printf("  %-20s %s\n", shown(name, key), shown(text, value));
        else
            printf("  %-20s %zu bytes (--metadata %s shows them)\n", shown(name, key), n, name);
    }
}

typedef struct {
    double mean, std, least, most;
    size_t odd; /* not finite */
} numbers;

/* Two passes, in double, over what is finite. */
static numbers measure(const cf_real *value, size_t n)
{
    numbers r = { .least = INFINITY, .most = -INFINITY };
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        double v = (double)value[i];
        if (!isfinite(v)) {
            r.odd++;
            continue;
        }
        sum += v;
        r.least = fmin(r.least, v);
        r.most = fmax(r.most, v);
    }
    size_t finite = n - r.odd;
    if (finite == 0) return (numbers){ NAN, NAN, NAN, NAN, r.odd };
    r.mean = sum / (double)finite;
    for (size_t i = 0; i < n; i++) {
        double d = (double)value[i] - r.mean;
        if (isfinite(d)) squares += d * d;
    }
    r.std = sqrt(squares / (double)finite);
    return r;
}

static cf_status print_tensor(const cf_weights *f, const cf_weight *t)
{
    char name[121], shape[200] = "[";
    for (size_t i = 0, at = 1; i < t->rank; i++)
        at += (size_t)snprintf(shape + at, sizeof shape - at, "%s%zu", i > 0 ? ", " : "",
                               t->shape[i]);
    strcat(shape, "]");
    if (t->dtype > CF_ST_F64) {
        printf("%-60s %-4s %s\n", shown(name, t->name), cf_st_dtype_name(t->dtype), shape);
        return CF_OK;
    }
    cf_real *value;
    CF_TRY(cf_alloc(&value, t->n, sizeof *value));
    cf_status status = CF_OK;
    CF_GO(cf_weights_read(value, t->n, f, t));
    numbers r = measure(value, t->n);
    printf("%-60s %-4s %-16s %11.4g %11.4g %11.4g %11.4g %6zu\n", shown(name, t->name),
           cf_st_dtype_name(t->dtype), shape, r.mean, r.std, r.least, r.most, r.odd);
done:
    cf_free(value);
    return status;
}

static cf_status print_value(const cf_weights *f, const char *key)
{
    const char *value = cf_weights_metadata(f, key);
    if (!value) return CF_FAIL(CF_ENOTFOUND, "%s has no metadata %s", cf_weights_path(f), key);
    printf("%s%s", value, *value && value[strlen(value) - 1] == '\n' ? "" : "\n");
    return CF_OK;
}

cf_status inspect_checkpoint(const inspect_request *q)
{
    cf_weights *f = NULL, *native = NULL;
    cf_status status = CF_OK;
    CF_GO(cf_weights_open(&f, q->path));
    if (q->metadata) {
        status = print_value(f, q->metadata);
        goto done;
    }
    CF_GO(cf_weights_open(&native, q->path));
    CF_GO(print_summary(f, native));
    print_metadata(f);
    if (q->tensors)
        printf("\n%-60s %-4s %-16s %11s %11s %11s %11s %6s\n", "tensor", "kind", "shape", "mean",
               "std", "least", "most", "odd");
    for (size_t i = 0; q->tensors && i < cf_weights_count(f); i++)
        CF_GO(print_tensor(f, cf_weights_at(f, i)));
done:
    cf_weights_close(f);
    cf_weights_close(native);
    return status;
}
