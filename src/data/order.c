/* Which videos stand in which batch (spec/data-and-recipe.md 5, Q11, Q12).
 *
 * A test takes every video once, in the dataset's order. Training shuffles all videos with a stream
 * of (seed, epoch), deals them into whole batches and drops what is left. When the classes have
 * several families, each family fills batches of its own and the order of the batches is shuffled
 * afterwards, so that the families alternate at random. The number of batches depends on the counts
 * only and is the same in every epoch. Without shuffling, videos keep their order and a batch
 * stands where its last video stood. */
#include "batch.h"

/* A test tells all classes from each other, and a list with class numbers of its own has none of
 * the pack's families. */
static int32_t family_of(const cf_order *o, size_t class_id)
{
    bool own = o->n_classes != cf_dataset_n_classes(o->dataset);
    return o->training && !own ? cf_dataset_class_family(o->dataset, class_id) : 0;
}

/* Numbers the families in ascending order and lists each one's classes. */
static void number_families(cf_order *o, size_t n_classes)
{
    o->n_families = 0;
    o->family_start[0] = 0;
    size_t listed = 0;
    for (size_t k = 0; k < n_classes; k++) o->family[k] = -1;
    while (listed < n_classes) {
        int64_t next = INT64_MAX; /* smallest family not numbered yet */
        for (size_t k = 0; k < n_classes; k++) {
            if (o->family[k] < 0 && family_of(o, k) < next) next = family_of(o, k);
        }
        for (size_t k = 0; k < n_classes; k++) {
            if (o->family[k] >= 0 || family_of(o, k) != next) continue;
            o->family[k] = (int32_t)o->n_families;
            o->column[k] = (int32_t)(listed - o->family_start[o->n_families]);
            o->class_id[listed++] = (int32_t)k;
        }
        o->family_start[++o->n_families] = listed;
    }
}

static cf_status check_labels(const cf_dataset *d, size_t n_classes, bool training)
{
    for (size_t i = 0; i < cf_dataset_size(d); i++) {
        int32_t label = cf_dataset_label(d, i);
        if (label < 0 && training)
            return CF_FAIL(CF_EINVAL, "%s: video %s has no label to train on", cf_dataset_path(d),
                           cf_dataset_name(d, i));
        if (label >= 0 && (size_t)label >= n_classes)
            return CF_FAIL(CF_EINVAL, "%s: video %s has label %d, but there are %zu classes",
                           cf_dataset_path(d), cf_dataset_name(d, i), (int)label, n_classes);
    }
    return CF_OK;
}

static size_t count_batches(const cf_order *o)
{
    if (!o->training) return (o->n_videos + o->batch - 1) / o->batch;
    size_t n = 0;
    for (size_t f = 0; f < o->n_families; f++) o->n_pending[f] = 0;
    for (size_t i = 0; i < o->n_videos; i++) {
        size_t f = (size_t)o->family[cf_dataset_label(o->dataset, i)];
        if (++o->n_pending[f] == o->batch) o->n_pending[f] = 0, n++;
    }
    return n;
}

cf_status cf_order_init(cf_order *o, const cf_dataset *d, size_t batch, size_t n_classes,
                        bool training)
{
    cf_status status = CF_OK;
    size_t n;
    *o = (cf_order){ .batch = batch,
                     .n_videos = cf_dataset_size(d),
                     .n_classes = n_classes,
                     .training = training,
                     .dataset = d };
    CF_TRY(check_labels(d, n_classes, training));
    CF_GO(cf_alloc(&o->family, n_classes, sizeof *o->family));
    CF_GO(cf_alloc(&o->column, n_classes, sizeof *o->column));
    CF_GO(cf_alloc(&o->class_id, n_classes, sizeof *o->class_id));
    CF_GO(cf_alloc(&o->family_start, n_classes + 1, sizeof *o->family_start));
    number_families(o, n_classes);
    CF_GO(cf_alloc(&o->n_pending, o->n_families + 1, sizeof *o->n_pending));
    CF_GO(cf_alloc(&o->position, o->n_videos, sizeof *o->position));
    o->n_batches = count_batches(o);
    if (o->n_batches == 0)
        CF_GO(CF_FAIL(CF_EINVAL, "%s: %zu videos do not fill one batch of %zu%s",
                      cf_dataset_path(d), o->n_videos, batch,
                      o->n_families > 1 ? " of one family of classes" : ""));
    if (!training) goto done;
    CF_GO(cf_mul_size(&n, o->n_families, batch));
    CF_GO(cf_alloc(&o->pending, n, sizeof *o->pending));
    CF_GO(cf_alloc(&o->shuffled, o->n_videos, sizeof *o->shuffled));
    CF_GO(cf_alloc(&o->rank, o->n_batches, sizeof *o->rank));
done:
    if (status != CF_OK) cf_order_fini(o);
    return status;
}

void cf_order_fini(cf_order *o)
{
    cf_free(o->position);
    cf_free(o->family);
    cf_free(o->column);
    cf_free(o->class_id);
    cf_free(o->family_start);
    cf_free(o->shuffled);
    cf_free(o->rank);
    cf_free(o->pending);
    cf_free(o->n_pending);
    *o = (cf_order){ 0 };
}

static void fill_identity(int64_t *values, size_t n)
{
    for (size_t i = 0; i < n; i++) values[i] = (int64_t)i;
}

void cf_order_epoch(cf_order *o, uint64_t seed, uint32_t epoch, bool shuffle)
{
    if (!o->training) {
        fill_identity(o->position, o->n_videos);
        return;
    }
    fill_identity(o->shuffled, o->n_videos);
    fill_identity(o->rank, o->n_batches);
    if (shuffle) {
        cf_rng rng = cf_rng_make(seed, CF_RNG_ORDER, epoch, 0);
        cf_rng_shuffle(&rng, o->shuffled, o->n_videos);
    }
    if (shuffle && o->n_families > 1) {
        cf_rng rng = cf_rng_make(seed, CF_RNG_FAMILY, epoch, 0);
        cf_rng_shuffle(&rng, o->rank, o->n_batches);
    }
    for (size_t f = 0; f < o->n_families; f++) o->n_pending[f] = 0;
    for (size_t i = 0, full = 0; i < o->n_videos; i++) {
        size_t f = (size_t)o->family[cf_dataset_label(o->dataset, (size_t)o->shuffled[i])];
        int64_t *pending = o->pending + f * o->batch;
        pending[o->n_pending[f]++] = o->shuffled[i];
        if (o->n_pending[f] < o->batch) continue;
        int64_t *out = o->position + (size_t)o->rank[full++] * o->batch;
        for (size_t b = 0; b < o->batch; b++) out[b] = pending[b];
        o->n_pending[f] = 0;
    }
}

size_t cf_order_batch(const int64_t **positions, const cf_order *o, size_t k)
{
    CF_ASSERT(k < o->n_batches);
    size_t first = k * o->batch, left = o->n_videos - first;
    *positions = o->position + first;
    return left < o->batch ? left : o->batch;
}

size_t cf_order_classes(const int32_t **class_id, const cf_order *o, int64_t position)
{
    int32_t label = cf_dataset_label(o->dataset, (size_t)position);
    size_t f = label < 0 ? 0 : (size_t)o->family[label];
    *class_id = o->class_id + o->family_start[f];
    return o->family_start[f + 1] - o->family_start[f];
}
