/* What the files of the configuration share with each other and with nobody else. */
#ifndef CROSSFRAME_TRAIN_CONFIG_INTERNAL_H
#define CROSSFRAME_TRAIN_CONFIG_INTERNAL_H

#include "crossframe/train.h"

/* One YAML scalar: its text and whether it stood in quotes, which makes it a text whatever it
 * says. */
typedef struct {
    const char *text;
    size_t n;
    bool quoted;
} cf_config_scalar;

/* Stores the value under key number `index` after checking type, range and choices; *c is unchanged
 * on failure. The error line says what is wrong with which key; the caller adds where. */
cf_status cf_config_store(cf_config *c, size_t index, const cf_config_scalar *value,
                          const char *origin);
/* The failure for a key that is not in the table. */
cf_status cf_config_unknown(const char *name);

/* `text` as one YAML scalar, handed to cf_config_store. */
cf_status cf_config_store_yaml(cf_config *c, size_t index, const char *text, const char *origin);
/* Merges a YAML file and its BASE files, or text in memory, over *c. */
cf_status cf_config_merge_file(cf_config *c, const char *path);
cf_status cf_config_merge_text(cf_config *c, const char *text, size_t n, const char *name);

/* CF_EINVAL: a given key contradicts the chosen variant of the model (config_variant.c). */
cf_status cf_config_check_variant(const cf_config *c);

/* True if this text stands for nothing: None, null, ~ or empty. */
bool cf_config_is_none(const char *text, size_t n);

#endif
