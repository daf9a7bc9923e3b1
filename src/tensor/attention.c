/* Attention without stored scores (the recomputation of Dao et al. 2022, arXiv:2205.14135, for
 * sequences whose keys fit in cache): forward keeps only log-sum-exp per row; backward recomputes
 * the probabilities. One job = one head of one sequence, on one thread (attention_kernel.h): keys
 * and values are copied into the thread's scratch (the extra key and value as their last row), then
 * blocks of queries pass by. */
#include "tensor/attention_job.h"

#include <omp.h>

/* ---- memory ---------------------------------------------------------------------------------- */

/* Elements of one thread's memory; m (NULL: only counted) is pointed into it. */
static size_t layout(cf_attention_memory *m, cf_real *at, const cf_attention_args *a, bool backward)
{
    cf_attention_memory none;
    if (!m) m = &none;
    size_t keys = cf_attention_keys(a), hp = cf_attention_width(a), used = 0;
    size_t w = a->sq < CF_ATTENTION_BLOCK ? (a->sq + 15) / 16 * 16 : CF_ATTENTION_BLOCK;
    cf_real **part[] = { &m->k,   &m->v,  &m->q,   &m->qt, &m->s,  &m->y,
                         &m->row, &m->dy, &m->dyt, &m->dp, &m->dk, &m->dv };
    const size_t size[] = {
        keys * hp, keys * hp, w * hp,   w * hp,    keys * w, w * hp, 2 * CF_ATTENTION_BLOCK,
        w * hp,    w * hp,    keys * w, keys * hp, keys * hp
    };
    for (int i = 0; i < (backward ? 12 : 7); i++) {
        *part[i] = at ? at + used : NULL;
        used += (size[i] + 15) / 16 * 16;
    }
    return used;
}

/* Queries shared by all groups: each thread sums its part of dq on its own, added up in thread
 * order. */
static size_t shared_dq_size(const cf_attention_args *a)
{
    return a->q_group == 0 && a->groups > 1 ? a->sq * a->heads * a->hw : 0;
}

size_t cf_attention_scratch(const cf_attention_args *a, bool backward)
{
    size_t each = layout(NULL, NULL, a, backward) + (backward ? shared_dq_size(a) : 0);
    return (size_t)omp_get_max_threads() * ((each + 15) / 16 * 16);
}

/* ---- all jobs -------------------------------------------------------------------------------- */

const cf_attention_job *cf_attention_job_of(int level)
{
#if CF_ATTENTION_LEVELS
    if (level == 4) return CF_CPU_IS_V4 ? &cf_attention_job_v4 : NULL;
    if (level == 3) return CF_CPU_IS_V3 ? &cf_attention_job_v3 : NULL;
#endif
    return level == 0 ? &cf_attention_job_any : NULL;
}

static const cf_attention_job *best_job(void)
{
    const cf_attention_job *job = cf_attention_job_of(4);
    if (!job) job = cf_attention_job_of(3);
    return job ? job : cf_attention_job_of(0);
}

void cf_attention_forward_by(const cf_attention_job *job, const cf_attention_args *a,
                             cf_real *scratch)
{
    size_t jobs = a->groups * a->heads, each = layout(NULL, NULL, a, false);
#pragma omp parallel
    {
        cf_attention_memory m;
        layout(&m, scratch + (size_t)omp_get_thread_num() * each, a, false);
#pragma omp for schedule(static)
        for (size_t i = 0; i < jobs; i++) job->forward(a, i / a->heads, i % a->heads, &m);
    }
}

void cf_attention_forward(const cf_attention_args *a, cf_real *scratch)
{
    cf_attention_forward_by(best_job(), a, scratch);
}

void cf_attention_backward_by(const cf_attention_job *job, const cf_attention_args *a,
                              const cf_attention_grads *grads, cf_real *scratch)
{
    size_t jobs = a->groups * a->heads, shared = shared_dq_size(a);
    size_t each = layout(NULL, NULL, a, true);
    CF_ASSERT(!shared || a->q_row == a->heads * a->hw);
    int n_threads = omp_get_max_threads();
    cf_real *partial = scratch + (size_t)n_threads * each; /* [threads, sq, heads * hw] */
    cf_attention_grads part = *grads;
    if (shared && grads->dq) {
        part.dq_fresh = false; /* a part is of several groups */
        memset(partial, 0, (size_t)n_threads * shared * sizeof *partial);
        if (grads->dq_fresh) memset(grads->dq, 0, shared * sizeof *partial);
    }
#pragma omp parallel num_threads(n_threads)
    {
        size_t t = (size_t)omp_get_thread_num();
        cf_attention_memory m;
        layout(&m, scratch + t * each, a, true);
#pragma omp for schedule(static)
        for (size_t i = 0; i < jobs; i++) {
            size_t group = i / a->heads, head = i % a->heads;
            cf_real *dq = NULL;
            if (grads->dq && shared) dq = partial + t * shared + head * a->hw;
            if (grads->dq && !shared) dq = grads->dq + group * a->q_group + head * a->hw;
            job->backward(a, &part, group, head, &m, dq);
        }
    }
    if (!shared || !grads->dq) return;
    for (int t = 0; t < n_threads; t++) cf_vec_add(grads->dq, partial + (size_t)t * shared, shared);
}

void cf_attention_backward(const cf_attention_args *a, const cf_attention_grads *g,
                           cf_real *scratch)
{
    cf_attention_backward_by(best_job(), a, g, scratch);
}
