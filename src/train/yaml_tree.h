/* A YAML file as libyaml's document tree, for who reads more than a configuration's keys. */
#ifndef CROSSFRAME_TRAIN_YAML_TREE_H
#define CROSSFRAME_TRAIN_YAML_TREE_H

#include "crossframe/support.h"

#include <yaml.h>

/* The one document of a text; yaml_document_delete it. `what` starts each message, "configuration",
 * and `name` is the file in it. CF_EINVAL: no YAML, too long, a second document; with file and
 * line. The root is NULL where the text is empty. */
cf_status yaml_tree_read(yaml_document_t *out, const char *text, size_t n, const char *what,
                         const char *name);

#endif
