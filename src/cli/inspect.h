/* Inside of inspect: what its files share. */
#ifndef CROSSFRAME_CLI_INSPECT_H
#define CROSSFRAME_CLI_INSPECT_H

#include "cli.h"

typedef struct {
    const char *path;
    bool tensors;
    const char *metadata; /* --metadata KEY */
} inspect_request;

/* Names of the parts of a model, in the order of cf_xclip_cost: text, visual, message, MIT,
 * prompts. */
extern const char *const inspect_parts[];

/* Weights of any container and layout, whole or not. */
cf_status inspect_checkpoint(const inspect_request *q);

#endif
