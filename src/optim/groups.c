/* Parameter groups by name and number of dimensions: which rate a tensor has, and whether it
 * decays. */
#include "crossframe/optim.h"

#include <string.h>

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), n_end = strlen(end);
    return n >= n_end && strcmp(s + n - n_end, end) == 0;
}

cf_param_group cf_param_group_of(const cf_group_rule *rule, const cf_param *p)
{
    const char *name = p->tensor.name;
    int rank = p->tensor.shape.rank;
    bool is_new = rule->is_new && rule->is_new(name);
    bool decay = rank != 1 && (rank != 0 || rule->decay_scalars) && !ends_with(name, ".bias") &&
                 !strstr(name, "positional_embedding") && !strstr(name, "temporal_embedding");
    return (cf_param_group){ .lr_factor = is_new ? rule->new_factor : 1,
                             .decay = decay,
                             .is_new = is_new };
}
