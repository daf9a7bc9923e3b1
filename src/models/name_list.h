/* Names of tensors for a message: "transformer.resblocks.{0-3,7}.ln_1.{weight,bias}" stands for the
 * ten of them, so that one line holds all names of a model. */
#ifndef CROSSFRAME_MODELS_NAME_LIST_H
#define CROSSFRAME_MODELS_NAME_LIST_H

#include "crossframe/support.h"

enum { CF_NAME_LIST_LAYERS = 1024 };

typedef struct {
    char *before, *after, *note; /* of the layer's number; `after` NULL: there is none */
    bool both;                   /* ends in .weight, and .bias is in it too */
    size_t n;                    /* names */
    uint8_t layer[CF_NAME_LIST_LAYERS / 8];
} cf_name_group;

/* Zero-initialise; cf_name_list_fini at the end. */
typedef struct {
    cf_name_group *group;
    size_t n_groups, capacity;
    size_t n; /* names */
} cf_name_list;

/* note is shown behind the name; "" for none. */
cf_status cf_name_list_add(cf_name_list *l, const char *name, const char *note);
/* At most `size` bytes with the final zero; what does not fit is counted. */
void cf_name_list_print(char *out, size_t size, cf_name_list *l);
void cf_name_list_fini(cf_name_list *l);

#endif
