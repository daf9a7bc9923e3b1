/* The bank of pictures of the motion dataset, sorted by kind: Fashion-MNIST's files, or own shapes.
 *
 * The shapes stand in where the files are missing: ten silhouettes without rotational symmetry (a
 * turn must show), as polygons and ellipses on a 28 x 28 grid, each copy stretched, slanted and
 * shaded at random. Points are in units of the half edge, y down. */
#include "motion_parts.h"

#include <math.h>
#include <string.h>

enum { MAX_POINTS = 12, MAX_PARTS = 4 };

static cf_status bank_sort(motion_bank *b, const char *what)
{
    size_t count[CF_MOTION_KINDS] = { 0 };
    for (size_t i = 0; i < b->pictures.n; i++) {
        if (b->pictures.labels[i] >= CF_MOTION_KINDS)
            return CF_FAIL(CF_EFORMAT, "%s: label %u of picture %zu, kinds are 0 to %d", what,
                           b->pictures.labels[i], i, CF_MOTION_KINDS - 1);
        count[b->pictures.labels[i]]++;
    }
    b->start[0] = 0;
    for (size_t k = 0; k < CF_MOTION_KINDS; k++) {
        if (count[k] == 0) return CF_FAIL(CF_EFORMAT, "%s: no picture of kind %zu", what, k);
        b->start[k + 1] = b->start[k] + count[k];
    }
    CF_TRY(cf_alloc(&b->order, b->pictures.n, sizeof *b->order));
    size_t next[CF_MOTION_KINDS];
    memcpy(next, b->start, sizeof next);
    for (size_t i = 0; i < b->pictures.n; i++)
        b->order[next[b->pictures.labels[i]]++] = (uint32_t)i;
    return CF_OK;
}

cf_status motion_bank_read(motion_bank *out, const char *folder, const char *prefix)
{
    char *images = NULL, *labels = NULL;
    motion_bank b = { 0 };
    cf_status status = CF_OK;
    CF_GO(cf_format(&images, "%s/%s-images-idx3-ubyte.gz", folder, prefix));
    CF_GO(cf_format(&labels, "%s/%s-labels-idx1-ubyte.gz", folder, prefix));
    CF_GO(cf_idx_read(&b.pictures, images, labels));
    if (b.pictures.height != MOTION_EDGE || b.pictures.width != MOTION_EDGE) {
        status = CF_FAIL(CF_EFORMAT, "%s: pictures of %zu x %zu, not %d x %d", images,
                         b.pictures.height, b.pictures.width, MOTION_EDGE, MOTION_EDGE);
        goto done;
    }
    CF_GO(bank_sort(&b, labels));
    *out = b;
    b = (motion_bank){ 0 };
done:
    motion_bank_fini(&b);
    cf_free(images);
    cf_free(labels);
    return status;
}

void motion_bank_fini(motion_bank *b)
{
    cf_idx_fini(&b->pictures);
    cf_free(b->order);
    *b = (motion_bank){ 0 };
}

/* A polygon (even-odd), or an ellipse: centre and radii in point[0], point[1]. A hole takes
 * away. */
typedef struct {
    int n_points; /* 0 = ellipse */
    bool hole;
    float point[MAX_POINTS][2];
} shape_part;

static const shape_part shapes[CF_MOTION_KINDS][MAX_PARTS] = {
    /* arrow */
    { { 7,
        false,
        { { -.9f, -.25f },
          { .1f, -.25f },
          { .1f, -.7f },
          { .9f, 0 },
          { .1f, .7f },
          { .1f, .25f },
          { -.9f, .25f } } } },
    /* crescent */
    { { 0, false, { { 0, 0 }, { .85f, .85f } } }, { 0, true, { { .4f, -.1f }, { .7f, .7f } } } },
    /* heart */
    { { 0, false, { { -.4f, -.35f }, { .45f, .45f } } },
      { 0, false, { { .4f, -.35f }, { .45f, .45f } } },
      { 3, false, { { -.83f, -.2f }, { .83f, -.2f }, { 0, .9f } } } },
    /* house */
    { { 3, false, { { -.95f, -.1f }, { 0, -.9f }, { .95f, -.1f } } },
      { 4, false, { { -.65f, -.1f }, { .65f, -.1f }, { .65f, .85f }, { -.65f, .85f } } },
      { 4, true, { { .05f, .25f }, { .4f, .25f }, { .4f, .85f }, { .05f, .85f } } } },
    /* key */
    { { 0, false, { { -.5f, 0 }, { .42f, .42f } } },
      { 0, true, { { -.55f, 0 }, { .18f, .18f } } },
      { 8,
        false,
        { { -.2f, -.13f },
          { .95f, -.13f },
          { .95f, .5f },
          { .75f, .5f },
          { .75f, .13f },
          { .5f, .13f },
          { .5f, .4f },
          { -.2f, .13f } } } },
    /* mug */
    { { 4, false, { { -.75f, -.7f }, { .35f, -.7f }, { .3f, .8f }, { -.7f, .8f } } },
      { 0, false, { { .4f, .05f }, { .5f, .5f } } },
      { 0, true, { { .4f, .05f }, { .28f, .28f } } },
      { 4, false, { { -.75f, -.7f }, { .25f, -.7f }, { .2f, .8f }, { -.7f, .8f } } } },
    /* fish */
    { { 0, false, { { -.2f, 0 }, { .7f, .42f } } },
      { 3, false, { { .3f, 0 }, { .95f, -.55f }, { .95f, .55f } } },
      { 0, true, { { -.6f, -.1f }, { .1f, .1f } } } },
    /* tree */
    { { 3, false, { { 0, -.95f }, { .6f, -.1f }, { -.6f, -.1f } } },
      { 3, false, { { 0, -.5f }, { .8f, .5f }, { -.8f, .5f } } },
      { 4, false, { { -.15f, .5f }, { .15f, .5f }, { .15f, .95f }, { -.15f, .95f } } } },
    /* bolt */
    { { 6,
        false,
        { { .35f, -.95f },
          { -.55f, .15f },
          { -.05f, .15f },
          { -.35f, .95f },
          { .6f, -.2f },
          { .1f, -.2f } } } },
    /* flag */
    { { 4, false, { { -.75f, -.95f }, { -.5f, -.95f }, { -.5f, .95f }, { -.75f, .95f } } },
      { 4, false, { { -.5f, -.85f }, { .85f, -.6f }, { .55f, -.2f }, { -.5f, .1f } } } },
};

static bool part_holds(const shape_part *p, float x, float y)
{
    if (p->n_points == 0) {
        float u = (x - p->point[0][0]) / p->point[1][0], v = (y - p->point[0][1]) / p->point[1][1];
        return u * u + v * v <= 1;
    }
    bool inside = false;
    for (int i = 0, j = p->n_points - 1; i < p->n_points; j = i++) {
        const float *a = p->point[i], *b = p->point[j];
        if ((a[1] > y) != (b[1] > y) && x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0])
            inside = !inside;
    }
    return inside;
}

static bool shape_holds(size_t kind, float x, float y)
{
    bool inside = false;
    for (int i = 0; i < MAX_PARTS; i++) {
        const shape_part *p = &shapes[kind][i];
        if (p->n_points == 0 && p->point[1][0] == 0) break;
        if (part_holds(p, x, y)) inside = !p->hole;
    }
    return inside;
}

void motion_shape(uint8_t out[MOTION_EDGE * MOTION_EDGE], size_t kind, cf_rng *r)
{
    float wide = (float)motion_uniform(r, 0.95, 1.3), high = (float)motion_uniform(r, 0.95, 1.3);
    float slant = (float)motion_uniform(r, -0.2, 0.2), base = (float)motion_uniform(r, 120, 220);
    float shade_x = (float)motion_uniform(r, -40, 40), shade_y = (float)motion_uniform(r, -40, 40);
    for (int y = 0; y < MOTION_EDGE; y++)
        for (int x = 0; x < MOTION_EDGE; x++) {
            int hits = 0;
            float u = 0, v = 0;
            for (int k = 0; k < 16; k++) {
                v = ((float)y + 0.125f + 0.25f * (float)(k / 4)) / (MOTION_EDGE / 2.0f) - 1;
                u = ((float)x + 0.125f + 0.25f * (float)(k % 4)) / (MOTION_EDGE / 2.0f) - 1;
                hits += shape_holds(kind, (u + slant * v) * wide, v * high);
            }
            float g = (base + shade_x * u + shade_y * v) * (float)hits / 16.0f;
            out[y * MOTION_EDGE + x] = (uint8_t)fminf(fmaxf(g, 0), 255);
        }
}

cf_status motion_bank_draw(motion_bank *out, uint64_t seed, size_t per_kind)
{
    motion_bank b = { 0 };
    cf_status status = CF_OK;
    b.pictures.n = per_kind * CF_MOTION_KINDS;
    b.pictures.height = b.pictures.width = MOTION_EDGE;
    CF_GO(cf_alloc(&b.pictures.pixels, b.pictures.n, MOTION_EDGE * MOTION_EDGE));
    CF_GO(cf_alloc(&b.pictures.labels, b.pictures.n, 1));
#pragma omp parallel for
    for (size_t i = 0; i < b.pictures.n; i++) {
        cf_rng r = cf_rng_make(seed, CF_RNG_MOTION, UINT32_MAX - 1, i);
        b.pictures.labels[i] = (uint8_t)(i % CF_MOTION_KINDS);
        motion_shape(b.pictures.pixels + i * MOTION_EDGE * MOTION_EDGE, i % CF_MOTION_KINDS, &r);
    }
    CF_GO(bank_sort(&b, "own shapes"));
    *out = b;
    b = (motion_bank){ 0 };
done:
    motion_bank_fini(&b);
    return status;
}
