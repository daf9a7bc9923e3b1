/* Inside of layouts: the one table of names, as rules that are read both ways.
 *
 * A pattern is a whole name with holes: '#' a layer's number, '@' "weight" or "bias", '?' one of q,
 * k and v. A name fits a pattern only as a whole, so that no name is taken for one it contains. */
#ifndef CROSSFRAME_MODELS_LAYOUT_H
#define CROSSFRAME_MODELS_LAYOUT_H

#include "models/weights/container.h"

typedef enum {
    CF_RULE_COPY,
    CF_RULE_TRANSPOSE,
    CF_RULE_QKV, /* one tensor here is three there, its thirds along axis 0 */
} cf_rule_kind;

enum { CF_LAYOUT_MAX_RULES = 80, CF_LAYOUT_NAME = 128 };

typedef struct {
    const char *native;
    char foreign[CF_LAYOUT_NAME]; /* of the layout asked for */
    cf_rule_kind kind;
    bool only_read; /* another spelling that is understood and never written */
} cf_layout_rule;

/* What stood in a pattern's holes. */
typedef struct {
    char layer[8];
    const char *ending;
    char letter;
} cf_pattern_fill;

bool cf_pattern_match(cf_pattern_fill *fill, const char *pattern, const char *name);
void cf_pattern_expand(char out[CF_LAYOUT_NAME], const char *pattern, const cf_pattern_fill *fill);

/* All names of a layout; how many. */
size_t cf_layout_rules(cf_layout_rule out[CF_LAYOUT_MAX_RULES], cf_layout layout);
/* A native name as files of this layout have it ("{q,k,v}_proj" where it is three); the name itself
 * where no rule knows it. */
void cf_layout_foreign_name(char out[CF_LAYOUT_NAME], cf_layout layout, const char *native);
/* Index buffers and the like, which hold no weights. */
bool cf_layout_drops(cf_layout layout, const char *name);
/* State and sizes that stand beside the weights under native names: no part of a model. */
bool cf_weights_beside_model(const char *native);

/* Remembers what cf_weights_origin tells. */
void cf_weights_set_origin(cf_weights *w, cf_layout layout);

#endif
