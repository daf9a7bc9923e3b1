/* Inside of PyTorch's archives: from a pickle's object to a tensor of the archive's storages. */
#ifndef CROSSFRAME_MODELS_TORCH_H
#define CROSSFRAME_MODELS_TORCH_H

#include "models/weights/container.h"
#include "models/weights/pickle.h"
#include "models/weights/zip.h"

typedef struct {
    cf_weights *w;
    cf_container *container;
    cf_zip *zip;
    const char *path, *folder; /* of the archive; inside it */
    size_t steps;
} cf_torch_reader;

/* What a tensor is made by: MODULE.NAME, arguments. */
typedef struct {
    cf_pickle_value callable, arguments;
} cf_torch_call;

/* The call behind wrappings that change nothing: Parameter, and subclasses with state. */
cf_torch_call cf_torch_unwrap(cf_pickle_value v);
bool cf_torch_is_tensor(cf_torch_call c);
/* Declares it to r->w. CF_EFORMAT: it reaches beyond its storage, or its description is damaged;
 * CF_EUNSUPPORTED: no plain tensor of real or whole numbers. */
cf_status cf_torch_add_tensor(cf_torch_reader *r, const char *name, cf_torch_call c);

/* At most 80 bytes of a text, for messages. */
typedef struct {
    char text[84];
} cf_torch_text;
const char *cf_torch_shorten(cf_torch_text *out, cf_pickle_value text);

#endif
