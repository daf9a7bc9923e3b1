/* json: JSON of files that are not trusted: headers of safetensors, indices of shards,
 * vocabularies. And texts that are not trusted into JSON. */
#ifndef CROSSFRAME_JSON_H
#define CROSSFRAME_JSON_H

#include <cjson/cJSON.h>

#include "crossframe/support.h"

/* *out = the one object that text[n] is (cJSON_Delete it). CF_EFORMAT: no JSON, no UTF-8, a zero
 * byte in a text, nested more than `deepest` deep, more than 400,000 values. `what` ("the header")
 * is the text's name in messages. */
cf_status cf_json_parse(cJSON **out, const char *path, const char *what, const char *text, size_t n,
                        size_t deepest);

/* to[key] = text with what is no UTF-8 replaced; false: no memory. */
bool cf_json_add_text(cJSON *to, const char *key, const char *text);

#endif
