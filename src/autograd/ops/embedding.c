/* Rows of a table.
 *   y[i] = table[index[i]];  dtable[index[i]] += dy[i]
 *   table [rows, w]; index: `count` row numbers, borrowed for the step; y [count, w]
 *   keeps  nothing
 *   errors CF_ESHAPE: table is not [rows, w].  CF_EINVAL: an index outside the table
 * Backward gives each thread a stripe of columns: a row that occurs twice is added to in index
 * order, whatever the number of threads. */
#include "ops_internal.h"

typedef struct {
    const int32_t *index;
    size_t count;
} embedding_param;

static cf_status embedding_infer(cf_node *n)
{
    const embedding_param *p = n->param;
    CF_TRY(cf_need_inputs(n, 1));
    const cf_shape *table = &n->in[0]->shape;
    if (table->rank != 2)
        return CF_FAIL(CF_ESHAPE, "embedding: table is %s, not [rows, w]", CF_SHAPE_TEXT(*table));
    for (size_t i = 0; i < p->count; i++)
        if (p->index[i] < 0 || (size_t)p->index[i] >= table->dim[0])
            return CF_FAIL(CF_EINVAL, "embedding: index %zu is %d, the table has %zu rows", i,
                           (int)p->index[i], table->dim[0]);
    cf_out_shape(n, cf_shape_of(p->count, table->dim[1]));
    return CF_OK;
}

static void embedding_forward(const cf_node *n)
{
    const embedding_param *p = n->param;
    const cf_real *table = n->in[0]->data;
    cf_real *y = n->out->data;
    size_t w = n->out->shape.dim[1];
#pragma omp parallel for schedule(static) if (n->out->n >= CF_PARALLEL_MIN)
    for (size_t i = 0; i < p->count; i++)
        memcpy(y + i * w, table + (size_t)p->index[i] * w, w * sizeof *y);
}

#define STRIPE ((size_t)64)

CF_KERNEL static void scatter_stripe(cf_real *dtable, const cf_real *dy, const int32_t *index,
                                     size_t count, size_t width, size_t w)
{
    for (size_t i = 0; i < count; i++) {
        cf_real *row = dtable + (size_t)index[i] * w;
#pragma omp simd
        for (size_t j = 0; j < width; j++) row[j] += dy[i * w + j];
    }
}

static void embedding_backward(const cf_node *n)
{
    const embedding_param *p = n->param;
    size_t w = n->out->shape.dim[1], stripes = (w + STRIPE - 1) / STRIPE;
    const cf_real *dy = n->out->grad;
    cf_real *dtable = cf_grad(n, 0);
    if (!dtable) return;
#pragma omp parallel for schedule(static) if (n->out->n >= CF_PARALLEL_MIN)
    for (size_t s = 0; s < stripes; s++) {
        size_t at = s * STRIPE;
        scatter_stripe(dtable + at, dy + at, p->index, p->count, w - at < STRIPE ? w - at : STRIPE,
                       w);
    }
}

const cf_op cf_op_embedding = {
    .name = "embedding",
    .family = "other",
    .arity = 1,
    .param_size = sizeof(embedding_param),
    .infer = embedding_infer,
    .forward = embedding_forward,
    .backward = embedding_backward,
};

cf_tensor *cf_embedding(cf_tape *t, cf_tensor *table, const int32_t *index, size_t count)
{
    cf_tensor *const in[] = { table };
    return cf_apply(t, &cf_op_embedding, in, &(embedding_param){ index, count });
}
