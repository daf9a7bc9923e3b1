/* Position embeddings for another number of frames, another size of picture.
 *
 * Three tensors depend on these: mit.positional_embedding [1, T, e] or, with joint attention,
 * visual.temporal_embedding [T, d], and visual.positional_embedding [N + 1, d], whose row 0 is the
 * class token's and is never touched.
 * Both interpolations are those of PyTorch's torch.nn.functional.interpolate without corners
 * aligned and without antialiasing: output i looks at (i + 1/2) from / to - 1/2; linear between two
 * neighbours, cubic between four with the kernel of a = -0.75, places outside taken at the border
 * (linear also clamps the place itself to 0). */
#include "crossframe/models.h"

#include <math.h>
#include <string.h>

static const char mit_name[] = "mit.positional_embedding";
static const char temporal_name[] = "visual.temporal_embedding";
static const char picture_name[] = "visual.positional_embedding";

/* Where an output looks: 4 places and weights (linear: two of them are 0). */
typedef struct {
    size_t at[4];
    double weight[4];
} taps;

static size_t clamped(double at, size_t n)
{
    if (at < 0) return 0;
    return at > (double)(n - 1) ? n - 1 : (size_t)at;
}

static double cubic(double x)
{
    const double a = -0.75;
    x = fabs(x);
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}

static taps taps_of(size_t i, size_t from, size_t to, bool linear)
{
    taps t = { { 0 }, { 0 } };
    double place = ((double)i + 0.5) * (double)from / (double)to - 0.5;
    if (linear && place < 0) place = 0;
    double first = floor(place), rest = place - first;
    for (int k = 0; k < 4; k++) {
        t.at[k] = clamped(first + k - 1, from);
        if (!linear) t.weight[k] = cubic(rest - (k - 1));
    }
    if (linear) t.weight[1] = 1 - rest, t.weight[2] = rest;
    return t;
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void resize_frames(cf_real *out, const cf_real *in, size_t from, size_t to, size_t e,
                          cf_frame_positions by)
{
    for (size_t i = 0; i < to; i++) {
        taps t = taps_of(i, from, to, true);
        const cf_real *a = in + t.at[1] * e, *b = in + t.at[2] * e;
        if (by == CF_FRAMES_CUT) a = b = in + i % from * e;
        for (size_t k = 0; k < e; k++)
            out[i * e + k] =
                by == CF_FRAMES_CUT
                    ? a[k]
                    : (cf_real)(t.weight[1] * (double)a[k] + t.weight[2] * (double)b[k]);
    }
}

/* As a new model's. */
static void start_frames(cf_real *out, const char *name, size_t n, uint64_t seed)
{
    bool mit = strcmp(name, mit_name) == 0;
    cf_param p = { .tensor = { .name = name, .n = n, .data = out },
                   .init = mit ? cf_init_normal(0.02) : cf_init_constant(0) };
    cf_params_init_one(&p, seed);
}

/* [1, T, e] or [T, d], which has one axis less. */
static bool is_along_time(const cf_weight *t)
{
    bool mit = strcmp(t->name, mit_name) == 0;
    return t->n > 0 && (mit ? t->rank == 3 && t->shape[0] == 1 : t->rank == 2);
}

static const cf_weight *find_frames(const cf_weights *w)
{
    const cf_weight *t = cf_weights_find(w, mit_name);
    return t ? t : cf_weights_find(w, temporal_name);
}

size_t cf_weights_frames(const cf_weights *w)
{
    const cf_weight *t = find_frames(w);
    return t && is_along_time(t) ? t->shape[t->rank - 2] : 0;
}

cf_status cf_weights_set_frames(cf_weights *w, size_t T, cf_frame_positions by, uint64_t seed)
{
    const cf_weight *t = find_frames(w);
    cf_real *in = NULL, *out = NULL;
    cf_status status = CF_OK;
    if (!t || cf_weights_frames(w) == T) return CF_OK;
    if (!is_along_time(t) || T == 0)
        return CF_FAIL(CF_EFORMAT, "%s: %s is not [1, T, e] or [T, d], or no frames are wanted",
                       cf_weights_path(w), t->name);
    const char *name = strcmp(t->name, mit_name) == 0 ? mit_name : temporal_name;
    size_t rank = t->rank, from = t->shape[rank - 2], e = t->shape[rank - 1], n;
    const size_t shape[] = { 1, T, e };
    CF_TRY(cf_mul_size(&n, T, e));
    CF_GO(cf_alloc(&in, t->n, sizeof *in));
    CF_GO(cf_alloc(&out, n, sizeof *out));
    CF_GO(cf_weights_read(in, t->n, w, t));
    if (by == CF_FRAMES_NEW)
        start_frames(out, name, n, seed);
    else
        resize_frames(out, in, from, T, e, by);
    status = cf_weights_put(w, name, rank, shape + 3 - rank, out);
    out = NULL;
done:
    cf_free(in);
    cf_free(out);
    return status;
}

/* ---- pictures -------------------------------------------------------------------------------- */

static void resize_grid(cf_real *out, const cf_real *in, size_t from, size_t to, size_t d,
                        bool linear)
{
    for (size_t y = 0; y < to; y++) {
        taps v = taps_of(y, from, to, linear);
        for (size_t x = 0; x < to; x++) {
            taps h = taps_of(x, from, to, linear);
            cf_real *row = out + (y * to + x) * d;
            for (size_t k = 0; k < d; k++) {
                double sum = 0;
                for (int i = 0; i < 4; i++) {
                    const cf_real *line = in + v.at[i] * from * d + k;
                    double inner = 0;
                    for (int j = 0; j < 4; j++) inner += h.weight[j] * (double)line[h.at[j] * d];
                    sum += v.weight[i] * inner;
                }
                row[k] = (cf_real)sum;
            }
        }
    }
}

cf_status cf_weights_set_image(cf_weights *w, size_t image, cf_picture_positions by)
{
    cf_xclip_config c;
    cf_real *in = NULL, *out = NULL;
    cf_status status = CF_OK;
    CF_TRY(cf_xclip_config_from_file(&c, w));
    if (image == c.image) return CF_OK;
    if (image == 0 || image % c.patch != 0)
        return CF_FAIL(CF_EINVAL, "%s: pictures of %zu pixels are not whole patches of %zu",
                       cf_weights_path(w), image, c.patch);
    const cf_weight *t = cf_weights_find(w, picture_name);
    size_t from = c.image / c.patch, to = image / c.patch, d = t->shape[1], n;
    CF_TRY(cf_mul_size(&n, to, to));
    CF_TRY(cf_mul_size(&n, n + 1, d));
    CF_GO(cf_alloc(&in, t->n, sizeof *in));
    CF_GO(cf_alloc(&out, n, sizeof *out));
    CF_GO(cf_weights_read(in, t->n, w, t));
    memcpy(out, in, d * sizeof *out);
    resize_grid(out + d, in + d, from, to, d, by == CF_PICTURES_BILINEAR);
    status = cf_weights_put(w, picture_name, 2, (const size_t[]){ to * to + 1, d }, out);
    out = NULL;
done:
    cf_free(in);
    cf_free(out);
    return status;
}
