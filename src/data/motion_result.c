/* What the scores of the motion test set say: classes, kinds, motions, axes, and the difference
 * between a trajectory and its reverse.
 *
 * Everything is read off the one class with the highest score, so the four percentages belong
 * together. A model that pools frames without order gives both directions the same scores: it then
 * is right on the motion for at most one of the two. */
#include "motion_parts.h"
#include "tokenizer_parts.h"

#include <math.h>
#include <string.h>

static size_t best_class(const float *scores)
{
    size_t best = 0;
    for (size_t k = 1; k < CF_MOTION_CLASSES; k++)
        if (scores[k] > scores[best]) best = k;
    return best;
}

/* Length of a name without "-forward" or "-reverse"; 0 if it has neither. */
static size_t stem_length(const char *name, bool *reverse)
{
    const char *dash = strrchr(name, '-');
    if (dash == NULL || (strcmp(dash, "-forward") != 0 && strcmp(dash, "-reverse") != 0)) return 0;
    *reverse = dash[1] == 'r';
    return (size_t)(dash - name);
}

static double largest_difference(const float *a, const float *b)
{
    double most = 0;
    for (size_t k = 0; k < CF_MOTION_CLASSES; k++)
        most = fmax(most, fabs((double)a[k] - (double)b[k]));
    return most;
}

static cf_status compare_pairs(cf_motion_result *out, const float *scores, const int32_t *label,
                               const char *const *name, size_t n)
{
    byte_map waiting = { 0 }; /* stem -> row of the first of the two, -1 once both were seen */
    cf_status status = CF_OK;
    size_t open = 0;
    for (size_t i = 0; i < n; i++) {
        bool reverse = false, other = false;
        size_t length = stem_length(name[i], &reverse);
        if (length == 0) {
            status =
                CF_FAIL(CF_EINVAL, "scores: \"%s\" ends in neither -forward nor -reverse", name[i]);
            goto done;
        }
        int64_t *known = byte_map_get(&waiting, name[i], length);
        if (known == NULL) {
            CF_GO(byte_map_put(&waiting, name[i], length, (int64_t)i));
            open++;
            continue;
        }
        size_t j = (size_t)*known;
        if (*known >= 0) stem_length(name[j], &other);
        if (*known < 0 || other == reverse || (label[i] ^ 1) != label[j]) {
            status =
                CF_FAIL(CF_EINVAL, "scores: \"%s\" is not the reverse of its partner", name[i]);
            goto done;
        }
        out->pair_difference =
            fmax(out->pair_difference, largest_difference(scores + i * CF_MOTION_CLASSES,
                                                          scores + j * CF_MOTION_CLASSES));
        *known = -1;
        out->pairs++;
        open--;
    }
    if (open > 0)
        status =
            CF_FAIL(CF_EINVAL, "scores: %zu trajectories are there in one direction only", open);
done:
    byte_map_fini(&waiting);
    return status;
}

cf_status cf_motion_result_compute(cf_motion_result *out, const float *scores, const int32_t *label,
                                   const char *const *name, size_t n)
{
    cf_motion_result r = { .videos = n };
    size_t top1 = 0, kind = 0, motion = 0, axis = 0;
    if (n == 0) return CF_FAIL(CF_EINVAL, "scores: no videos");
    for (size_t i = 0; i < n; i++) {
        if (label[i] < 0 || label[i] >= CF_MOTION_CLASSES)
            return CF_FAIL(CF_EINVAL, "scores: label %d of \"%s\" is not one of %d classes",
                           label[i], name[i], CF_MOTION_CLASSES);
        for (size_t k = 0; k < CF_MOTION_CLASSES; k++)
            if (!isfinite(scores[i * CF_MOTION_CLASSES + k]))
                return CF_FAIL(CF_EINVAL, "scores: class %zu of \"%s\" is not finite", k, name[i]);
        size_t guess = best_class(scores + i * CF_MOTION_CLASSES), is = (size_t)label[i];
        size_t guess_motion = guess % CF_MOTION_MOTIONS, is_motion = is % CF_MOTION_MOTIONS;
        top1 += guess == is;
        kind += guess / CF_MOTION_MOTIONS == is / CF_MOTION_MOTIONS;
        motion += guess_motion == is_motion;
        axis += guess_motion / 2 == is_motion / 2;
    }
    CF_TRY(compare_pairs(&r, scores, label, name, n));
    r.top1 = 100.0 * (double)top1 / (double)n;
    r.kind = 100.0 * (double)kind / (double)n;
    r.motion = 100.0 * (double)motion / (double)n;
    r.axis = 100.0 * (double)axis / (double)n;
    *out = r;
    return CF_OK;
}

void motion_scores_fini(motion_scores *s)
{
    cf_free(s->scores);
    cf_free(s->label);
    cf_free(s->name);
    *s = (motion_scores){ 0 };
}

cf_status motion_scores_read(motion_scores *out, const char *path)
{
    motion_scores s = { 0 };
    cf_h5 *f = NULL;
    size_t n_scores = 0, n_names = 0;
    cf_status status = CF_OK;
    CF_GO(cf_h5_open(&f, path));
    CF_GO(cf_h5_read_f32(&s.scores, &n_scores, f, "/scores"));
    CF_GO(cf_h5_read_i32(&s.label, &s.n, f, "/label"));
    CF_GO(cf_h5_read_strings(&s.name, &n_names, f, "/name"));
    if (n_names != s.n || n_scores != s.n * CF_MOTION_CLASSES) {
        status = CF_FAIL(CF_EFORMAT, "%s: %zu scores and %zu names for %zu videos of %d classes",
                         path, n_scores, n_names, s.n, CF_MOTION_CLASSES);
        goto done;
    }
    *out = s;
    s = (motion_scores){ 0 };
done:
    motion_scores_fini(&s);
    cf_h5_close(f);
    return status;
}

size_t motion_scores_best(const motion_scores *s, size_t row)
{
    return best_class(s->scores + row * CF_MOTION_CLASSES);
}
