/* Draws: K videos a class, sets of unseen classes; and names that say nearly the same. */
#include "crossframe/splits.h"

#include <stdlib.h>
#include <string.h>

#include "splits_parts.h"

/* ---- K shots --------------------------------------------------------------------------------- */

static int by_label_and_path(const void *a, const void *b)
{
    const cf_split_video *x = *(const cf_split_video *const *)a;
    const cf_split_video *y = *(const cf_split_video *const *)b;
    if (x->label != y->label) return x->label < y->label ? -1 : 1;
    return strcmp(x->path, y->path);
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Of the n videos of one class, in order. */
static cf_status draw_class(cf_split *out, const cf_split_video *const *video, size_t n, size_t k,
                            uint64_t seed)
{
    int64_t *order = NULL;
    int32_t label = video[0]->label;
    cf_status status = CF_OK;
    if (n < k) return CF_FAIL(CF_EINVAL, "class %d has %zu videos, %zu are wanted", label, n, k);
    CF_TRY(cf_alloc(&order, n, sizeof *order));
    for (size_t i = 0; i < n; i++) order[i] = (int64_t)i;
    cf_rng rng = cf_rng_make(seed, CF_RNG_SHOTS, 0, (uint64_t)label);
    cf_rng_shuffle(&rng, order, n);
    qsort(order, k, sizeof *order, by_number);
    for (size_t i = 0; i < k; i++) CF_GO(split_add(out, video[order[i]]->path, label));
done:
    cf_free(order);
    return status;
}

cf_status cf_split_shots(cf_split *out, const cf_split *train, size_t k, uint64_t seed)
{
    const cf_split_video **sorted;
    cf_status status = CF_OK;
    if (k == 0) return CF_FAIL(CF_EINVAL, "a draw of no videos");
    CF_TRY(cf_alloc(&sorted, train->n, sizeof *sorted));
    for (size_t i = 0; i < train->n; i++) sorted[i] = &train->video[i];
    qsort(sorted, train->n, sizeof *sorted, by_label_and_path);
    for (size_t from = 0, to; from < train->n; from = to) {
        for (to = from + 1; to < train->n && sorted[to]->label == sorted[from]->label; to++)
            if (strcmp(sorted[to]->path, sorted[to - 1]->path) == 0)
                CF_GO(CF_FAIL(CF_EINVAL, "%s is in the list twice", sorted[to]->path));
        CF_GO(draw_class(out, sorted + from, to - from, k, seed));
    }
done:
    cf_free(sorted);
    return status;
}

/* ---- unseen classes -------------------------------------------------------------------------- */

cf_status cf_split_unseen(size_t **out, size_t *n, const cf_split_classes *classes,
                          const cf_split_classes *seen)
{
    size_t *unseen;
    CF_TRY(cf_alloc(&unseen, classes->n, sizeof *unseen));
    *n = 0;
    for (size_t i = 0; i < classes->n; i++) {
        bool known = false;
        for (size_t k = 0; k < seen->n && !known; k++)
            known = split_same_name(classes->name[i], strlen(classes->name[i]), seen->name[k],
                                    strlen(seen->name[k]));
        if (!known) unseen[(*n)++] = i;
    }
    *out = unseen;
    return CF_OK;
}

enum { MOST_WORDS = 16, MOST_LETTERS = 96 };
typedef struct {
    char text[MOST_LETTERS];
    const char *word[MOST_WORDS];
    size_t n;
} words;

/* Small letters, without articles and what stands in parentheses. */
static void read_words(words *w, const char *name)
{
    static const char *const articles[] = { "a", "an", "the" };
    size_t n = 0, depth = 0;
    for (; *name && n + 1 < sizeof w->text; name++) {
        if (*name == '(') depth++;
        char c = *name >= 'A' && *name <= 'Z' ? (char)(*name + 32) : *name;
        if (depth == 0) w->text[n++] = c == '_' || c == '-' ? ' ' : c;
        if (*name == ')' && depth > 0) depth--;
    }
    w->text[n] = 0;
    w->n = 0;
    char *rest = w->text;
    for (char *word; w->n < MOST_WORDS && (word = strsep(&rest, " "));) {
        bool counts = *word != 0;
        for (size_t i = 0; i < 3; i++) counts = counts && strcmp(word, articles[i]) != 0;
        if (counts) w->word[w->n++] = word;
    }
}

/* All words of a are among those of b. */
static bool within(const words *a, const words *b)
{
    for (size_t i = 0; i < a->n; i++) {
        bool found = false;
        for (size_t k = 0; k < b->n; k++) found = found || strcmp(a->word[i], b->word[k]) == 0;
        if (!found) return false;
    }
    return a->n > 0;
}

/* Letters to change, add or remove. */
static size_t distance(const char *a, const char *b)
{
    size_t row[MOST_LETTERS + 1], n = strlen(b);
    if (n > MOST_LETTERS || strlen(a) > MOST_LETTERS) return SIZE_MAX;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t best = corner + (a[i] != b[j]);
            corner = row[j + 1];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (corner + 1 < best) best = corner + 1;
            row[j + 1] = best;
        }
    }
    return row[n];
}

const char *cf_split_near(const char *name, const cf_split_classes *seen)
{
    words a, b;
    read_words(&a, name);
    for (size_t i = 0; i < seen->n; i++) {
        read_words(&b, seen->name[i]);
        size_t longest = strlen(name);
        if (strlen(seen->name[i]) > longest) longest = strlen(seen->name[i]);
        if (within(&a, &b) || within(&b, &a) || distance(name, seen->name[i]) <= longest / 8)
            return seen->name[i];
    }
    return NULL;
}

cf_status cf_split_draw(size_t *out, size_t size, const size_t *from, size_t n, uint64_t seed,
                        uint32_t set)
{
    int64_t *order;
    if (size == 0 || size > n)
        return CF_FAIL(CF_EINVAL, "a set of %zu classes cannot be drawn from %zu", size, n);
    CF_TRY(cf_alloc(&order, n, sizeof *order));
    for (size_t i = 0; i < n; i++) order[i] = (int64_t)i;
    cf_rng rng = cf_rng_make(seed, CF_RNG_SHOTS, 1, set);
    cf_rng_shuffle(&rng, order, n);
    qsort(order, size, sizeof *order, by_number);
    for (size_t i = 0; i < size; i++) out[i] = from[order[i]];
    cf_free(order);
    return CF_OK;
}

cf_status cf_split_pick(cf_split *out, const cf_split *all, const size_t *classes, size_t n)
{
    for (size_t i = 0; i < all->n; i++)
        for (size_t k = 0; k < n; k++)
            if (all->video[i].label == (int32_t)classes[k])
                CF_TRY(split_add(out, all->video[i].path, (int32_t)k));
    return CF_OK;
}
