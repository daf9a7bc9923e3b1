/* Inside of inspect: what its files share. */
#ifndef CROSSFRAME_CLI_INSPECT_H
#define CROSSFRAME_CLI_INSPECT_H

#include "cli.h"

typedef struct {
    const char *path;
    bool tensors;
    const char *metadata; /* --metadata KEY */
} inspect_request;

/* Weights of any container and layout, whole or not. */
cf_status inspect_checkpoint(const inspect_request *q);

#endif
