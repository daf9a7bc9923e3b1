/* Configurations and their keys on stdout. */
#ifndef CROSSFRAME_CLI_CONFIG_PRINT_H
#define CROSSFRAME_CLI_CONFIG_PRINT_H

#include "crossframe/train.h"

/* YAML that loads back, the origin of each value as a comment; changed: only the values that are
 * not the default. */
cf_status config_print(const cf_config *c, bool changed);
/* The keys whose values differ: a's value behind -, b's behind +, each with its origin. */
cf_status config_print_differences(const cf_config *a, const cf_config *b);
/* The table of keys that start with `prefix`, in any case; CF_ENOTFOUND: none does. */
cf_status config_print_keys(const char *prefix, bool markdown);

#endif
